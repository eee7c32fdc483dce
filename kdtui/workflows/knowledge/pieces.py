"""Pieces of knowledge that are searched for, and what would be lost with them."""

from collections.abc import Iterator
from itertools import islice

from msgspec.structs import replace

from kdtui.errors import KdtuiError
from kdtui.text import counted, one_line
from kdtui.workflows.knowledge.query import parse_query
from kdtui.workflows.number_ranges import parse_numbers
from store.errors import NotFound
from store.knowledge import Knowledge, existing_among, pieces_by_number
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


def why_nothing_found(db: Database, query: KnowledgeQuery) -> str:
    """Why a search finds nothing, and what finds something.

    Raises:
        NotFound: a dataset or a sample is not there.
    """
    if not search_pieces(db, KnowledgeQuery(), limit=1):
        return "there is no knowledge yet; kdtui knowledge mine finds patterns in training bundles"
    other = len(numbers_of(db, replace(query, statuses=())))
    if other and query.statuses == ("kept",):
        are = "piece is rejected" if other == 1 else "pieces are rejected"
        return f"no kept knowledge is like that, but {other:,} {are}; --all shows these too"
    if other:
        return f"no knowledge like that is rejected; {counted(other, 'piece is', 'pieces are')} kept"
    return "no knowledge is like that; kdtui knowledge ls --all shows what there is"


def numbers_of(db: Database, query: KnowledgeQuery) -> list[int]:
    """The numbers of all that a search finds.

    Raises:
        NotFound: a dataset or a sample is not there.
    """
    return list(_numbers(db, query, "support", reverse=False))


def pieces_named(db: Database, numbers: str | None, query: str | None) -> list[int]:
    """The numbers of the pieces that a person names by numbers, such as 3,17,40-52, or by a search, or both.

    Raises:
        KdtuiError: the numbers are none, the query means nothing, or it finds nothing.
        NotFound: the query names what is not there, or no piece has any of the numbers.
    """
    found: set[int] = set()
    if numbers is not None:
        found.update(existing_among(db, parse_numbers(numbers)))
        if not found:
            raise NotFound("there is no knowledge of these numbers; kdtui knowledge ls shows the numbers")
    if query is not None:
        matching = numbers_of(db, parse_query(query))
        if not matching:
            what = f"matches {query}" if query.strip() else "is stored yet"
            raise KdtuiError(f"no knowledge {what}; kdtui knowledge ls --all shows what there is")
        found.update(matching)
    return sorted(found)


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
