"""Asking a teacher: a call is looked up before it is paid for, kept as soon as it is answered, and within a budget."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from kdtui.distill.applicable import roughly
from kdtui.workflows.gate import Gate
from models.errors import ModelError
from models.messages import Message
from models.teacher import NoAnswer, Question, Teacher
from store.calls import Call, answered_call, record_call
from store.sqlite import Database

ANSWER_TOKENS = 1024
"""Of an answer at most: bundles with their reasons are some hundreds."""

_TEMPLATE_TOKENS = 16
"""That the chat template of a model puts around a message, at most."""

_USUAL_ANSWER = 200
"""Tokens of an answer that has not been given yet, for an estimate."""


@dataclass(frozen=True, slots=True)
class Prices:
    """In any currency, for a million tokens; 0 where nothing is paid."""

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be paid for; None where it does not matter."""

    calls: int | None = None
    cost: float | None = None


@dataclass(slots=True)
class Tally:
    """What has been asked: answered from the ledger, or paid for. `failed` calls had no answer; they may have cost."""

    hits: int = 0
    paid: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0


class BudgetReached(Exception):
    """The next call might pass the budget, or nothing more is to be asked; none has been made."""


class NotPaidYet(Exception):
    """A rehearsal has come to a call that is not in the ledger."""


class Desk(Protocol):
    """Where conversations ask their questions."""

    async def ask(self, step: str, messages: Sequence[Message], schema: dict[str, Any]) -> Call:
        """The answer to the last of these messages.

        Raises:
            ModelError: there is none.
            BudgetReached: it would cost too much.
        """


@dataclass(slots=True)
class Ledger:
    """A teacher whose answers are kept. Use it from the thread of the database, in one event loop.

    Args:
        model: of the teacher.

        gate: where nothing passes, or nothing more, nothing is asked; what is under way is still kept.
        changed: called when a call begins and when it is over.

    Attributes:
        asking: calls that are under way.
    """

    db: Database
    teacher: Teacher
    model: str
    prices: Prices
    budget: Budget
    tally: Tally = field(default_factory=Tally)
    gate: Gate = field(default_factory=Gate)
    changed: Callable[[], None] = lambda: None
    asking: int = 0
    _reserved: float = 0.0
    _under_way: dict[str, "asyncio.Future[Call]"] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The teacher, as its knowledge names it."""
        return teacher_name(self.teacher.endpoint.url, self.model)

    async def ask(self, step: str, messages: Sequence[Message], schema: dict[str, Any]) -> Call:
        """See `Desk`."""
        question = Question(tuple(messages), schema, ANSWER_TOKENS)
        request = request_of(self.model, question)
        key = key_of(request)
        known = answered_call(self.db, key)
        if known is not None:
            self.tally.hits += 1
            return known
        if key in self._under_way:
            # Two sessions may be the same: the second waits for the first.
            self.tally.hits += 1
            return await asyncio.shield(self._under_way[key])
        self._under_way[key] = answer = asyncio.get_running_loop().create_future()
        try:
            call = await self._pay(step, key, request, question)
        except BaseException as error:
            # Nobody may be waiting for it.
            answer.add_done_callback(lambda done: done.exception())
            answer.set_exception(error if isinstance(error, Exception) else ModelError("the call was broken off"))
            raise
        else:
            answer.set_result(call)
            return call
        finally:
            del self._under_way[key]

    async def _pay(self, step: str, key: str, request: str, question: Question) -> Call:
        prompt = sum(roughly(message.content) for message in question.messages)
        # A token has a byte at least, whatever the script; the template of the model adds a few.
        most = sum(len(message.content.encode()) + _TEMPLATE_TOKENS for message in question.messages)
        highest = self.prices.of(most, question.most_tokens)
        # This call is one of those that are under way.
        calls = self.tally.paid + self.tally.failed + len(self._under_way)
        if self.budget.calls is not None and calls > self.budget.calls:
            raise BudgetReached
        if self.budget.cost is not None and self.tally.cost + self._reserved + highest > self.budget.cost:
            raise BudgetReached
        self._reserved += highest
        record = partial(record_call, self.db, key=key, teacher=self.name, step=step, request=request)
        try:
            await self._turn(prompt + _USUAL_ANSWER)
            self.asking += 1
            self.changed()
            try:
                reply = await self.teacher.ask(self.model, question, key=key)
            finally:
                self.asking -= 1
        except NoAnswer as error:
            self.tally.failed += 1
            record(seconds=error.seconds, attempts=error.attempts, error=str(error))
            self.changed()
            raise
        finally:
            self._reserved -= highest
        cost = self.prices.of(reply.prompt_tokens or 0, reply.completion_tokens or 0)
        record(
            response=reply.text,
            finish_reason=reply.finish_reason,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cost=cost,
            seconds=reply.seconds,
            attempts=reply.attempts,
        )
        self.tally.paid += 1
        self.tally.prompt_tokens += reply.prompt_tokens or 0
        self.tally.completion_tokens += reply.completion_tokens or 0
        self.tally.cost += cost
        self.changed()
        call = answered_call(self.db, key)
        assert call is not None
        return call

    async def _turn(self, tokens: int) -> None:
        """Wait until a call may be made.

        Raises:
            BudgetReached: none may be made any more.
        """
        await self.gate.passed()
        await self.teacher.turn(tokens)
        # It may have been held while this call waited for the pace.
        await self.gate.passed()
        if self.gate.closed:
            raise BudgetReached


@dataclass(slots=True)
class Rehearsal:
    """Answers from the ledger alone, and adds up what the others would cost."""

    db: Database
    model: str
    prices: Prices
    tally: Tally = field(default_factory=Tally)
    asked: int = 0
    _last_prompt: int = 0

    async def ask(self, step: str, messages: Sequence[Message], schema: dict[str, Any]) -> Call:  # noqa: ARG002
        """See `Desk`.

        Raises:
            NotPaidYet: the answer is not in the ledger.
        """
        self.asked += 1
        call = answered_call(self.db, key_of(request_of(self.model, Question(tuple(messages), schema, ANSWER_TOKENS))))
        if call is not None:
            self.tally.hits += 1
            return call
        self._last_prompt = sum(roughly(message.content) for message in messages)
        self._count()
        raise NotPaidYet

    def count_further(self, calls: int) -> None:
        """Count the calls of a conversation that follow one that is not in the ledger: each repeats what was said."""
        for _ in range(calls):
            self._last_prompt += _USUAL_ANSWER
            self._count()

    def _count(self) -> None:
        self.tally.paid += 1
        self.tally.prompt_tokens += self._last_prompt
        self.tally.completion_tokens += _USUAL_ANSWER
        self.tally.cost += self.prices.of(self._last_prompt, _USUAL_ANSWER)


def text_of(call: Call) -> str:
    """The answer of a call.

    Raises:
        ModelError: it is cut off.
    """
    if call.finish_reason == "length":
        raise ModelError(f"the answer of call {call.id} is cut off; the teacher may not keep to the JSON schema")
    return call.response or ""


def request_of(model: str, question: Question) -> str:
    """All that shapes an answer, as JSON with sorted keys."""
    return msgspec.json.encode(
        {
            "model": model,
            "messages": [[message.role, message.content] for message in question.messages],
            "schema": question.schema,
            "max_tokens": question.most_tokens,
            "temperature": 0,
        },
        order="sorted",
    ).decode()


def key_of(request: str) -> str:
    """The hash of a request."""
    return sha256(request.encode()).hexdigest()


def teacher_name(url: str, model: str) -> str:
    """What to call a teacher behind an endpoint."""
    return f"{model} at {urlsplit(url).netloc.rpartition('@')[2]}"
