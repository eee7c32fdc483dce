"""Have a model behind an endpoint rate the intents of a run. Every call is stored, and paid for once."""

import asyncio
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from math import nan
from typing import TypeAlias

from kdtui.distill.judging import RATING_SCHEMA, rating_prompt, read_rating
from kdtui.workflows.calls.answers import read_answer, with_options
from kdtui.workflows.calls.asker import BudgetReached, PaidCalls
from kdtui.workflows.calls.conversation import hold_conversation
from kdtui.workflows.calls.costs import Budget, Prices, check_budget
from kdtui.workflows.calls.tally import Tally
from kdtui.workflows.calls.unsaved_calls import store_unsaved_calls
from kdtui.workflows.model_names import check_address
from kdtui.workflows.pause_gate import CALL_PATIENCE
from kdtui.workflows.runs.evaluate import answered_by
from kdtui.workflows.runs.ratings import Ratings
from kdtui.workflows.waiting import when_free
from models.endpoint.chat_server import Endpoint, Unreachable
from models.endpoint.teacher import NoAnswer, RequestLimits, Teacher
from models.errors import ModelError
from models.event_loop import new_runner
from models.student_protocol import Noted
from store.records import Item, Session
from store.runs import Run
from store.sqlite import Database

_NOTICE_SECONDS = 1.0
"""Seconds after which notices reach the user while no rating ends."""

BUDGET_REACHED = "the next call might pass the budget"


@dataclass(frozen=True, slots=True)
class Judge:
    """The model that rates intents, and the budget.

    Attributes:
        answer_tokens: of an answer at most; None for the usual limit.
        retry_failed: whether to pay again for unusable answers.
    """

    endpoint: Endpoint
    prices: Prices
    budget: Budget
    answer_tokens: int | None = None
    retry_failed: bool = False
    pace: RequestLimits = field(default_factory=RequestLimits)


@dataclass(frozen=True, slots=True)
class Rated:
    """The number of intents that are done."""

    done: int
    tally: Tally


@dataclass(frozen=True, slots=True)
class NotRated:
    """An intent without a rating."""

    session: str
    reason: str


JudgeEvent: TypeAlias = Rated | NotRated | Noted | Ratings


def judge_at(
    address: str,
    key: str,
    prices: Prices,
    budget: Budget,
    *,
    answer_tokens: int | None = None,
    retry_failed: bool = False,
) -> Judge:
    """Return the judge at an address, URL#MODEL.

    Raises:
        KdtuiError: the address is invalid, or the budget cannot be kept.
    """
    check_address(address)
    check_budget(budget, prices, of="judge-")
    url, _, model = address.partition("#")
    return Judge(
        Endpoint(url, model or None, key), prices, budget, answer_tokens=answer_tokens, retry_failed=retry_failed
    )


def count_intents(db: Database, run: Run, sessions: Collection[Session]) -> int:
    """Count the intents of a run on these sessions."""
    return sum(1 for _ in intents_of(db, run, sessions))


def rate_intents(db: Database, run: Run, sessions: Collection[Session], judge: Judge) -> Generator[JudgeEvent]:
    """Have the intents of a run rated, many at a time. The last event is the result.

    Closing the iterator, or an interrupt, starts no more calls and lets the running calls end: they are paid for.

    Raises:
        KdtuiError: a prompt of the user's own cannot be used.
        ModelError: the server cannot be reached, or the model is not named.
    """
    waiting = intents_of(db, run, sessions)
    ratings: list[int] = []
    done = failed = 0
    stopped: str | None = None
    with new_runner() as runner:
        notes: list[str] = []
        paid_calls = runner.run(_open(db, judge, notes.append))
        running: dict[asyncio.Task[int], str] = {}
        try:
            more = True
            while more or running:
                while more and len(running) < judge.pace.concurrency:
                    following = next(waiting, None)
                    if following is None:
                        more = False
                        break
                    session, items, intent = following
                    running[runner.get_loop().create_task(_rating(paid_calls, items, intent))] = session
                if not running:
                    break
                ended, _ = runner.run(_first_of(set(running)))
                yield from (Noted(None, note) for note in notes)
                notes.clear()
                for task in ended:
                    session = running.pop(task)
                    try:
                        ratings.append(task.result())
                        done += 1
                    except BudgetReached:
                        stopped, more = BUDGET_REACHED, False
                    except ModelError as error:
                        if isinstance(error, NoAnswer) and error.is_permanent:
                            raise Unreachable(str(error)) from error
                        failed += 1
                        done += 1
                        yield NotRated(session, with_options(error))
                if ended:
                    yield Rated(done, replace(paid_calls.tally))
        finally:
            runner.run(_close(paid_calls, set(running)))
        name = paid_calls.name
    intents = done if stopped is None else count_intents(db, run, sessions)
    mean = sum(ratings) / len(ratings) if ratings else nan
    yield Ratings(name, mean, len(ratings), failed, intents, stopped)


def intents_of(db: Database, run: Run, sessions: Collection[Session]) -> Iterator[tuple[str, list[Item], str]]:
    """Yield the session, the products and the intent of each bundle with an intent."""
    for session, answer in answered_by(db, run, sessions):
        for bundle in answer.bundles or ():
            if bundle.intent.strip():
                yield session.id, [session.items[position - 1] for position in bundle.positions], bundle.intent


async def _rating(paid_calls: PaidCalls, items: list[Item], intent: str) -> int:
    """Get one rating. An unusable answer is asked for once more, if requested."""

    async def ask() -> int:
        return read_answer(await paid_calls.ask("judge", [rating_prompt(items, intent)], RATING_SCHEMA), read_rating)

    return await hold_conversation(ask, paid_calls)


async def _open(db: Database, judge: Judge, notice: Callable[[str], None]) -> PaidCalls:
    await when_free(db, partial(store_unsaved_calls, db))
    teacher = Teacher(judge.endpoint, judge.pace, notice)
    try:
        return PaidCalls(
            db,
            teacher,
            await teacher.model(),
            judge.prices,
            judge.budget,
            judge.answer_tokens,
            judge.retry_failed,
            notice=notice,
        )
    except BaseException:
        await teacher.close()
        raise


async def _first_of(running: "set[asyncio.Task[int]]") -> "tuple[set[asyncio.Task[int]], set[asyncio.Task[int]]]":
    """Wait for the first ratings, or for a second: the user gets notices in between."""
    return await asyncio.wait(running, timeout=_NOTICE_SECONDS, return_when=asyncio.FIRST_COMPLETED)


async def _close(paid_calls: PaidCalls, running: "set[asyncio.Task[int]]") -> None:
    """Start no more calls, and wait for the running ones, unless that takes too long or is interrupted again."""
    paid_calls.gate.close()
    try:
        if running:
            _, late = await asyncio.wait(running, timeout=CALL_PATIENCE)
            for task in late:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    finally:
        await paid_calls.teacher.close()
