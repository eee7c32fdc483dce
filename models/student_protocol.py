"""What a student is asked, and what it says while it answers: the same for every kind of student."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from models.bundle_list import WrittenBundle
from models.completion import NOT_TOLD, Usage
from models.messages import Message

if TYPE_CHECKING:
    # Imported here only: a screen has no use for numpy at run time.
    import numpy as np
    import numpy.typing as npt

NAP = 0.005
"""Seconds between two looks for a session, where there is none at the moment."""


Form: TypeAlias = Literal["list", "pairs", "json"]
"""What a prompt asks for: lines of text, yes or no about one pair at a time, or a JSON object."""


StrategyName: TypeAlias = Literal["list", "drafts", "pairs"]
"""A way to get bundles out of a language model."""

STRATEGIES: tuple[StrategyName, ...] = get_args(StrategyName)

Ask: TypeAlias = Callable[[Form, Sequence[int]], Sequence[Message]]
"""Makes the messages that ask for bundles in a form, with the products (1-based) in an order, numbered anew.

The last message is about this session; what comes before may be the same for others, and is read once for all of them.
"""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter (a GGUF file made for the student's base), and how strongly it acts: 1 as it was trained."""

    path: Path
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class IntentPrompt:
    """How an adapter is asked that was trained to write the intents of bundles and nothing else.

    Attributes:
        messages: the instructions, the same for all bundles, so that they are read once.
        question: what stands before the intent of a bundle, by its positions: the products of that bundle alone.
    """

    messages: Sequence[Message]
    question: Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class SessionTask:
    """A session to answer.

    Attributes:
        key: tells its events from those of others.
        products: how many it has.
        ask: makes its prompt.
        adapters: to answer with, all at once. Tasks with the same ones are answered together.
        evidence: tells how likely it is that two products share a bundle, (products, products), where that is known
            before; asked by those strategies alone that ask about pairs.
        thinks: whether its adapters have learned to write a thought before the list of bundles.
        intents: how to ask for intents alone, where its adapter has learned that and nothing else.
        find: finds its bundles without the model, where that can be done.
        bundles: those that have been found and told already, and lack their intents; None where they are to be found.
    """

    key: object
    products: int
    ask: Ask
    adapters: tuple[Adapter, ...] = ()
    evidence: "Callable[[], npt.NDArray[np.float64]] | None" = None
    thinks: bool = False
    intents: IntentPrompt | None = None
    find: Callable[[], Sequence[WrittenBundle]] | None = None
    bundles: tuple[WrittenBundle, ...] | None = None

    @property
    def in_order(self) -> range:
        """The products as the session has them."""
        return range(1, self.products + 1)


@dataclass(frozen=True, slots=True)
class Grew:
    """A bundle is new or has more of its intent; the last time it comes, it is complete."""

    key: object
    bundle: WrittenBundle


@dataclass(frozen=True, slots=True)
class Answered:
    """All bundles of a session, the seconds since it was its turn, and the tokens that they took."""

    key: object
    bundles: Sequence[WrittenBundle]
    seconds: float
    usage: Usage = NOT_TOLD


@dataclass(frozen=True, slots=True)
class Refused:
    """A session that cannot be answered, and why, and the seconds and tokens that this took to find out."""

    key: object
    reason: str
    seconds: float
    usage: Usage = NOT_TOLD


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that a user should know of how the student is asked, while it answers a session."""

    key: object
    text: str


StudentEvent: TypeAlias = Grew | Answered | Refused | Noted
