"""What a student tells of itself before it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class LearningProgress:
    """The pattern student reads the training sessions of a dataset, once; so many of their texts are read."""

    dataset: str
    sessions: int
    done: int
    total: int

    @property
    def text(self) -> str:
        """What it is doing, without how far it is."""
        return f"learning from {self.sessions:,} sessions of {self.dataset}, once"

    @property
    def in_short(self) -> str:
        """What it is doing, and how far it is, in a few words."""
        return f"learning… {self.done / self.total:.0%}"


Tell: TypeAlias = Callable[[str | LearningProgress], object]
"""Takes how far the student is with what takes long, or a sentence about what it cannot do as usual."""


def tell_nobody(_: str | LearningProgress) -> None:
    """Tells nobody."""
