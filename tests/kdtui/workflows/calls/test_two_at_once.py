"""Two commands at once on one database: no question is paid for twice, and no run is answered twice."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import pytest

from kdtui.workflows.calls.asker import BudgetReached, PaidCalls
from kdtui.workflows.calls.costs import Budget, Prices
from kdtui.workflows.calls.requests import ANSWER_TOKENS, request_key, request_of
from kdtui.workflows.calls.unsaved_calls import PaidCall, set_aside
from kdtui.workflows.claims import Claims, claims_of
from kdtui.workflows.data.import_dataset import import_dataset
from models.endpoint.chat_server import Endpoint
from models.endpoint.teacher import RequestLimits, Teacher, TeacherQuestion
from models.errors import ModelError
from models.messages import Message
from store.calls import Call
from store.database import open_database
from store.knowledge import find_knowledge
from store.runs import list_runs
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.fake_chat_server import Fake, Serve
from tests.support.fake_teacher import good
from tests.support.locking import begun, said
from tests.support.waiting import until


@pytest.fixture
def demo(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "demo"))


class SlowTeacher:
    """Takes its time for each question, and counts how often it answers it."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.keys: dict[str, set[str | None]] = {}

    def reply(self, fake: Fake, number: int) -> None:
        question = json.dumps(fake.body["messages"])
        self.asked[question] += 1
        self.keys.setdefault(question, set()).add(fake.headers.get("Idempotency-Key"))
        time.sleep(0.1)
        good(fake, number)


def distil(url: str) -> "subprocess.Popen[str]":
    return begun("knowledge", "distill", "--teacher", f"{url}#m", "--limit", "4", "--format", "rule")


def ended(processes: Sequence["subprocess.Popen[str]"]) -> list[str]:
    """Wait for commands that succeed, and return what they say."""
    texts = []
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        texts.append(err)
    return texts


def calls_kept(db: Database) -> int:
    [(count,)] = db.execute("SELECT count(*) FROM calls WHERE status = 'answered'").fetchall()
    return int(count)


@pytest.mark.slow
@pytest.mark.usefixtures("demo")
def test_two_distillations_pay_for_each_question_once(db: Database, serve: Serve) -> None:
    answers, teacher = Event(), SlowTeacher()

    def reply(fake: Fake, number: int) -> None:
        answers.wait(60)
        teacher.reply(fake, number)

    url, handler = serve(reply)
    first = distil(url)
    until(lambda: len(handler.asked) > 0)
    second = distil(url)
    said(second, "another kdtui asks the same questions")
    answers.set()
    ended([first, second])
    assert set(teacher.asked.values()) == {1}
    assert len(teacher.asked) == calls_kept(db)
    statements = [piece.statement for piece in find_knowledge(db, dataset="demo", format="rule")]
    assert len(statements) == len(set(statements)) > 0


@pytest.mark.slow
@pytest.mark.usefixtures("demo")
def test_a_distillation_takes_over_the_question_of_one_that_is_killed(db: Database, serve: Serve) -> None:
    answers, teacher = Event(), SlowTeacher()

    def reply(fake: Fake, number: int) -> None:
        if number < 4:
            # Of the first command, which is killed.
            answers.wait(60)
        teacher.reply(fake, number)

    url, handler = serve(reply)
    first = distil(url)
    until(lambda: len(handler.asked) > 0)
    second = distil(url)
    said(second, "another kdtui asks the same questions")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    ended([second])
    answers.set()
    assert calls_kept(db) == len(teacher.asked)
    # Whatever is asked again has the same key.
    assert all(len(keys) == 1 and None not in keys for keys in teacher.keys.values())


class Paying:
    """Two processes that ask the same teacher, here in one loop, each with a connection and budget of its own."""

    def __init__(
        self, database: Path, url: str, *, retry_failed: bool = False, limits: RequestLimits | None = None
    ) -> None:
        self.db = open_database(database)
        self.teacher = Teacher(Endpoint(url), limits or RequestLimits())
        self.calls = PaidCalls(self.db, self.teacher, "m", Prices(), Budget(calls=1), retry_failed=retry_failed)

    async def ask(self, question: str = "What goes with a tent?") -> Call:
        return await self.calls.ask("rules", [Message("user", question)], {})

    async def close(self) -> None:
        await self.teacher.close()
        self.db.close()


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("retry_failed", [False, True])
def test_what_another_process_has_just_asked_is_not_asked_again(
    database_of_the_test: Path, serve: Serve, retry_failed: bool
) -> None:
    # The only answer is empty, and charged; only a retry may pay for another one.
    url, handler = serve(lambda fake, _: fake.complete(""))

    async def both() -> None:
        one, other = (Paying(database_of_the_test, url, retry_failed=retry_failed) for _ in range(2))
        for result in await asyncio.gather(one.ask(), other.ask(), return_exceptions=True):
            assert isinstance(result, ModelError)
        await one.close()
        await other.close()

    asyncio.run(both())
    assert len(handler.asked) == 1


def test_an_answer_that_waits_in_a_file_is_not_paid_for_again(
    database_of_the_test: Path, db: Database, serve: Serve
) -> None:
    url, handler = serve(good)

    async def after_another() -> None:
        first = Paying(database_of_the_test, url)
        kept = await first.ask()
        # As if the first process had ended before it could store the answer.
        db.execute("DELETE FROM calls")
        paid = PaidCall(
            key=kept.key,
            teacher=kept.teacher,
            step="rules",
            request=kept.request,
            response="mats",
            seconds=1.0,
            attempts=1,
        )
        set_aside(database_of_the_test, paid)
        second = Paying(database_of_the_test, url)
        assert (await second.ask()).response == "mats"
        await first.close()
        await second.close()

    asyncio.run(after_another())
    assert len(handler.asked) == 1


@pytest.mark.usefixtures("db")
def test_a_used_up_budget_of_calls_does_not_wait_for_the_pace(database_of_the_test: Path, serve: Serve) -> None:
    url, handler = serve(good)

    async def both() -> None:
        paying = Paying(database_of_the_test, url, limits=RequestLimits(requests_per_minute=1))
        first, second = await asyncio.wait_for(
            asyncio.gather(paying.ask(), paying.ask("And with a stove?"), return_exceptions=True), 30
        )
        assert isinstance(first, Call)
        assert isinstance(second, BudgetReached)
        await paying.close()

    asyncio.run(both())
    assert len(handler.asked) == 1


@pytest.mark.usefixtures("db")
def test_a_paused_command_does_not_take_over_a_question(database_of_the_test: Path, serve: Serve) -> None:
    url, handler = serve(good)

    async def paused() -> None:
        waiting = Paying(database_of_the_test, url)
        claims = claims_of(waiting.db)
        assert claims is not None
        key = request_key(
            request_of("m", TeacherQuestion((Message("user", "What goes with a tent?"),), {}, ANSWER_TOKENS))
        )
        assert claims.take(key)
        asking = asyncio.ensure_future(waiting.ask())
        await asyncio.sleep(0.3)
        waiting.calls.gate.hold()
        claims.release(key)
        await asyncio.sleep(0.5)
        assert handler.asked == []
        waiting.calls.gate.release()
        assert (await asking).status == "answered"
        await waiting.close()

    asyncio.run(paused())


@pytest.mark.slow
@pytest.mark.usefixtures("demo")
def test_a_run_is_answered_by_one_process_at_a_time(db: Database, kdtui: Kdtui, serve: Serve) -> None:
    answers, teacher = Event(), SlowTeacher()

    def reply(fake: Fake, number: int) -> None:
        if number:
            answers.wait(60)
        teacher.reply(fake, number)

    url, _ = serve(reply)
    first = begun("evaluate", "--dataset", "demo", "--split", "test", "--student", f"{url}#m")
    until(lambda: list_runs(db))
    refused = kdtui("evaluate", "--resume", list_runs(db)[0].run.id)
    assert refused.code == 1
    assert refused.err.count("\n") == 1
    assert "another kdtui answers run 1 at the moment; wait until it is done" in refused.err
    answers.set()
    ended([first])
    assert set(teacher.asked.values()) == {1}
    assert kdtui("evaluate", "--resume", 1).code == 0


def test_a_database_has_the_same_claims_under_each_of_its_names(db: Database, database_of_the_test: Path) -> None:
    link = database_of_the_test.with_name("link.db")
    link.symlink_to(database_of_the_test)
    assert claims_of(db) is claims_of(open_database(link))


def test_work_is_claimed_once_and_is_free_when_its_process_dies(tmp_path: Path) -> None:
    path = tmp_path / "claims"
    claims = Claims(path)
    assert claims.take("one")
    assert claims.take("two")
    assert not claims.take("one"), "not even by the same process"
    script = (
        "import sys, time; from pathlib import Path; from kdtui.workflows.claims import Claims\n"
        "claims = Claims(Path(sys.argv[1]))\n"
        "print(claims.take('one'), claims.take('three'), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "False True\n"
        assert not claims.take("three")
        os.kill(other.pid, signal.SIGKILL)
    assert claims.take("three")
    claims.release("one")
    assert claims.take("one")
