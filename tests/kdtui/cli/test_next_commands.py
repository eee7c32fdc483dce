"""Commands in messages work as printed: they use the same database."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from store.database import open_database
from store.records import RunSettings
from store.runs import start_run
from tests.support.commands import Kdtui


@pytest.fixture
def other(tmp_path: Path, outdoor: Path) -> Path:
    """A database other than the default one, with an unfinished run."""
    path = tmp_path / "an other.db"
    db = open_database(path)
    list(import_dataset(db, outdoor, "outdoor"))
    start_run(db, "outdoor", "test", "patterns", RunSettings("patterns", limit=1))
    db.close()
    return path


@pytest.mark.parametrize("before", [True, False])
def test_a_run_is_resumed_in_its_database(kdtui: Kdtui, other: Path, before: bool, monkeypatch: Any) -> None:
    monkeypatch.setenv("KDTUI_DB", str(other.with_name("usual.db")))
    named = ["--db", other]
    shown = kdtui(*named, "run", "show", 1) if before else kdtui("run", "show", 1, *named)
    assert shown.code == 0, shown.err
    monkeypatch.setenv("KDTUI_DB", str(other.with_name("usual.db")))
    commands = [
        command for line in shown.err.splitlines() for _, separator, command in [line.partition(" with: ")] if separator
    ]
    assert len(commands) == 2
    for command in commands:
        assert kdtui(*shlex.split(command)[1:]).code == 0
    assert len(kdtui("run", "ls", "--json", *named).rows) == 2


def test_the_default_database_is_not_named(db: Any, outdoor: Path, kdtui: Kdtui) -> None:
    list(import_dataset(db, outdoor, "outdoor"))
    start_run(db, "outdoor", "test", "patterns", RunSettings("patterns", limit=1))
    assert "resume with: kdtui evaluate --resume 1\n" in kdtui("run", "show", 1).err


def test_the_hints_of_the_demo_name_its_database(kdtui: Kdtui, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdtui.cli.evaluate.evaluate", lambda **_: None)
    monkeypatch.setattr("kdtui.cli.generate.generate", lambda **_: None)
    monkeypatch.setattr("kdtui.cli.study_run.run", lambda **_: None)
    monkeypatch.setattr("kdtui.cli.study.answers", lambda **_: None)
    hints = kdtui("demo", "--db", other).out.splitlines()
    assert len(hints) == 8
    assert all(f" --db '{other}'  " in line for line in hints)


def test_an_import_says_what_was_deleted_with_the_replaced_dataset(kdtui: Kdtui, other: Path, outdoor: Path) -> None:
    command = ["data", "import", outdoor, "--dataset", "outdoor", "--replace", "--db", other]
    assert "the dataset of that name was replaced, with 36 sessions and 1 run\n" in kdtui(*command).err
    fresh = ["data", "import", outdoor, "--dataset", "new", "--replace", "--db", other]
    assert "replaced" not in kdtui(*fresh).err


def test_the_doctor_names_a_folder_that_is_not_writable(
    kdtui: Kdtui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tests may run as root, who can write everywhere.
    monkeypatch.setattr("kdtui.workflows.diagnose.os.access", lambda *_: False)
    result = kdtui("doctor", "--json", "--db", tmp_path / "none" / "x.db")
    [finding] = [row for row in result.rows if row["name"] == "database"]
    assert (result.code, finding["state"]) == (1, "missing")
    assert f"{tmp_path} is not a writable folder" in finding["found"]


@pytest.mark.parametrize(
    "command",
    [
        ("data", "ls"),
        ("generate", "s1"),
        ("sample", "ls"),
        ("run", "ls"),
        ("calibrate", "ls"),
        ("sft", "ls"),
        ("host", "ls"),
    ],
    ids=" ".join,
)
def test_hints_name_the_database_of_the_option(kdtui: Kdtui, tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "an other.db"
    open_database(path).close()
    # The last message may be about the missing file.
    messages = kdtui(*command, "--db", path).err
    hints = messages.replace("kdtui: ", "").count("kdtui ")
    assert hints
    assert messages.count(f"--db '{path}'") == hints


def test_a_database_that_an_earlier_command_named_is_forgotten(kdtui: Kdtui, tmp_path: Path) -> None:
    path = tmp_path / "an other.db"
    open_database(path).close()
    assert "--db" in kdtui("sft", "ls", "--db", path).err
    assert "--db" not in kdtui("sft", "ls").err
