"""Notices of a student before it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class LearningProgress:
    """Progress of the pattern student while it reads the texts of the training sessions of a dataset, once.

    Attributes:
        done, total: texts that are read, and all texts.
    """

    dataset: str
    sessions: int
    done: int
    total: int

    @property
    def text(self) -> str:
        """What it is doing, without the progress."""
        return f"learning from {self.sessions:,} sessions of {self.dataset}, once"

    @property
    def in_short(self) -> str:
        """What it is doing and its progress, in a few words."""
        return f"learning… {self.done / self.total:.0%}"


Tell: TypeAlias = Callable[[str | LearningProgress], object]
"""Takes the progress of slow work, or a sentence about what cannot be done as usual."""


def tell_nobody(_: str | LearningProgress) -> None:
    """Ignore a notice."""
