"""Titles, intents and logs from outside are printed as text: no terminal obeys them."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.jobs_place import make_job

ESCAPES = (
    "\x1b]8;;http://evil.example/\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;cm0gLXJm\x07",
    "\x1b]0;a new title\x07",
    "\x1b[2J\x1b[31m",
    "\x9b31m",
    "\x00\x07\x08\x0b\x7f",
    "\u202egnorw\u2066",
    "[red]{0}[/] [link=file:///etc/passwd]x[/link]",
)
"""A link, the clipboard, the title of the window, the screen in seven and eight bits, controls, directions, markup."""

TEXT = "tent" + "".join(ESCAPES)


@pytest.fixture
def dataset(db: Database, tmp_path: Path) -> None:
    item = {"id": "1", "title": TEXT, "categories": [["Outdoor", TEXT]]}
    other = {"id": "2", "title": f"lamp {TEXT}", "categories": [["Outdoor", TEXT]]}
    sessions = [
        {
            "session": f"s{number}",
            "items": [item, other],
            "bundles": [{"items": ["1", "2"], "intent": TEXT}],
            "split": ("train", "valid", "test")[number % 3],
        }
        for number in range(6)
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in sessions), encoding="utf-8")
    list(import_dataset(db, path, "evil"))


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize(
    "command",
    [
        ("data", "show", "s1"),
        ("data", "ls"),
        ("generate", "s1", "--student", "patterns", "--show-prompt"),
        ("generate", "s1", "--student", "patterns"),
        ("generate", "--student", "patterns", "--title", TEXT, "--title", "lamp"),
        ("generate", "s1", "--student", "patterns", "--json"),
        ("knowledge", "distill"),
        ("sft", "data"),
        ("sft", "logs", "job"),
        ("sft", "show", "job"),
        ("sft", "ls"),
        ("data", "show", TEXT),
        ("knowledge", "search", TEXT),
    ],
    ids=lambda command: " ".join(command[:3])[:30].encode("ascii", "backslashreplace").decode(),
)
def test_no_terminal_obeys_what_comes_from_outside(
    command: Sequence[str], kdtui: Kdtui, database_of_the_test: Path
) -> None:
    make_job(database_of_the_test, "job", {"log": f"step 1\n{TEXT}\n", "exit_code": "0"})
    result = kdtui(*command)
    assert result.out + result.err
    obeyed = {each for each in result.out + result.err if not each.isprintable() and each != "\n"}
    assert obeyed == set()
