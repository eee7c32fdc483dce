"""What a student is asked, and what it says while it answers: the same for every kind of student."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from models.bundle_list import WrittenBundle
from models.messages import Message

NAP = 0.005
"""Seconds between two looks for a session, where there is none at the moment."""


@dataclass(frozen=True, slots=True)
class Task:
    """A session to answer.

    Attributes:
        key: tells its events from those of others.
        products: how many it has.
        messages: what to ask. The last message is about this session; what comes before may be the same for others,
            and is read once for all that have it.
    """

    key: object
    products: int
    messages: Sequence[Message]


@dataclass(frozen=True, slots=True)
class Grew:
    """A bundle is new or has more of its intent; the last time it comes, it is complete."""

    key: object
    bundle: WrittenBundle


@dataclass(frozen=True, slots=True)
class Answered:
    """All bundles of a session, and the seconds since it was its turn."""

    key: object
    bundles: Sequence[WrittenBundle]
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """A session that cannot be answered, and why, and the seconds that this took to find out."""

    key: object
    reason: str
    seconds: float


StudentEvent: TypeAlias = Grew | Answered | Refused
