"""Typed and imported sessions, also with texts that are too large."""

from tests.inputs.case import Case

_LONG = "x" * 1_000_001
_IMPORT = ("data", "import", "{tmp}/s.jsonl", "--dataset", "x")

CASES = [
    Case(
        "a title is empty",
        ("generate", "--title", "", "--title", "Tent"),
        "--title is empty (number 1 of 2)",
        code=2,
    ),
    Case(
        "a title is blank",
        ("generate", "--title", "Tent", "--title", " \t\u200b"),
        "--title is empty (number 2 of 2)",
        code=2,
    ),
    Case(
        "a title is a control sequence",
        ("generate", "--title", "\x1b[2J", "--title", "Tent"),
        "--title is empty (number 1 of 2)",
        code=2,
        forbidden=("\x1b",),
    ),
    Case(
        "a title is as long as a book",
        ("generate", "--title", _LONG, "--title", "Tent"),
        "--title has 1,000,001 characters",
        code=2,
        forbidden=("xxxxx",),
    ),
    Case(
        "stdin is combined with the id of a session",
        ("generate", "o01", "-"),
        "- reads sessions from stdin, and cannot be combined with ids",
        code=2,
    ),
    Case(
        "a file to import has a title as long as a book",
        _IMPORT,
        "{tmp}/s.jsonl, line 1: a title or a category has more than 1,000,000 characters",
        files={"s.jsonl": f'{{"session": "s", "items": [{{"id": "i", "title": "{_LONG}"}}]}}'},
        forbidden=("xxxxx",),
    ),
    Case(
        "a file to import has JSON a hundred thousand deep",
        _IMPORT,
        "{tmp}/s.jsonl, line 1: ",
        files={"s.jsonl": f'{{"session": "s", "more": {"[" * 100_000}{"]" * 100_000}, "items": [{{"id": "i"}}]}}'},
    ),
    Case(
        "a file to import has an endless line",
        _IMPORT,
        "{tmp}/s.jsonl, line 2: this line is longer than 64 MB",
        files={"s.jsonl": b'{"session": "s", "items": [{"id": "i"}]}\n' + b" " * 64_000_001},
    ),
    Case(
        "a BundleRec directory has a title as long as a book",
        ("data", "import", "{tmp}/d", "--dataset", "x"),
        "item_titles.csv, line 2: a title or a category has more than 1,000,000 characters",
        files={
            "d/session_item.csv": "session ID,item ID\ns,i\n",
            "d/item_titles.csv": f"item ID,titles\ni,{_LONG}\n",
            "d/item_categories.csv": "item ID,categories\n",
            "d/session_bundle.csv": "session ID,bundle ID\n",
            "d/bundle_item.csv": "bundle ID,item ID\n",
            "d/bundle_intent.csv": "bundle ID,intent\n",
        },
        forbidden=("xxxxx",),
    ),
]
