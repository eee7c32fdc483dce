"""What the place Knowledge does with the store, in threads. The imports are inside the functions: they are slow."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdtui.errors import KdtuiError
from kdtui.text import counted, decimals
from kdtui.tui.core.call_dialog import CallRead, read_call
from kdtui.tui.places.knowledge.messages import DependentsLoaded, KnowledgeChanged, PieceSearch
from kdtui.tui.widgets.rows import Row
from store.records import KnowledgeQuery

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.about_piece import PieceDetails
    from store.hits import Hits
    from store.knowledge_removal import RemovedKnowledge
    from store.knowledge_search import Facets
    from store.sqlite import Database

NO_CALL = "no model was asked for this piece"


def find_pieces(search: PieceSearch, db: "Database") -> "Iterator[Hits]":
    """Yield the numbers of the matching pieces."""
    from store.knowledge_search import search_knowledge

    return search_knowledge(db, search.query, search.sort, reverse=search.reverse)


def read_piece_rows(db: "Database", numbers: Sequence[int]) -> list[Row]:
    """Return pieces as rows of the table."""
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
    """Return a number of pieces in words."""
    return f"{counted(count, 'piece')} of knowledge"


def load_details(number: int, db: "Database") -> "PieceDetails":
    """Return all that is known about a piece."""
    # The module that shows it is imported here too: on the event loop, the import would be noticeable.
    import kdtui.tui.places.knowledge.piece  # noqa: F401
    from kdtui.workflows.knowledge.about_piece import about_piece

    return about_piece(db, number)


def load_facets(query: KnowledgeQuery, db: "Database") -> "Facets":
    """Count the matching pieces by the values of each facet."""
    from store import knowledge_search

    return knowledge_search.count_facets(db, query)


def load_call(number: int, db: "Database") -> CallRead:
    """Return the call that a piece comes from.

    Raises:
        KdtuiError: no model was asked for the piece.
        NotFound: the piece, or its call, no longer exists.
    """
    from store.knowledge import get_knowledge

    call = get_knowledge(db, number).call_id
    if call is None:
        raise KdtuiError(NO_CALL)
    return read_call(call, db)


def load_dependents(numbers: list[int], db: "Database") -> DependentsLoaded:
    """Return what depends on pieces, as numbers and in sentences."""
    from kdtui.workflows.knowledge.pieces import dependents_in_words
    from store.knowledge_removal import dependents_of

    dependents = dependents_of(db, numbers)
    return DependentsLoaded(numbers, dependents, dependents_in_words(dependents))


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
    """Export pieces of one dataset to a folder.

    Raises:
        KdtuiError: the pieces are of several datasets, or cannot be written.
    """
    from kdtui.workflows.knowledge.exchange import dataset_of, export_knowledge

    count = export_knowledge(
        db, dataset_of(db, numbers), folder, pieces=numbers, kind=kind, licence=licence, replace=replace
    )
    return KnowledgeChanged(f"exported {pieces_in_words(count)} to {folder}")


def delete_pieces(numbers: list[int], can_undo: bool, db: "Database") -> KnowledgeChanged:
    """Delete pieces, and return them if they can be restored."""
    from store.knowledge_removal import dependents_of, remove_knowledge

    count = dependents_of(db, numbers).pieces
    return KnowledgeChanged(f"deleted {pieces_in_words(count)}", removed=remove_knowledge(db, numbers, keep=can_undo))


def restore_pieces(removed: "RemovedKnowledge", db: "Database") -> KnowledgeChanged:
    """Restore deleted pieces."""
    from store.knowledge_removal import restore_knowledge

    restore_knowledge(db, removed)
    return KnowledgeChanged(f"restored {pieces_in_words(len(removed.knowledge))}", restored=True)
