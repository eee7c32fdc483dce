"""SQL in the arguments of commands is text: whatever is typed, the database keeps its tables and rows."""

import typing
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from store.database import open_database
from tests.faults.contents import contents, damage, lost
from tests.support.commands import Kdtui
from tests.support.help_pages import PAGES

HOSTILE = (
    "x'\"); DROP TABLE knowledge; DELETE FROM sessions; --",
    "' OR 1=1; DELETE FROM datasets; --",
    '" UNION SELECT * FROM sqlite_schema; --',
    "outdoor'; UPDATE sessions SET split = 'x",
)

EXISTING = {"--dataset": "outdoor", "session": "o01", "sessions": "o01", "name": "outdoor"}
"""What other required parameters name, so that a command gets to its queries."""

WORKS_LONG = {"kdtui demo", "kdtui data embed"}
"""Commands whose texts do not name anything in the database, and which would work for minutes."""


def texts(parameter: Any) -> bool:
    """Return whether a parameter takes a text or a path."""
    annotation = parameter.type_descriptor.annotation
    kinds = {annotation, *typing.get_args(annotation)}
    return bool(kinds & {str, Path}) and "--db" not in parameter.opts


def command_lines() -> Iterator[tuple[str, Sequence[str]]]:
    """Yield a command line for each text parameter of each command, with SQL in it, and names in the other ones."""
    hostile = cycle(HOSTILE)
    for path, command in PAGES.items():
        if isinstance(command, TyperGroup) or path in WORKS_LONG:
            continue
        needed = [each for each in command.params if each.required]
        for parameter in filter(texts, command.params):
            words: list[str] = []
            for each in dict.fromkeys([*needed, parameter]):
                option = [name for name in each.opts if name.startswith("--")][:1]
                text = next(hostile) if each is parameter else EXISTING.get((option or [each.name])[0], "x")
                words += [*option, text if texts(each) else "1"]
            yield f"{path} {parameter.opts[-1]}", (*path.split()[1:], *words)


@pytest.fixture
def store(tmp_path: Path, few: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database with a dataset and its patterns."""
    path = tmp_path / "kdtui.db"
    db = open_database(path)
    list(import_dataset(db, few, "outdoor"))
    mine_patterns(db, "outdoor")
    db.close()
    monkeypatch.setenv("KDTUI_DB", str(path))
    monkeypatch.chdir(tmp_path)
    return path


def test_no_argument_of_any_command_changes_the_database(store: Path, kdtui: Kdtui) -> None:
    before = contents(store)
    wrong = []
    for name, words in command_lines():
        result = kdtui(*words)
        if result.code not in (0, 1, 2) or "Traceback" in result.err or "database refused" in result.err:
            wrong.append((name, result.code, result.err[-300:]))
    assert wrong == []
    assert lost(before, contents(store)) == []
    assert damage(store) == []
