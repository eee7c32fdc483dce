"""Pieces of knowledge that are searched for, and what would be lost with them."""

from collections.abc import Iterator
from itertools import islice

from kdtui.bundling.text import counted, one_line
from store.knowledge import Knowledge, pieces_by_number
from store.knowledge_removal import Dependents
from store.knowledge_search import search_knowledge
from store.records import KnowledgeQuery, KnowledgeSort
from store.sqlite import Database

_ALL = 2**62
"""More hits than there can be."""


def search_pieces(
    db: Database, query: KnowledgeQuery, sort: KnowledgeSort = "support", *, reverse: bool = False, limit: int
) -> list[Knowledge]:
    """The first pieces that a search finds. By the match, all hits are put in order, however many.

    Raises:
        NotFound: a dataset or a sample is not there.
    """
    return pieces_by_number(db, list(islice(_numbers(db, query, sort, reverse=reverse), limit)))


def numbers_of(db: Database, query: KnowledgeQuery) -> list[int]:
    """The numbers of all that a search finds.

    Raises:
        NotFound: a dataset or a sample is not there.
    """
    return list(_numbers(db, query, "support", reverse=False))


def _numbers(db: Database, query: KnowledgeQuery, sort: KnowledgeSort, *, reverse: bool) -> Iterator[int]:
    found = 0
    for part in search_knowledge(db, query, sort, reverse=reverse, ranked=_ALL):
        # The end may be told before the middle.
        if part.first == found:
            found += len(part.ids)
            yield from part.ids


def what_hangs_on(found: Dependents) -> str:
    """What else is lost with pieces of knowledge, as sentences."""
    parts = []
    if found.samples:
        names = ", ".join(one_line(name) for name in found.samples)
        parts.append(f"Samples lose {found.sampled:,} of them: {names}.")
    if found.asked:
        parts.append(f"A model was asked for {found.asked:,} of them; its answers stay.")
    if found.imported:
        parts.append(f"{found.imported:,} of them {'was' if found.imported == 1 else 'were'} imported.")
    if found.children:
        parts.append(f"{counted(found.children, 'other piece loses', 'other pieces lose')} an origin.")
    if found.sessions:
        link = counted(found.sessions, "link to a training session goes", "links to training sessions go")
        parts.append(f"{link} too.")
    return " ".join(parts) or "Nothing else names them."
