"""The search for knowledge, and the messages about its results and about pieces."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from kdtui.tui.core.store_worker import StoreChanged
from store.records import KnowledgeQuery, KnowledgeSort

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.about_piece import PieceDetails
    from store.knowledge_removal import Dependents, RemovedKnowledge
    from store.knowledge_search import Facets


@dataclass(frozen=True, slots=True)
class PieceSearch:
    """What to search for, and in what order to list it."""

    query: KnowledgeQuery
    sort: KnowledgeSort
    reverse: bool


class StoreInspected(Message):
    """The names of all datasets are known, and the path of the store, if commands have to name it."""

    def __init__(self, datasets: list[str], named_database: Path | None) -> None:
        super().__init__()
        self.datasets, self.named_database = datasets, named_database


class FacetsLoaded(Message):
    """The matching pieces of a search are counted by facet.

    Attributes:
        key: the query and the version of the store.
    """

    def __init__(self, key: tuple[object, ...], facets: "Facets") -> None:
        super().__init__()
        self.key, self.facets = key, facets


class PieceLoaded(Message):
    """The details of the piece under the cursor are loaded."""

    def __init__(self, details: "PieceDetails") -> None:
        super().__init__()
        self.details = details


class PieceToOpenLoaded(PieceLoaded):
    """The details of a piece are loaded that the user wants to open."""


class DependentsLoaded(Message):
    """What depends on the pieces that the user wants to delete is loaded.

    Attributes:
        consequence: the same in sentences.
    """

    def __init__(self, numbers: list[int], dependents: "Dependents", consequence: str) -> None:
        super().__init__()
        self.numbers, self.dependents, self.consequence = numbers, dependents, consequence


class KnowledgeChanged(StoreChanged):
    """Pieces have been sampled, exported, deleted or restored; the sentence says which."""

    def __init__(self, sentence: str, *, removed: "RemovedKnowledge | None" = None, restored: bool = False) -> None:
        super().__init__(sentence)
        self.removed, self.restored = removed, restored
