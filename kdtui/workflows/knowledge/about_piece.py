"""What is known about a piece of knowledge: its content, its sources, and its uses."""

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
class PieceSources:
    """What a piece was made from.

    Attributes:
        sessions: ids of the training sessions.
        parents: the pieces that its teacher was given, each with its own sources.
    """

    piece: Knowledge
    sessions: tuple[str, ...]
    parents: "tuple[PieceSources, ...]"


@dataclass(frozen=True, slots=True)
class PieceDetails:
    """What is known about a piece.

    Attributes:
        content: the piece as its format; None if it cannot be decoded.
        samples: names of the samples with it.
        runs: numbers of the runs that could use it: of its dataset, with its format, after it was stored.
        trainings: names of the trainings that could use it.
    """

    piece: Knowledge
    content: Content | None
    sources: PieceSources
    samples: tuple[str, ...]
    runs: tuple[int, ...]
    trainings: tuple[str, ...]

    @property
    def is_in_words_of_a_model(self) -> bool:
        """Whether a model wrote its texts. Others are composed from titles and intents of the dataset."""
        # An imported piece has no call, but its teacher has an address in its name.
        return self.piece.call_id is not None or " at " in self.piece.teacher


def about_piece(db: Database, number: int) -> PieceDetails:
    """Return what is known about a piece and quick to find.

    Raises:
        NotFound: there is no piece of that number.
    """
    piece = get_knowledge(db, number)
    samples = samples_with(db, number)
    return PieceDetails(
        piece,
        _content(piece),
        sources_of(db, piece),
        samples,
        runs_that_could_use(db, piece, samples),
        trainings_that_could_use(db, piece, samples),
    )


def scores_of_uses(db: Database, about: PieceDetails) -> Iterator[RunRow]:
    """Score the runs that could use a piece."""
    from store.runs import summary_of

    yield from score_runs(db, [summary_of(db, number) for number in about.runs])


def sources_of(db: Database, piece: Knowledge) -> PieceSources:
    """Return the sources of a piece, back to the first pieces."""
    return _sources(db, piece, frozenset())


def origin_in_words(piece: Knowledge) -> str | None:
    """Say where a piece was imported from, and whose its measures are; None if it was not imported."""
    origin = piece.origin
    if origin is None:
        return None
    dataset = f"dataset {origin.dataset}" if origin.dataset is not None else "a file that names no dataset"
    own = "also found in this store" if piece.own else "not found in this store: its measures are the imported ones"
    return f"imported from {dataset} ({origin.file}) at {origin.imported_at[:16].replace('T', ' ')}; {own}"


def _sources(db: Database, piece: Knowledge, below: frozenset[int]) -> PieceSources:
    # Rules come from patterns and thoughts from rules, so there is no cycle; but an edited file can have one.
    below |= {piece.id}
    parents = [parent for parent in parents_of(db, piece.id) if parent.id not in below]
    return PieceSources(
        piece, tuple(sessions_of_piece(db, piece.id)), tuple(_sources(db, parent, below) for parent in parents)
    )


def _content(piece: Knowledge) -> Content | None:
    try:
        return msgspec.json.decode(piece.content, type=_SHAPES[piece.format])
    except msgspec.MsgspecError:
        return None
