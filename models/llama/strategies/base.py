"""The interface of strategies."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from models.bundle_list import WrittenBundle
from models.chat import ChatTokenizer
from models.llama.answer_tokens import AnswerTokens
from models.llama.engine import AnswerPlan
from models.pairs.clustering import Matrix
from models.student_protocol import SessionTask

Emit: TypeAlias = Callable[[WrittenBundle], None]
"""A callback that gets bundles as they grow."""


def given_scores(task: SessionTask) -> Matrix | None:
    """Return how likely each pair is by other sessions, (products, products); None if the task has no evidence."""
    return None if task.evidence is None else task.evidence()


class Strategy(Protocol):
    """A way to get bundles from a language model. It plans what to read, and the engine reads it."""

    def plan(self, task: SessionTask, chat: ChatTokenizer, answer: AnswerTokens, room: int, emit: Emit) -> AnswerPlan:
        """Plan to answer a session of two or more products in a cache of `room` tokens."""


class ScoringStrategy(Strategy, Protocol):
    """A strategy that judges pairs of products first, and then joins those that belong together."""

    def plan_scores(
        self, task: SessionTask, chat: ChatTokenizer, answer: AnswerTokens, room: int, take: Callable[[Matrix], None]
    ) -> AnswerPlan:
        """Plan to judge the pairs of a session.

        Args:
            take: gets the scores before calibration: the model's log odds, (products, products), symmetric.

        The program returns no bundles.
        """
