"""Asking a teacher: a call is looked up before it is paid for, kept as soon as it is answered, and within a budget."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from kdtui.distill.applicable import estimate_tokens_of
from kdtui.workflows.calls.costs import Budget, Prices
from kdtui.workflows.calls.unsaved_calls import PaidCall, drop, folder_of, set_aside
from kdtui.workflows.pause_control import PauseControl
from kdtui.workflows.waiting import when_free
from models.completion import Usage
from models.endpoint.json_in_text import without_thoughts
from models.endpoint.teacher import NoAnswer, Reply, Teacher, TeacherQuestion
from models.errors import ModelError
from models.messages import Message
from store.calls import Call, known_call
from store.sqlite import Database

ANSWER_TOKENS = 1024
"""Of an answer at most, where nothing else is said: bundles with their reasons are some hundreds."""

_TEMPLATE_TOKENS = 16
"""That the chat template of a model puts around a message, at most."""

_USUAL_ANSWER = 200
"""Tokens of an answer that has not been given yet, for an estimate."""

_USUAL_QUESTION = 250
"""Tokens of a later question of a conversation, which says what was wrong with the answers before it."""

T = TypeVar("T")


@dataclass(slots=True)
class Tally:
    """What has been asked: answered from the ledger, or paid for.

    Attributes:
        failed: calls without a usable answer; those that the server answered have cost.
        cost: of all calls; None where no prices are known.
        estimated: calls whose tokens the server does not tell.
        most_cost: what calls that are not made yet may cost at most, about.
    """

    hits: int = 0
    paid: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    estimated: int = 0
    most_cost: float | None = None

    def add(self, prompt_tokens: int, completion_tokens: int, cost: float | None, *, is_estimated: bool) -> None:
        """Count what a call took."""
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        if cost is not None:
            self.cost = (self.cost or 0.0) + cost
        self.estimated += is_estimated


class BudgetReached(Exception):
    """The next call might pass the budget, or nothing more is to be asked; none has been made."""


class NotPaidYet(Exception):
    """A rehearsal has come to a call that is not in the ledger."""


class FailedBefore(ModelError):
    """A call has failed for good in an earlier run, and is not paid for again."""

    def __init__(self, call: Call) -> None:
        super().__init__(f"{call.error} (call {call.id}, before; --retry-failed asks again)")


class Unusable(ModelError):
    """The answer of a call is of no use."""

    def __init__(self, problem: str, call: Call) -> None:
        super().__init__(problem)
        self.call = call


class Asker(Protocol):
    """Where conversations ask their questions."""

    async def ask(self, step: str, messages: Sequence[Message], schema: dict[str, Any]) -> Call:
        """The answer to the last of these messages.

        Raises:
            ModelError: there is none.
            BudgetReached: it would cost too much.
        """


@dataclass(slots=True)
class PaidCalls:
    """A teacher whose answers are kept. Use it from the thread of the database, in one event loop.

    Args:
        model: of the teacher.
        answer_tokens: of an answer at most.
        retry_failed: whether to pay again for what failed for good, once.
        gate: where nothing passes, or nothing more, nothing is asked; what is under way is still kept.
        changed: called when a call begins and when it is over.
        notice: told once, in a sentence, where answers wait that cannot be stored yet.

    Attributes:
        asking: calls that are under way.
    """

    db: Database
    teacher: Teacher
    model: str
    prices: Prices
    budget: Budget
    answer_tokens: int | None = None
    retry_failed: bool = False
    gate: PauseControl = field(default_factory=PauseControl)
    changed: Callable[[], None] = lambda: None
    notice: Callable[[str], None] = lambda _: None
    tally: Tally = field(init=False)
    asking: int = 0
    _reserved: dict[str, float] = field(default_factory=dict)
    """What calls that are under way may cost at most."""
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _doubtful: float = 0.0
    """What may have been paid for requests that got no answer."""
    _excess: float = 1.0
    """How many times as much as it may at most a call has cost, by what the server told."""
    _has_told: bool = False
    _asked: set[str] = field(default_factory=set)
    _unusable: set[str] = field(default_factory=set)
    _under_way: dict[str, "asyncio.Future[Call]"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tally = Tally(cost=self.prices.of(0, 0))

    @property
    def name(self) -> str:
        """The teacher, as its knowledge names it."""
        return teacher_name(self.teacher.endpoint.url, self.model)

    async def ask(self, step: str, messages: Sequence[Message], schema: dict[str, Any]) -> Call:
        """See `Asker`.

        Raises:
            FailedBefore: it has failed for good, and is not to be tried again.
        """
        question = TeacherQuestion(tuple(messages), schema, self.answer_tokens or ANSWER_TOKENS)
        request = request_of(self.model, question)
        key = key_of(request)
        known = known_call(self.db, key)
        if known is not None and not self._is_to_be_asked_again(known):
            self.tally.hits += 1
            if known.status == "failed":
                raise FailedBefore(known)
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

    def gives_up(self, call: Call) -> bool:
        """Whether an unusable answer stays as it is; otherwise the same question is asked again when it comes."""
        if not self.retry_failed or call.key in self._asked:
            return True
        self._unusable.add(call.key)
        return False

    def _is_to_be_asked_again(self, known: Call) -> bool:
        is_useless = known.status == "failed" or known.key in self._unusable
        return is_useless and self.retry_failed and known.key not in self._asked

    async def _pay(self, step: str, key: str, request: str, question: TeacherQuestion) -> Call:
        # This call is one of those that are under way.
        calls = self.tally.paid + self.tally.failed + len(self._under_way)
        if self.budget.calls is not None and calls > self.budget.calls:
            raise BudgetReached
        highest = self.prices.of(most_tokens(question.messages), question.most_tokens) or 0.0
        await self._reserve(key, highest)
        ended = partial(PaidCall, key=key, teacher=self.name, step=step, request=request)
        try:
            await self._turn(_prompt_tokens(question.messages) + _USUAL_ANSWER)
            self.asking += 1
            self.changed()
            try:
                reply = await self.teacher.ask(self.model, question, key=key)
            finally:
                self.asking -= 1
            self._asked.add(key)
            self._doubtful += reply.unanswered * highest
            answered = ended(
                response=reply.text,
                finish_reason=reply.finish_reason,
                seconds=reply.seconds,
                attempts=reply.attempts,
                replace=key in self._unusable,
                **self._counted(question, reply.usage, _written(reply), highest),
            )
            await self._keep(answered)
            self.tally.paid += 1
        except NoAnswer as error:
            self._asked.add(key)
            self._doubtful += error.unanswered * highest
            took: dict[str, Any] = {}
            if (empty := error.empty) is not None:
                # What is cut off before there is a text has used up all that was allowed.
                written = question.most_tokens if empty.is_cut_off else _roughly(empty.written)
                took = {"is_final": True, **self._counted(question, empty.usage, written, highest)}
            await self._keep(ended(seconds=error.seconds, attempts=error.attempts, error=str(error), **took))
            self.tally.failed += 1
            raise
        finally:
            del self._reserved[key]
            self._released.set()
            self.changed()
        call = known_call(self.db, key)
        assert call is not None
        return call

    async def _keep(self, call: PaidCall) -> None:
        """Store a call, however long another process is writing; meanwhile it is in a file, lest this one is ended.

        Whatever ends the waiting, it stays in the file then.

        Raises:
            sqlite3.Error: the store refuses for another reason.
        """
        aside: Path | None = None

        def put_aside() -> None:
            nonlocal aside
            if aside is not None or self.db.path is None:
                return
            # Where no file can be written either, it stays in memory as long as the program runs.
            with suppress(OSError):
                aside = set_aside(self.db.path, call)
                if not self._has_told:
                    self._has_told = True
                    self.notice(
                        f"answers that are paid for wait in {folder_of(self.db.path)} until they can be stored, by "
                        "this command or the next that asks a teacher"
                    )

        try:
            await when_free(self.db, lambda: call.record(self.db), put_aside)
        except BaseException:
            put_aside()
            raise
        if aside is not None:
            drop(aside)

    async def _reserve(self, key: str, highest: float) -> None:
        """Set aside what a call may cost; where others that are under way may use up the budget, wait for them.

        Raises:
            BudgetReached: the budget does not hold so much.
        """
        limit = self.budget.cost
        while limit is not None:
            spent = (self.tally.cost or 0.0) + self._doubtful
            wanted = highest * self._excess
            if spent + wanted > limit:
                raise BudgetReached
            if spent + sum(self._reserved.values()) + wanted <= limit:
                break
            self._released.clear()
            await self._released.wait()
        self._reserved[key] = highest * self._excess

    def _counted(self, question: TeacherQuestion, usage: Usage, written: int, highest: float) -> dict[str, Any]:
        """Count what a call took, as the server says, or else by an estimate; the same for its row."""
        prompt = usage.prompt if usage.prompt is not None else _prompt_tokens(question.messages)
        completion = usage.completion if usage.completion is not None else written
        cost = self.prices.of(prompt, completion)
        is_estimated = usage.prompt is None or usage.completion is None
        self.tally.add(prompt, completion, cost, is_estimated=is_estimated)
        if cost is not None and highest:
            self._excess = max(self._excess, cost / highest)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "cost": cost,
            "is_estimated": is_estimated,
        }

    async def _turn(self, tokens: int) -> None:
        """Wait until a call may be made.

        Raises:
            BudgetReached: none may be made any more.
        """
        await self.gate.passed()
        await self.teacher.wait_turn(tokens)
        # It may have been held while this call waited for the pace.
        await self.gate.passed()
        if self.gate.closed:
            raise BudgetReached


@dataclass(slots=True)
class Rehearsal:
    """Answers from the ledger alone, and adds up what the others would cost; see `PaidCalls`."""

    db: Database
    model: str
    prices: Prices
    answer_tokens: int | None = None
    retry_failed: bool = False
    tally: Tally = field(init=False)
    asked: int = 0
    _prompt: int = 0
    _most_prompt: int = 0
    _unusable: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.tally = Tally(cost=self.prices.of(0, 0), most_cost=self.prices.of(0, 0))

    async def ask(self, step: str, messages: Sequence[Message], schema: dict[str, Any]) -> Call:  # noqa: ARG002
        """See `Asker`.

        Raises:
            NotPaidYet: the answer is not in the ledger.
            FailedBefore: it has failed for good, and is not to be tried again.
        """
        self.asked += 1
        question = TeacherQuestion(tuple(messages), schema, self._most_answer)
        call = known_call(self.db, key_of(request_of(self.model, question)))
        is_useless = call is not None and (call.status == "failed" or call.key in self._unusable)
        if call is not None and not (is_useless and self.retry_failed):
            self.tally.hits += 1
            if call.status == "failed":
                raise FailedBefore(call)
            return call
        self._prompt, self._most_prompt = _prompt_tokens(messages), most_tokens(messages)
        self._count()
        raise NotPaidYet

    def gives_up(self, call: Call) -> bool:
        """See `Ledger.gives_up`."""
        if not self.retry_failed or call.key in self._unusable:
            return True
        self._unusable.add(call.key)
        # It is asked again from the first question on.
        self.tally.hits -= self.asked
        self.asked = 0
        return False

    def count_further(self, calls: int) -> None:
        """Count the calls of a conversation that follow one that is not in the ledger: each repeats what was said."""
        for _ in range(calls):
            self._prompt += _USUAL_ANSWER + _USUAL_QUESTION
            self._most_prompt += 2 * self._most_answer
            self._count()

    @property
    def _most_answer(self) -> int:
        return self.answer_tokens or ANSWER_TOKENS

    def _count(self) -> None:
        self.tally.paid += 1
        answer = min(_USUAL_ANSWER, self._most_answer)
        self.tally.add(self._prompt, answer, self.prices.of(self._prompt, answer), is_estimated=True)
        most = self.prices.of(self._most_prompt, self._most_answer)
        if most is not None:
            self.tally.most_cost = (self.tally.most_cost or 0.0) + most


def read_answer(call: Call, read: Callable[[str], T]) -> T:
    """What is made of the answer of a call.

    Raises:
        Unusable: it is cut off, or nothing can be made of it.
    """
    if call.finish_reason == "length":
        problem = f"the answer of call {call.id} is cut off; allow longer ones with --answer-tokens"
        raise Unusable(problem, call)
    try:
        return read(call.response or "")
    except ModelError as error:
        raise Unusable(str(error), call) from error


def text_of(call: Call) -> str:
    """The answer of a call, without the thoughts before it.

    Raises:
        Unusable: it is cut off.
    """
    return read_answer(call, without_thoughts)


def most_tokens(messages: Sequence[Message]) -> int:
    """Tokens that messages are at most: each has a byte at least, whatever the script; the template adds a few."""
    return sum(len(message.content.encode("utf-8", "replace")) + _TEMPLATE_TOKENS for message in messages)


def _prompt_tokens(messages: Sequence[Message]) -> int:
    return sum(_roughly(message.content) for message in messages)


def _written(reply: Reply) -> int:
    return _roughly(reply.text + reply.thoughts)


def _roughly(text: str) -> int:
    """Tokens of a text in any script: many have a token or more for each character, and two or three bytes for it."""
    return estimate_tokens_of(len(text.encode("utf-8", "replace")))


def request_of(model: str, question: TeacherQuestion) -> str:
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
