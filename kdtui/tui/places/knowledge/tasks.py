"""What the place Knowledge asks the store in threads. The imports are in the functions: they take long."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from textual.message import Message

from kdtui.text import counted, decimals
from kdtui.tui.widgets.row_table import Row
from store.records import KnowledgeQuery, KnowledgeSort

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.about_piece import PieceDetails
    from store.calls import CallInFull
    from store.hits import Hits
    from store.knowledge_removal import Dependents, Removed
    from store.knowledge_search import Facets
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class PieceSearch:
    """What is looked for, and in what order."""

    query: KnowledgeQuery
    sort: KnowledgeSort
    reverse: bool


class KnowledgeChanged(Message):
    """Something has been done with pieces; the sentence says what."""

    def __init__(self, sentence: str, *, removed: "Removed | None" = None, restored: bool = False) -> None:
        super().__init__()
        self.sentence, self.removed, self.restored = sentence, removed, restored


def version_of(database: Path) -> tuple[object, ...]:
    """What changes when the store does, whoever writes to it: its file, and the log of what is not yet in it."""
    found: list[object] = []
    for path in (database, Path(f"{database}-wal")):
        try:
            status = path.stat()
        except OSError:
            continue
        # An empty log comes and goes with whoever reads.
        if status.st_size:
            found += [status.st_size, status.st_mtime_ns]
    return tuple(found)


def find_pieces(question: PieceSearch, db: "Database") -> "Iterator[Hits]":
    """The numbers of what is looked for."""
    from store.knowledge_search import search_knowledge

    return search_knowledge(db, question.query, question.sort, reverse=question.reverse)


def read_rows(db: "Database", numbers: Sequence[int]) -> list[Row]:
    """Pieces as rows of the table."""
    from store.knowledge_search import knowledge_rows

    return [
        Row(
            str(piece.id),
            (
                piece.format,
                piece.dataset,
                piece.statement,
                *(_number(each) for each in (piece.support, piece.confidence, piece.lift, piece.precision)),
                piece.status,
                piece.teacher,
                piece.created_at[:16].replace("T", " "),
            ),
        )
        for piece in knowledge_rows(db, numbers)
    ]


def _number(measure: float | None) -> str:
    if measure is None:
        return "–"
    return decimals(measure) if measure < 10 else f"{measure:.1f}"


def pieces_in_words(count: int) -> str:
    """A number of pieces, in words."""
    return f"{counted(count, 'piece')} of knowledge"


def look_into(number: int, db: "Database") -> "PieceDetails":
    """All that is known of a piece."""
    # What shows it is imported here too: on the event loop, that would be felt.
    import kdtui.tui.places.knowledge.piece  # noqa: F401
    from kdtui.workflows.knowledge.about_piece import about_piece

    return about_piece(db, number)


def count_facets(query: KnowledgeQuery, db: "Database") -> "Facets":
    """How many hits have each value."""
    from store import knowledge_search

    return knowledge_search.count_facets(db, query)


def find_call(number: int, db: "Database") -> "CallInFull":
    """What a teacher was asked, and what it answered."""
    from store.calls import call_in_full

    return call_in_full(db, number)


def what_depends_on(numbers: list[int], db: "Database") -> "tuple[list[int], Dependents, str]":
    """What hangs on pieces, and the same as sentences."""
    from kdtui.workflows.knowledge.pieces import what_hangs_on
    from store.knowledge_removal import dependents_of

    found = dependents_of(db, numbers)
    return numbers, found, what_hangs_on(found)


def make_sample(numbers: list[int], name: str, with_rejected: bool, replace: bool, db: "Database") -> KnowledgeChanged:
    """Make a sample of pieces."""
    from kdtui.workflows.knowledge.sample import pick_sample

    picked = pick_sample(db, name, numbers, rejected=with_rejected, replace=replace)
    return KnowledgeChanged(picked.sentence(name))


def export_pieces(
    numbers: list[int],
    folder: Path,
    kind: Literal["jsonl", "parquet"],
    licence: str | None,
    replace: bool,
    db: "Database",
) -> KnowledgeChanged:
    """Export pieces to a folder."""
    from kdtui.workflows.knowledge.exchange import dataset_of, export_knowledge

    count = export_knowledge(
        db, dataset_of(db, numbers), folder, pieces=numbers, kind=kind, licence=licence, replace=replace
    )
    return KnowledgeChanged(f"exported {pieces_in_words(count)} to {folder}")


def remove(numbers: list[int], can_undo: bool, db: "Database") -> KnowledgeChanged:
    """Delete pieces, and keep them if they are to come back."""
    from store.knowledge_removal import dependents_of, remove_knowledge

    count = dependents_of(db, numbers).pieces
    return KnowledgeChanged(f"deleted {pieces_in_words(count)}", removed=remove_knowledge(db, numbers, keep=can_undo))


def restore(removed: "Removed", db: "Database") -> KnowledgeChanged:
    """Put deleted pieces back."""
    from store.knowledge_removal import restore_knowledge

    restore_knowledge(db, removed)
    return KnowledgeChanged(f"put back {pieces_in_words(len(removed.knowledge))}", restored=True)
