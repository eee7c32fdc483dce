"""Commands that delete: they say what is deleted along with a thing, and need a confirmation or --yes."""

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import DISTILLED, distill_annotations
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.knowledge.sample import create_sample
from store.default_adapters import set_default_adapter
from store.hosts import Host, add_host
from store.jobs import add_job
from store.models import NamedModel, add_model
from store.predictions import Prediction, add_prediction
from store.records import HostSettings, RunSettings, TrainingSettings
from store.runs import start_run
from store.sqlite import Database
from tests.support.commands import Kdtui


@pytest.fixture(autouse=True)
def stored(db: Database, outdoor: Path, tmp_path: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))
    mine_patterns(db, "outdoor")
    list(distill_annotations(db, "outdoor", DISTILLED))
    for name in ("one", "two"):
        create_sample(db, name, ["outdoor"], ("pattern",), strategy="random", ratio=0.5, seed=0, student="smollm2")
        add_host(db, Host(name, None, "~/kdtui", HostSettings()))
        model = tmp_path / f"{name}.gguf"
        model.write_bytes(b"GGUF")
        add_model(db, NamedModel(name, model, "a file", made=name == "two"))
        folder = tmp_path / "jobs" / name
        (folder / "checkpoints" / "step-1").mkdir(parents=True)
        add_job(db, f"training-{name}", folder, TrainingSettings(("outdoor",), sample="one"), name)
        run = start_run(db, "outdoor", "test", "one", RunSettings("one", sample="one"))
        add_prediction(db, run, Prediction("o34", (), None, 0.1))
    set_default_adapter(db, "outdoor", "one")


COMMANDS: dict[tuple[str, ...], str] = {
    ("data", "rm", "outdoor"): "dataset outdoor, with 36 sessions, ",
    ("sample", "rm", "one"): "sample one, whose 20 pieces stay, used by 2 runs and 2 trainings",
    ("run", "rm", "1"): "run 1, one on outdoor test, with 1 answer",
    ("host", "rm", "one"): "host one, whose folder stays: ~/kdtui",
    ("model", "rm", "one"): "model one, whose file stays: ",
    ("model", "rm", "two"): "model two, with /",
    ("sft", "rm", "training-one"): "training training-one, with 1 checkpoint",
    ("knowledge", "rm", "1-3"): "3 pieces of knowledge, ",
}


def rows(db: Database) -> list[int]:
    tables = ("datasets", "samples", "runs", "hosts", "models", "jobs", "knowledge")
    return [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_deleted_without_a_terminal(
    db: Database, kdtui: Kdtui, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(db)
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        result = kdtui(*command)
    assert (result.code, result.out) == (1, "")
    assert "kdtui: --yes is needed to delete without a terminal: " in result.err
    assert COMMANDS[command] in result.err
    assert result.err.count("\n") == 1
    assert rows(db) == before


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_with_yes_a_thing_is_deleted_and_the_message_says_what_went_with_it(
    db: Database, kdtui: Kdtui, command: tuple[str, ...]
) -> None:
    before = rows(db)
    result = kdtui(*command, "--yes")
    assert (result.code, result.out) == (0, "")
    assert result.err.startswith("deleted ")
    assert COMMANDS[command] in result.err
    assert rows(db) != before


@pytest.mark.parametrize(
    ("command", "again"),
    [
        (("sample", "rm", "one", "two", "one"), 2),
        (("run", "rm", "2", "1-2"), 2),
        (("host", "rm", "one", "two"), 2),
        (("model", "rm", "one", "two"), 2),
        (("sft", "rm", "training-one", "training-two"), 2),
    ],
)
def test_several_things_are_deleted_at_once(kdtui: Kdtui, command: tuple[str, ...], again: int) -> None:
    result = kdtui(*command, "-y")
    assert result.code == 0, result.err
    assert result.err.count("deleted ") == again
    assert kdtui(*command, "-y").code == 1


@pytest.mark.parametrize(
    "command",
    [
        ("data", "rm", "outdoor", "indoors"),
        ("sample", "rm", "one", "three"),
        ("run", "rm", "1", "9"),
        ("host", "rm", "one", "three"),
        ("model", "rm", "one", "three"),
        ("sft", "rm", "training-one", "three"),
    ],
)
def test_an_unknown_name_deletes_nothing(db: Database, kdtui: Kdtui, command: tuple[str, ...]) -> None:
    before = rows(db)
    result = kdtui(*command, "--yes")
    assert result.code == 1
    assert "there is no " in result.err
    assert rows(db) == before


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 0), ("n", 1, 1), ("", 1, 1), ("\x04", 1, 1)])
def test_the_user_is_asked_in_a_terminal(
    db: Database, database_of_the_test: Path, answer: str, code: int, left: int
) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "kdtui", "data", "rm", "outdoor", "--db", str(database_of_the_test)]
    with subprocess.Popen(command, stdin=follower, stderr=subprocess.PIPE, text=True) as process:
        os.close(follower)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("dataset outdoor, with 36 sessions")
        assert process.stderr.read(len("Delete it? [y/N] ")) == "Delete it? [y/N] "
        os.write(leader, answer.encode() if answer == "\x04" else f"{answer}\n".encode())
        assert select.select([process.stderr], [], [], 60)[0]
        rest = process.stderr.read()
    assert process.returncode == code
    assert rest.startswith("deleted dataset outdoor" if code == 0 else "kdtui: nothing was deleted")
    assert db.execute("SELECT count(*) FROM datasets").fetchone() == (left,)


def test_the_choice_of_a_default_adapter_is_counted_with_its_dataset(kdtui: Kdtui, outdoor: Path) -> None:
    replaced = kdtui("data", "import", outdoor, "--dataset", "outdoor", "--replace")
    assert (replaced.code, "1 choice of a default adapter" in replaced.err) == (0, True)
