"""Answers of a teacher are kept while another process is writing to the store, and afterwards."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from kdtui.workflows.calls.asker import PaidCalls
from kdtui.workflows.calls.costs import Budget, Prices
from kdtui.workflows.calls.unsaved_calls import PaidCall, folder_of, set_aside, store_unsaved_calls, waiting_calls
from kdtui.workflows.data.import_dataset import import_dataset
from models.endpoint.chat_server import Endpoint
from models.endpoint.teacher import RequestLimits, Teacher
from models.messages import Message
from store.sqlite import Database
from tests.support.fake_chat_server import Fake, Serve
from tests.support.fake_teacher import good
from tests.support.locking import begun, said, writing


@pytest.fixture
def demo(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "demo"))


@pytest.fixture
def taught(serve: Serve) -> tuple[str, type[Fake]]:
    return serve(good)


def distil(url: str, *options: object) -> "subprocess.Popen[str]":
    return begun("knowledge", "distill", "-f", "thought", "--limit", 4, "--teacher", f"{url}#m", *options)


@pytest.mark.slow
@pytest.mark.usefixtures("demo")
def test_paid_answers_wait_until_they_can_be_stored(
    taught: tuple[str, type[Fake]], database_of_the_test: Path, db: Database
) -> None:
    url, fake = taught
    with writing(database_of_the_test) as end:
        process = distil(url)
        folder = Path(said(process, "paid answers wait in").split(" wait in ")[1].split(" until ")[0])
        assert folder.parent == database_of_the_test.parent
        assert list(folder.glob("*.json"))
        end()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(fake.asked) == 4
    assert db.execute("SELECT count(*), count(response) FROM calls").fetchone() == (4, 4)
    assert db.execute("SELECT count(*) FROM knowledge WHERE format = 'thought'").fetchone() == (4,)
    assert not folder.exists()


@pytest.mark.usefixtures("demo")
@pytest.mark.slow
def test_answers_outlive_the_process_that_paid_for_them(
    taught: tuple[str, type[Fake]], database_of_the_test: Path, db: Database
) -> None:
    url, fake = taught
    with writing(database_of_the_test) as end:
        process = distil(url, "--concurrency", 1)
        said(process, "paid answers wait in")
        process.kill()
        process.communicate(timeout=60)
        end()
    assert len(fake.asked) == 1
    assert db.execute("SELECT count(*) FROM calls").fetchone() == (0,)
    again = distil(url)
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    # The first call is answered from the file, and not made again.
    assert len(fake.asked) == 4
    assert db.execute("SELECT count(*), count(response) FROM calls").fetchone() == (4, 4)
    assert not database_of_the_test.with_name(f"{database_of_the_test.name}-unsaved-calls").exists()


def test_an_interrupted_wait_keeps_the_answer(
    taught: tuple[str, type[Fake]], database_of_the_test: Path, db: Database
) -> None:
    class CalledOff(Exception):
        pass

    def call_off(_: float) -> None:
        raise CalledOff

    async def ask() -> None:
        teacher = Teacher(Endpoint(taught[0], "m"), RequestLimits())
        try:
            ledger = PaidCalls(db, teacher, "m", Prices(), Budget())
            await ledger.ask("s", [Message("user", "1. a tent [Tents]")], {"type": "object"})
        finally:
            await teacher.close()

    db.on_wait = call_off
    with writing(database_of_the_test), pytest.raises(CalledOff):
        asyncio.run(ask())
    assert len(waiting_calls(database_of_the_test)) == 1
    assert store_unsaved_calls(db) == 1
    assert waiting_calls(database_of_the_test) == []
    assert db.execute("SELECT status FROM calls").fetchall() == [("answered",)]


def test_a_damaged_file_is_left_where_it_is(database_of_the_test: Path, db: Database) -> None:
    call = PaidCall(key="k", teacher="t", step="s", request="{}", response="r", seconds=1.0, attempts=1)
    set_aside(database_of_the_test, call)
    damaged = folder_of(database_of_the_test) / "other.json"
    damaged.write_text("{")
    assert store_unsaved_calls(db) == 1
    assert waiting_calls(database_of_the_test) == [damaged]
