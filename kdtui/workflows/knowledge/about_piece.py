"""All that is known of a piece of knowledge: what it says, where it comes from, and where it was used."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from kdtui.distill.patterns import Pattern
from kdtui.distill.rules import Rule
from kdtui.distill.thoughts import Thought
from kdtui.workflows.runs.runs import RunRow, score_runs
from store.knowledge import Knowledge, get_knowledge, parents_of, sessions_of_piece
from store.knowledge_uses import runs_that_could_use, samples_with, trainings_that_could_use
from store.records import Format
from store.sqlite import Database

Content: TypeAlias = Pattern | Rule | Thought

_SHAPES: dict[Format, type[Pattern] | type[Rule] | type[Thought]] = {
    "pattern": Pattern,
    "rule": Rule,
    "thought": Thought,
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a piece comes from.

    Attributes:
        sessions: ids of the training sessions.
        parents: the pieces that its teacher was given, each with its own origin.
    """

    piece: Knowledge
    sessions: tuple[str, ...]
    parents: "tuple[Origin, ...]"


@dataclass(frozen=True, slots=True)
class PieceDetails:
    """What is known of a piece.

    Attributes:
        content: the piece in the shape of its format; None where it is in another one.
        samples: names of those that hold it.
        runs: numbers of the runs that it was offered to: of its dataset, with its format, after it was there.
        trainings: names of those that it was offered to.
    """

    piece: Knowledge
    content: Content | None
    origin: Origin
    samples: tuple[str, ...]
    runs: tuple[int, ...]
    trainings: tuple[str, ...]

    @property
    def is_in_words_of_a_model(self) -> bool:
        """Whether its texts are what a model wrote. Others are put together from titles and intents of the dataset."""
        # One that was imported has no call, but the name of a teacher behind an address.
        return self.piece.call_id is not None or " at " in self.piece.teacher


def about_piece(db: Database, number: int) -> PieceDetails:
    """All that is known of a piece, and quickly found.

    Raises:
        NotFound: there is none of that number.
    """
    piece = get_knowledge(db, number)
    samples = samples_with(db, number)
    return PieceDetails(
        piece,
        _content(piece),
        origin_of(db, piece),
        samples,
        runs_that_could_use(db, piece, samples),
        trainings_that_could_use(db, piece, samples),
    )


def scores_of_uses(db: Database, about: PieceDetails) -> Iterator[RunRow]:
    """How well the runs did that a piece was offered to."""
    from store.runs import summary_of

    yield from score_runs(db, [summary_of(db, number) for number in about.runs])


def origin_of(db: Database, piece: Knowledge) -> Origin:
    """Where a piece comes from, back to the first."""
    return _origin(db, piece, frozenset())


def told_origin(piece: Knowledge) -> str | None:
    """Where a piece was imported from, and whose its measures are; None where it was not imported."""
    origin = piece.origin
    if origin is None:
        return None
    dataset = f"dataset {origin.dataset}" if origin.dataset is not None else "a file that names no dataset"
    own = "found here too" if piece.own else "not found here: its measures are those that it came with"
    return f"imported from {dataset} ({origin.file}) at {origin.imported_at[:16].replace('T', ' ')}; {own}"


def _origin(db: Database, piece: Knowledge, below: frozenset[int]) -> Origin:
    # Patterns come from nothing else, rules from patterns, thoughts from rules; but a file can be edited.
    below |= {piece.id}
    parents = [parent for parent in parents_of(db, piece.id) if parent.id not in below]
    return Origin(
        piece, tuple(sessions_of_piece(db, piece.id)), tuple(_origin(db, parent, below) for parent in parents)
    )


def _content(piece: Knowledge) -> Content | None:
    try:
        return msgspec.json.decode(piece.content, type=_SHAPES[piece.format])
    except msgspec.MsgspecError:
        return None
