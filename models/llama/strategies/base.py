"""What a strategy is."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from models.bundle_list import WrittenBundle
from models.chat import ChatTokenizer
from models.llama.answer_tokens import AnswerTokens
from models.llama.engine import AnswerPlan
from models.pairs.clustering import Matrix
from models.student_protocol import SessionTask

Emit: TypeAlias = Callable[[WrittenBundle], None]
"""Is told of bundles as they grow."""


def given_scores(task: SessionTask) -> Matrix | None:
    """How likely the pairs of a session are by other sessions, (products, products), where its questions tell that."""
    return None if task.evidence is None else task.evidence()


class Strategy(Protocol):
    """A way to get bundles out of a language model. It plans what to read, and the engine reads it."""

    def plan(self, task: SessionTask, chat: ChatTokenizer, answer: AnswerTokens, room: int, emit: Emit) -> AnswerPlan:
        """What answering a session of two or more products takes, in a cache of `room` tokens."""


class PairStrategy(Strategy, Protocol):
    """A strategy that judges pairs of products first, and puts those together that belong together."""

    def plan_scores(
        self, task: SessionTask, chat: ChatTokenizer, answer: AnswerTokens, room: int, take: Callable[[Matrix], None]
    ) -> AnswerPlan:
        """What judging the pairs of a session takes; `take` gets (products, products), symmetric, before calibration.

        The scores are log odds by the model itself; its bundles are none.
        """
