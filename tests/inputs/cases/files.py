"""Files in other encodings than plain UTF-8."""

import gzip
import json

from tests.inputs.case import DEMO, Case

_SESSION = json.dumps(
    {
        "session": "s1",
        "items": [{"id": "a", "title": "Zelt für zwei"}, {"id": "b", "title": "Heringe"}],
        "bundles": [{"items": ["a", "b"], "intent": "camping"}],
    },
    ensure_ascii=False,
)
_IMPORT = ("data", "import", "{tmp}/x.jsonl", "-d", "x")
_PIECE = json.dumps(
    {
        "id": 1,
        "format": "rule",
        "statement": "tents go with pegs",
        "content": json.dumps({"text": "tents go with pegs", "categories": [], "together": None, "intents": []}),
        "teacher": "me",
    }
)
_LEARN = ("knowledge", "import", "{tmp}/k.jsonl", "-d", "demo")

_KINDS = (
    ("UTF-16", _SESSION.encode("utf-16"), "it is UTF-16 text; save the file as UTF-8"),
    ("big-endian UTF-16", b"\xfe\xff" + _SESSION.encode("utf-16-be"), "it is UTF-16 text"),
    ("UTF-16 without a mark", _SESSION.encode("utf-16-le"), "it is UTF-16 text, or no text at all"),
    ("UTF-32", _SESSION.encode("utf-32"), "it is UTF-32 text"),
    ("compressed by gzip", gzip.compress(_SESSION.encode()), "it is compressed by gzip; unpack it with gunzip first"),
    ("a zip archive", b"PK\x03\x04" + bytes(30), "it is a zip archive, or a spreadsheet"),
)

_LAYOUT = {
    "session_item.csv": "session ID,item ID\ns,a\ns,b\n",
    "session_bundle.csv": "session ID,bundle ID\ns,1\n",
    "bundle_item.csv": "bundle ID,item ID\n1,a\n1,b\n",
    "bundle_intent.csv": "bundle ID,intent\n1,camping\n",
    "item_titles.csv": "item ID,titles\na,Zelt\nb,Heringe\n",
    "item_categories.csv": 'item ID,categories\na,"[[A,B]]"\nb,"[[A,B]]"\n',
}

CASES = [
    *(
        Case(f"a dataset is {kind}", _IMPORT, f"{{tmp}}/x.jsonl: {expected}", files={"x.jsonl": data})
        for kind, data, expected in _KINDS
    ),
    *(
        Case(
            f"knowledge is {kind}",
            _LEARN,
            f"{{tmp}}/k.jsonl: {expected}",
            files={"k.jsonl": data},
            before=(DEMO,),
        )
        for kind, data, expected in _KINDS
    ),
    Case(
        "a table of a dataset is UTF-16",
        ("data", "import", "{tmp}/d", "-d", "x"),
        "{tmp}/d/item_titles.csv: it is UTF-16 text",
        files={f"d/{name}": text.encode("utf-16" if "titles" in name else "utf-8") for name, text in _LAYOUT.items()},
    ),
    Case(
        "all tables of a dataset have byte order marks",
        ("data", "import", "{tmp}/d", "-d", "x"),
        "1 session",
        code=0,
        files={f"d/{name}": text.encode("utf-8-sig") for name, text in _LAYOUT.items()},
    ),
    Case(
        "a dataset has a byte order mark",
        _IMPORT,
        "1 session",
        code=0,
        files={"x.jsonl": _SESSION.encode("utf-8-sig")},
    ),
    Case(
        "files with byte order marks were concatenated",
        _IMPORT,
        "2 sessions",
        code=0,
        files={"x.jsonl": _SESSION.encode("utf-8-sig") + b"\n" + _SESSION.replace("s1", "s2").encode("utf-8-sig")},
    ),
    Case(
        "knowledge has a byte order mark",
        _LEARN,
        "1 piece",
        code=0,
        files={"k.jsonl": _PIECE.encode("utf-8-sig")},
        before=(DEMO,),
    ),
    Case(
        "knowledge is exported to something that is not a folder",
        ("knowledge", "export", "-d", "demo", "-o", "/dev/null"),
        "/dev/null: this is no folder",
        before=(DEMO, ("knowledge", "mine", "-d", "demo")),
    ),
]
