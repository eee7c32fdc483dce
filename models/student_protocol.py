"""What a student is asked, and the events that it answers with; the same for every kind of student."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from models.bundle_list import WrittenBundle
from models.completion import UNKNOWN_USAGE, Usage
from models.messages import Message

if TYPE_CHECKING:
    # Imported for type checks only: a screen does not need numpy at run time.
    import numpy as np
    import numpy.typing as npt

IDLE_SECONDS = 0.005
"""Seconds between two checks for a session, while there is none."""


Form: TypeAlias = Literal["list", "pairs", "json"]
"""What a prompt asks for: lines of text, yes or no about one pair at a time, or a JSON object."""


StrategyName: TypeAlias = Literal["list", "drafts", "pairs"]
"""A way to get bundles from a language model."""

STRATEGIES: tuple[StrategyName, ...] = get_args(StrategyName)

PromptMaker: TypeAlias = Callable[[Form, Sequence[int]], Sequence[Message]]
"""Makes the messages that ask for bundles in a form, with the products (1-based) in the given order, numbered from 1.

The last message is about this session. Those before it can be the same for other sessions, and are read only once.
"""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter (a GGUF file for the student's base) and its weight: 1 acts as it was trained."""

    path: Path
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class IntentPrompt:
    """The prompt for an adapter that was trained only to write the intents of bundles.

    Attributes:
        messages: the instructions, the same for all bundles, so that they are read once.
        question: returns what precedes the intent of a bundle, by its positions: only the products of that bundle.
    """

    messages: Sequence[Message]
    question: Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class SessionTask:
    """A session to answer.

    Attributes:
        key: tells its events from those of others.
        products: their number.
        make_prompt: makes its prompt.
        adapters: to answer with, all at once. Tasks with the same adapters are answered together.
        evidence: returns how likely two products share a bundle by other sessions, (products, products); None if that
            is unknown. Only strategies that ask about pairs call it.
        thinks: whether its adapters have learned to write a thought before the list of bundles.
        intents: how to ask for intents, if its adapter has learned only that.
        find: finds its bundles without the model; None if that is not possible.
        bundles: those that were found and emitted already and lack intents; None if they are still to be found.
    """

    key: object
    products: int
    make_prompt: PromptMaker
    adapters: tuple[Adapter, ...] = ()
    evidence: "Callable[[], npt.NDArray[np.float64]] | None" = None
    thinks: bool = False
    intents: IntentPrompt | None = None
    find: Callable[[], Sequence[WrittenBundle]] | None = None
    bundles: tuple[WrittenBundle, ...] | None = None

    @property
    def in_order(self) -> range:
        """The products in the order of the session."""
        return range(1, self.products + 1)


@dataclass(frozen=True, slots=True)
class Grew:
    """A bundle is new or has more of its intent; its last event is complete."""

    key: object
    bundle: WrittenBundle


@dataclass(frozen=True, slots=True)
class Answered:
    """All bundles of a session, the seconds since it was started, and the tokens that it used."""

    key: object
    bundles: Sequence[WrittenBundle]
    seconds: float
    usage: Usage = UNKNOWN_USAGE


@dataclass(frozen=True, slots=True)
class Refused:
    """A session that cannot be answered, the reason, and the seconds and tokens used until that was known."""

    key: object
    reason: str
    seconds: float
    usage: Usage = UNKNOWN_USAGE


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that the user should know about the way the student is asked."""

    key: object
    text: str


StudentEvent: TypeAlias = Grew | Answered | Refused | Noted
