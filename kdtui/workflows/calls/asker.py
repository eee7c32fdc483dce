"""Ask a teacher: look a call up before paying for it, store its answer at once, and keep to a budget."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from kdtui.workflows.calls.answers import FailedBefore
from kdtui.workflows.calls.costs import Budget, Prices
from kdtui.workflows.calls.requests import (
    ANSWER_TOKENS,
    USUAL_ANSWER,
    estimated_prompt_tokens,
    estimated_tokens,
    most_prompt_tokens,
    request_key,
    request_of,
    teacher_name,
    written_tokens,
)
from kdtui.workflows.calls.tally import Tally
from kdtui.workflows.calls.unsaved_calls import (
    PaidCall,
    delete_unsaved_call,
    folder_of,
    set_aside,
    store_unsaved_call,
)
from kdtui.workflows.claims import claims_of
from kdtui.workflows.pause_gate import PauseGate
from kdtui.workflows.waiting import when_free
from models.completion import Usage
from models.endpoint.teacher import NoAnswer, Teacher, TeacherQuestion
from models.errors import ModelError
from models.messages import Message
from store.calls import Call, known_call
from store.sqlite import Database

_LOOK = 0.1
"""Seconds between two looks for the answer of another process."""


class BudgetReached(Exception):
    """The next call could exceed the budget, or no more calls are allowed; none was made."""


class Asker(Protocol):
    """Answers the questions of conversations."""

    async def ask(self, step: str, messages: Sequence[Message], schema: dict[str, Any]) -> Call:
        """Return the answer to the last of these messages.

        Raises:
            ModelError: there is none.
            BudgetReached: it could cost too much.
        """


@dataclass(slots=True)
class PaidCalls:
    """A teacher whose answers are stored. Use it from the thread of the database, in one event loop.

    Args:
        model: of the teacher.
        answer_tokens: of an answer at most.
        retry_failed: whether to pay again, once, for calls that failed for good.
        gate: while it is held or closed, nothing is asked; running calls are still stored.
        changed: called when a call begins and when it ends.
        notice: gets one sentence, once, when answers wait that cannot be stored yet.

    Attributes:
        asking: running calls.
    """

    db: Database
    teacher: Teacher
    model: str
    prices: Prices
    budget: Budget
    answer_tokens: int | None = None
    retry_failed: bool = False
    gate: PauseGate = field(default_factory=PauseGate)
    changed: Callable[[], None] = lambda: None
    notice: Callable[[str], None] = lambda _: None
    tally: Tally = field(init=False)
    asking: int = 0
    _reserved: dict[str, float] = field(default_factory=dict)
    """The upper bound of the cost of each running call."""
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _doubtful: float = 0.0
    """The possible cost of requests that got no answer."""
    _excess: float = 1.0
    """The largest ratio of the cost of a call, by the server, to its estimated upper bound."""
    _has_noticed: bool = False
    _has_waited: bool = False
    _begun: int = 0
    """Calls that this process has made."""
    _planned: set[str] = field(default_factory=set)
    """The keys of calls that wait for their turn."""
    _asked: set[str] = field(default_factory=set)
    _unusable: dict[str, Call] = field(default_factory=dict)
    """Answers that nobody could read, by their key."""
    _under_way: dict[str, "asyncio.Future[Call]"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tally = Tally(cost=self.prices.of(0, 0))

    @property
    def name(self) -> str:
        """The name of the teacher in its knowledge."""
        return teacher_name(self.teacher.endpoint.url, self.model)

    async def ask(self, step: str, messages: Sequence[Message], schema: dict[str, Any]) -> Call:
        """See `Asker`.

        Raises:
            FailedBefore: it failed for good, and is not tried again.
        """
        question = TeacherQuestion(tuple(messages), schema, self.answer_tokens or ANSWER_TOKENS)
        request = request_of(self.model, question)
        key = request_key(request)
        before = known_call(self.db, key)
        if (known := self._usable(before)) is not None:
            return known
        if key in self._under_way:
            # Two sessions can be the same: the second waits for the first.
            self.tally.hits += 1
            return await asyncio.shield(self._under_way[key])
        self._under_way[key] = answer = asyncio.get_running_loop().create_future()
        try:
            call = await self._pay(step, key, request, question, before)
        except BaseException as error:
            # If nobody waits for it, mark its error as seen.
            answer.add_done_callback(lambda done: done.exception())
            answer.set_exception(error if isinstance(error, Exception) else ModelError("the call was broken off"))
            raise
        else:
            answer.set_result(call)
            return call
        finally:
            del self._under_way[key]

    def gives_up(self, call: Call) -> bool:
        """Return whether an unusable answer is final. Otherwise the same question is asked again when it comes up."""
        if not self.retry_failed or call.key in self._asked:
            return True
        self._unusable[call.key] = call
        return False

    def _usable(self, known: Call | None) -> Call | None:
        """Return a stored call if it answers its question; None if it is to be asked.

        Raises:
            FailedBefore: it failed for good, and is not tried again.
        """
        if known is None or self._is_to_be_asked_again(known):
            return None
        self.tally.hits += 1
        if known.status == "failed":
            raise FailedBefore(known)
        return known

    def _is_to_be_asked_again(self, known: Call) -> bool:
        is_useless = known.status == "failed" or self._unusable.get(known.key) == known
        return is_useless and self.retry_failed and known.key not in self._asked

    async def _pay(self, step: str, key: str, request: str, question: TeacherQuestion, before: Call | None) -> Call:
        """Ask a question, unless another process does so meanwhile.

        Args:
            before: the stored call that is to be made again; None if there is none.
        """
        highest = self.prices.of(most_prompt_tokens(question.messages), question.most_tokens) or 0.0
        await self._reserve(key, highest)
        ended = partial(PaidCall, key=key, teacher=self.name, step=step, request=request)
        try:
            await self._turn(estimated_prompt_tokens(question.messages) + USUAL_ANSWER)
            async with self._claimed(key):
                if (known := await self._answer_of_others(key, before)) is not None:
                    return known
                self._planned.remove(key)
                self._begun += 1
                await self._ask_and_keep(key, question, highest, ended)
        finally:
            self._planned.discard(key)
            del self._reserved[key]
            self._released.set()
            self.changed()
        call = known_call(self.db, key)
        assert call is not None
        return call

    async def _answer_of_others(self, key: str, before: Call | None) -> Call | None:
        """Return the answer that another process has got since this one looked; None if there is none.

        Raises:
            FailedBefore: it got none.
        """
        # It can have ended before it could store what it paid for.
        await when_free(self.db, partial(store_unsaved_call, self.db, key))
        known = known_call(self.db, key)
        if known is not None and (known.status == "answered" or _tokens(known) != _tokens(before)) and known != before:
            # To ask it once more would be to pay twice for what was to be asked again once.
            self._asked.add(key)
        return self._usable(known)

    async def _ask_and_keep(
        self, key: str, question: TeacherQuestion, highest: float, ended: Callable[..., PaidCall]
    ) -> None:
        """Ask, and store the answer or the failure.

        Raises:
            NoAnswer: there is no answer.
        """
        self.asking += 1
        self.changed()
        try:
            reply = await self.teacher.ask(self.model, question, key=key)
        except NoAnswer as error:
            self._asked.add(key)
            self._doubtful += error.unanswered * highest
            took: dict[str, Any] = {}
            if (empty := error.empty) is not None:
                # An answer that is cut off before its text begins used up all allowed tokens.
                written = question.most_tokens if empty.is_cut_off else estimated_tokens(empty.written)
                took = {"is_final": True, **self._counted(question, empty.usage, written, highest)}
            await self._keep(ended(seconds=error.seconds, attempts=error.attempts, error=str(error), **took))
            self.tally.failed += 1
            raise
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
            **self._counted(question, reply.usage, written_tokens(reply), highest),
        )
        await self._keep(answered)
        self.tally.paid += 1

    @asynccontextmanager
    async def _claimed(self, key: str) -> AsyncIterator[None]:
        """Let only one process ask a question at a time; the others wait for its answer.

        Raises:
            BudgetReached: no more calls are allowed.
        """
        claims = claims_of(self.db)
        if claims is None:
            yield
            return
        while not claims.take(key):
            if not self._has_waited:
                self._has_waited = True
                self.notice("another kdtui asks the same questions at the moment; its answers are used here, too")
            await asyncio.sleep(_LOOK)
            await self.gate.passed()
            if self.gate.closed:
                raise BudgetReached
        try:
            yield
        finally:
            claims.release(key)

    async def _keep(self, call: PaidCall) -> None:
        """Store a call, however long another process is writing. Meanwhile it is in a file, in case this process ends.

        If the wait ends for any reason, the call stays in the file.

        Raises:
            sqlite3.Error: the store refuses for another reason.
        """
        aside: Path | None = None

        def put_aside() -> None:
            nonlocal aside
            if aside is not None or self.db.path is None:
                return
            # If no file can be written either, it stays in memory while the program runs.
            with suppress(OSError):
                aside = set_aside(self.db.path, call)
                if not self._has_noticed:
                    self._has_noticed = True
                    self.notice(
                        f"paid answers wait in {folder_of(self.db.path)} until they can be stored, by this command or "
                        "the next one that asks a teacher"
                    )

        try:
            await when_free(self.db, lambda: call.record(self.db), put_aside)
        except BaseException:
            put_aside()
            raise
        if aside is not None:
            delete_unsaved_call(aside)

    async def _reserve(self, key: str, highest: float) -> None:
        """Reserve a call and the upper bound of its cost. If running calls may use up the budget, wait for them.

        Raises:
            BudgetReached: the budget is too small.
        """
        while self._waits_for_calls() or self._waits_for_cost(highest):
            self._released.clear()
            await self._released.wait()
        self._planned.add(key)
        self._reserved[key] = highest * self._excess

    def _waits_for_calls(self) -> bool:
        """Return whether the calls that are planned may be all that the budget allows. Others can answer some of them.

        Raises:
            BudgetReached: as many calls have been made.
        """
        limit = self.budget.calls
        if limit is not None and self._begun >= limit:
            raise BudgetReached
        return limit is not None and self._begun + len(self._planned) >= limit

    def _waits_for_cost(self, highest: float) -> bool:
        """Return whether running calls may use up the budget.

        Raises:
            BudgetReached: the budget is too small for this call.
        """
        limit = self.budget.cost
        if limit is None:
            return False
        spent = (self.tally.cost or 0.0) + self._doubtful
        wanted = highest * self._excess
        if spent + wanted > limit:
            raise BudgetReached
        return spent + sum(self._reserved.values()) + wanted > limit

    def _counted(self, question: TeacherQuestion, usage: Usage, written: int, highest: float) -> dict[str, Any]:
        """Count what a call took, as the server reports or else estimated, and return the same for its row."""
        prompt = usage.prompt if usage.prompt is not None else estimated_prompt_tokens(question.messages)
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
            BudgetReached: no more calls are allowed.
        """
        await self.gate.passed()
        await self.teacher.wait_turn(tokens)
        # It can have been held while this call waited for the pace.
        await self.gate.passed()
        if self.gate.closed:
            raise BudgetReached


def _tokens(call: Call | None) -> tuple[int | None, int | None]:
    """Return what was paid for a call."""
    return (None, None) if call is None else (call.prompt_tokens, call.completion_tokens)
