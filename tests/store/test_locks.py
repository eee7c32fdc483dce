"""A writer waits while another process writes, says so, and loses nothing."""

import math
import os
import sqlite3
import time
from pathlib import Path

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.waiting import WAITING, WaitNotice
from store.calls import record_call
from store.database import open_database
from store.errors import Busy, explain
from store.sqlite import Database
from tests.support.locking import begun, said, writing


@pytest.fixture
def demo(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "demo"))
    mine_patterns(db, "demo")


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize(
    "command",
    [
        ("data", "import", "{outdoor}", "-d", "second"),
        ("knowledge", "mine", "-d", "demo"),
        ("sample", "create", "half", "-d", "demo", "--format", "pattern", "--ratio", "0.5"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_writing_command_waits_and_says_so(
    command: tuple[str, ...], database_of_the_test: Path, outdoor: Path
) -> None:
    with writing(database_of_the_test) as end:
        process = begun(*(part.replace("{outdoor}", str(outdoor)) for part in command))
        assert said(process, WAITING).startswith("kdtui: ")
        end()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


@pytest.mark.slow
@pytest.mark.usefixtures("demo")
def test_a_database_that_is_locked_for_more_than_half_a_minute_is_waited_for(
    database_of_the_test: Path, outdoor: Path
) -> None:
    with writing(database_of_the_test) as end:
        writer = begun("data", "import", outdoor, "-d", "second")
        said(writer, WAITING)
        # A reader does not wait for a writer.
        reader = begun("knowledge", "search", "tents")
        _, err = reader.communicate(timeout=20)
        assert reader.returncode == 0, err
        time.sleep(33)
        assert writer.poll() is None
        end()
        _, err = writer.communicate(timeout=60)
    assert writer.returncode == 0, err


@pytest.mark.usefixtures("demo")
def test_two_concurrent_imports_both_succeed(database_of_the_test: Path, outdoor: Path, db: Database) -> None:
    with writing(database_of_the_test) as end:
        processes = [begun("data", "import", outdoor, "-d", name) for name in ("one", "other")]
        for process in processes:
            said(process, WAITING)
        end()
        for process in processes:
            process.communicate(timeout=60)
            assert process.returncode == 0
    assert [name for (name,) in db.execute("SELECT name FROM datasets ORDER BY id")][1:] in (
        ["one", "other"],
        ["other", "one"],
    )


def test_waiting_ends_after_the_given_time(db: Database, database_of_the_test: Path) -> None:
    notes: list[float] = []
    waiter = open_database(database_of_the_test, on_wait=notes.append)
    with writing(database_of_the_test), pytest.raises(Busy, match=r"for 1\.1 seconds; try again"), waiter.waiting(1.1):
        _call(waiter, "a")
    assert notes
    assert notes[0] >= 1.0
    waiter.close()
    _call(db, "a")


def test_a_caller_can_refuse_to_wait(db: Database, database_of_the_test: Path) -> None:
    with writing(database_of_the_test), pytest.raises(Busy), db.waiting(0.0):
        _call(db, "a")


def test_waiting_can_be_cancelled(database_of_the_test: Path, db: Database) -> None:
    class Cancelled(Exception):
        pass

    def cancel() -> None:
        raise Cancelled

    waiter = open_database(database_of_the_test, on_wait=WaitNotice(lambda _: None, cancel))
    with writing(database_of_the_test), pytest.raises(Cancelled), waiter.waiting(math.inf):
        _call(waiter, "a")
    # The connection still works.
    _call(waiter, "a")
    assert db.execute("SELECT count(*) FROM calls").fetchone() == (1,)
    waiter.close()


def test_a_write_transaction_sees_all_earlier_writes(db: Database, database_of_the_test: Path) -> None:
    # Here, a transaction that starts with a read could not write: SQLite gives up at once, without waiting.
    other = open_database(database_of_the_test)
    with db.atomic():
        before = db.execute("SELECT count(*) FROM calls").fetchone()
        with pytest.raises(Busy), other.waiting(0.0):
            _call(other, "a")
        _call(db, "b")
    assert before == (0,)
    _call(other, "a")
    other.close()


def test_the_user_is_notified_once_and_again_after_a_minute() -> None:
    notes: list[str] = []
    waiting = WaitNotice(notes.append)
    for seconds in (1.0, 2.0, 59.0, 61.5, 62.0, 1.0):
        waiting(seconds)
    assert notes == [WAITING, f"{WAITING}, for 1 minute now", WAITING]


def test_an_import_from_a_slow_pipe_does_not_block_other_writers(db: Database, tmp_path: Path, outdoor: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = begun("data", "import", pipe, "-d", "d")
    with pipe.open("wb") as file:
        # The process has opened the pipe, and waits for data.
        file.write(outdoor.read_bytes()[:100])
        file.flush()
        with db.waiting(0.0):
            _call(db, "a")
        file.write(outdoor.read_bytes()[100:])
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_file_system_without_locks_is_reported() -> None:
    sentence = explain(sqlite3.OperationalError("locking protocol"))
    assert "file system of the database cannot lock files" in sentence


def _call(db: Database, key: str) -> None:
    record_call(db, key=key, teacher="t", step="s", request="{}", response="r", seconds=0.0, attempts=1)
