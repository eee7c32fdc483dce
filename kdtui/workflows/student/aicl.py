"""AICL (Sun et al., SIGIR 2024): a model first works on the nearest training session, which becomes the demonstration.

There it detects bundles, corrects itself, gets feedback on its errors until there are none or four times, and states
the rules that it sees. Then it detects the bundles of the session in question. A training session is discussed only
once.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

from kdtui.bundling.truth import true_bundles
from kdtui.distill.conversations import (
    RULES_SCHEMA,
    adjustment_prompt,
    correction_prompt,
    detection_prompt,
    rules_prompt,
)
from kdtui.distill.feedback import write_feedback
from kdtui.distill.retrieval import Nearest
from kdtui.workflows.calls.answers import FailedBefore, UnusableAnswer, read_answer, text_of
from kdtui.workflows.calls.asker import Asker, PaidCalls
from kdtui.workflows.calls.conversation import hold_conversation
from kdtui.workflows.calls.costs import Budget, Prices
from kdtui.workflows.calls.unsaved_calls import store_unsaved_calls
from kdtui.workflows.waiting import when_free
from models.bundle_list import WrittenBundle
from models.completion import NO_TOKENS, UNKNOWN_USAGE, Usage
from models.endpoint.chat_server import Endpoint, Unreachable
from models.endpoint.json_answer import answer_schema, parse_answer
from models.endpoint.teacher import NoAnswer, RequestLimits, Teacher
from models.errors import Cancelled, ModelError
from models.event_loop import new_runner
from models.llama import cancellation
from models.messages import Message
from models.student_protocol import IDLE_SECONDS, Answered, Grew, Noted, Refused, StudentEvent
from store.calls import Call
from store.records import Session
from store.sessions import get_session
from store.sqlite import Database

_NOTICE_SECONDS = 1.0
"""Seconds after which notices reach the user while no call ends."""

_ROUNDS = 4
"""Rounds of feedback at most."""

_CONFIDENCE = 0.5
"""The confidence of every bundle: nothing is known about it."""


def answer_by_aicl(
    db: Database, dataset: str, endpoint: Endpoint, nearest: Nearest, sessions: Iterable[Session | None]
) -> Iterator[StudentEvent]:
    """Answer sessions as they come, many at a time. Every call is stored, and none with a usable answer is repeated.

    Args:
        nearest: finds the training session for the demonstration.
        sessions: None if there is none at the moment, but there may be more.

    Closing the iterator sends no more calls and cancels the running ones.

    Raises:
        ModelError: the server cannot be reached, or the model is not named.
    """
    source = iter(sessions)
    more = True
    with new_runner() as runner:
        notes: list[str] = []
        paid_calls = runner.run(_open(db, endpoint, notes.append))
        running: dict[asyncio.Task[list[WrittenBundle]], tuple[Session, float, _Counting]] = {}
        counted: dict[str, _Counting] = {}
        try:
            while more or running:
                while more and len(running) < paid_calls.teacher.limits.concurrency:
                    try:
                        session = next(source)
                    except StopIteration:
                        more = False
                        break
                    if session is None:
                        break
                    asker = _Counting(paid_calls, counted)
                    converse = partial(_bundles, asker, db, dataset, nearest, session)
                    task = runner.get_loop().create_task(hold_conversation(converse, paid_calls))
                    running[task] = session, perf_counter(), asker
                # In between, the user gets notices, such as that another process asks the same questions.
                ended = runner.run(_finished(set(running), IDLE_SECONDS if more else _NOTICE_SECONDS))
                if cancellation.current().is_cancelled:
                    raise Cancelled
                while notes and running:
                    session, *_ = next(iter(running.values()))
                    yield Noted(session, notes.pop(0))
                for task in ended:
                    session, started, asker = running.pop(task)
                    yield from _events(task, session, perf_counter() - started, asker.usage)
        finally:
            runner.run(_close(paid_calls, set(running)))


async def _open(db: Database, endpoint: Endpoint, notice: Callable[[str], None]) -> PaidCalls:
    await when_free(db, partial(store_unsaved_calls, db))
    teacher = Teacher(endpoint, RequestLimits(), notice)
    try:
        # A user who asks a student again wants an answer for sessions that failed.
        return PaidCalls(db, teacher, await teacher.model(), Prices(), Budget(), retry_failed=True, notice=notice)
    except BaseException:
        await teacher.close()
        raise


async def _finished(
    running: "set[asyncio.Task[list[WrittenBundle]]]", timeout: float
) -> "set[asyncio.Task[list[WrittenBundle]]]":
    if not running:
        await asyncio.sleep(timeout)
        return set()
    done, _ = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    return done


async def _close(paid_calls: PaidCalls, running: "set[asyncio.Task[list[WrittenBundle]]]") -> None:
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await paid_calls.teacher.close()


@dataclass(slots=True)
class _Counting:
    """An asker that adds up the tokens of the calls about a session, whenever they were paid for.

    Args:
        counted: for each key of a call, where it is counted: a demonstration can serve several sessions.
    """

    asker: Asker
    counted: "dict[str, _Counting]"
    _calls: dict[str, Call] = field(default_factory=dict)
    """The calls that are counted here, by their key."""

    @property
    def usage(self) -> Usage:
        """The tokens of all calls that are counted here."""
        # An estimate is not a count.
        counts = (
            UNKNOWN_USAGE if call.is_estimated else Usage(call.prompt_tokens, call.completion_tokens)
            for call in self._calls.values()
        )
        return sum(counts, NO_TOKENS)

    async def ask(self, step: str, messages: Sequence[Message], schema: dict[str, Any]) -> Call:
        """See `Asker`."""
        call = await self.asker.ask(step, messages, schema)
        if self.counted.setdefault(call.key, self) is self:
            # A call that was repeated has the tokens of both answers.
            self._calls[call.key] = call
        return call


def _events(
    task: "asyncio.Task[list[WrittenBundle]]", session: Session, seconds: float, usage: Usage
) -> Iterator[StudentEvent]:
    try:
        bundles = task.result()
    except NoAnswer as error:
        if error.is_permanent:
            raise Unreachable(str(error)) from error
        yield Refused(session, str(error), seconds)
        return
    except (FailedBefore, UnusableAnswer) as error:
        yield Refused(session, f"{error}; ask the student again to repeat the call", seconds, usage)
        return
    except ModelError as error:
        yield Refused(session, str(error), seconds, usage)
        return
    for bundle in bundles:
        yield Grew(session, bundle)
    yield Answered(session, bundles, seconds, usage)


async def _bundles(asker: Asker, db: Database, dataset: str, nearest: Nearest, session: Session) -> list[WrittenBundle]:
    if len(session.items) < 2:
        return []
    messages: list[Message] = []
    for neighbour in nearest(session, 1):
        messages = await demonstration(asker, get_session(db, dataset, neighbour))
    messages.append(detection_prompt(session, []))
    call = await asker.ask("aicl", messages, answer_schema(len(session.items)))
    return _read_bundles(call, session)


async def demonstration(asker: Asker, session: Session) -> list[Message]:
    """Have the conversation about a training session.

    Raises:
        ModelError: the model gives no usable answer.
    """
    schema = answer_schema(len(session.items))
    truth = set(true_bundles(session))
    messages = [detection_prompt(session, [])]
    first = text_of(await asker.ask("detect", messages, schema))
    messages += [Message("assistant", first), correction_prompt()]
    call = await asker.ask("correct", messages, schema)
    for _ in range(_ROUNDS):
        bundles = _read_bundles(call, session)
        if {frozenset(bundle.positions) for bundle in bundles} == truth:
            break
        messages += [Message("assistant", text_of(call)), adjustment_prompt(write_feedback(session, bundles))]
        call = await asker.ask("adjust", messages, schema)
    messages += [Message("assistant", text_of(call)), rules_prompt()]
    rules = text_of(await asker.ask("rules", messages, RULES_SCHEMA))
    return [*messages, Message("assistant", rules)]


def _read_bundles(call: Call, session: Session) -> list[WrittenBundle]:
    return read_answer(call, lambda text: parse_answer(text, len(session.items), _CONFIDENCE))
