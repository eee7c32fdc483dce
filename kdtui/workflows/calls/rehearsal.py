"""Answer from stored calls only, and estimate the cost of the others."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kdtui.workflows.calls.answers import FailedBefore
from kdtui.workflows.calls.costs import Prices
from kdtui.workflows.calls.requests import (
    ANSWER_TOKENS,
    USUAL_ANSWER,
    estimated_prompt_tokens,
    most_prompt_tokens,
    request_key,
    request_of,
)
from kdtui.workflows.calls.tally import Tally
from models.endpoint.teacher import TeacherQuestion
from models.messages import Message
from store.calls import Call, known_call
from store.sqlite import Database

_USUAL_QUESTION = 250
"""Tokens of a later question in a conversation, which says what was wrong with earlier answers."""


class NotPaidYet(Exception):
    """A rehearsal reached a call that is not in the ledger."""


@dataclass(slots=True)
class Rehearsal:
    """Answers only from the ledger, and adds up the estimated cost of the other calls; see `PaidCalls`."""

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
            FailedBefore: it failed for good, and is not tried again.
        """
        self.asked += 1
        question = TeacherQuestion(tuple(messages), schema, self._most_answer)
        call = known_call(self.db, request_key(request_of(self.model, question)))
        is_useless = call is not None and (call.status == "failed" or call.key in self._unusable)
        if call is not None and not (is_useless and self.retry_failed):
            self.tally.hits += 1
            if call.status == "failed":
                raise FailedBefore(call)
            return call
        self._prompt, self._most_prompt = estimated_prompt_tokens(messages), most_prompt_tokens(messages)
        self._count()
        raise NotPaidYet

    def gives_up(self, call: Call) -> bool:
        """See `PaidCalls.gives_up`."""
        if not self.retry_failed or call.key in self._unusable:
            return True
        self._unusable.add(call.key)
        # The conversation starts again with its first question.
        self.tally.hits -= self.asked
        self.asked = 0
        return False

    def count_further(self, calls: int) -> None:
        """Count the calls that follow a missing one in a conversation: each repeats the earlier messages."""
        for _ in range(calls):
            self._prompt += USUAL_ANSWER + _USUAL_QUESTION
            self._most_prompt += 2 * self._most_answer
            self._count()

    @property
    def _most_answer(self) -> int:
        return self.answer_tokens or ANSWER_TOKENS

    def _count(self) -> None:
        self.tally.paid += 1
        answer = min(USUAL_ANSWER, self._most_answer)
        self.tally.add(self._prompt, answer, self.prices.of(self._prompt, answer), is_estimated=True)
        most = self.prices.of(self._most_prompt, self._most_answer)
        if most is not None:
            self.tally.most_cost = (self.tally.most_cost or 0.0) + most
