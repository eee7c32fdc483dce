"""A student that is ready to answer."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdtui.workflows.student.explain import PromptExplanation
from models.student_protocol import (
    StudentEvent,
)
from store.records import Session

if TYPE_CHECKING:
    from kdtui.distill.routing import AdapterChoice


@dataclass(frozen=True, slots=True)
class SessionStudent:
    """A student that is ready to answer.

    Attributes:
        name: distinguishes it and its knowledge from others in a table.
        answer: takes sessions, or None if there is none at the moment, and yields events whose key is the session.
        explain: explains what it is asked about a session, and with which knowledge.
        costs_nothing: whether its answers take milliseconds and are free, so that losing some is harmless.
        choose: returns which of its adapters answers a session, and why; None for a student without a choice.
    """

    name: str
    answer: Callable[[Iterable[Session | None]], Iterator[StudentEvent]]
    explain: Callable[[Session], PromptExplanation]
    costs_nothing: bool = False
    choose: "Callable[[Session], AdapterChoice] | None" = None
