"""Search for pieces of knowledge, and say what depends on them."""

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
    """Return the first pieces that a search finds. Sorting by the match ranks all hits, however many.

    Raises:
        NotFound: a dataset or a sample does not exist.
    """
    return pieces_by_number(db, list(islice(_numbers(db, query, sort, reverse=reverse), limit)))


def why_nothing_found(db: Database, query: KnowledgeQuery) -> str:
    """Say why a search finds nothing, and what would find something.

    Raises:
        NotFound: a dataset or a sample does not exist.
    """
    if not search_pieces(db, KnowledgeQuery(), limit=1):
        return "there is no knowledge yet; kdtui knowledge mine finds patterns in training bundles"
    other = len(numbers_of(db, replace(query, statuses=())))
    if other and query.statuses == ("kept",):
        are = "piece is rejected" if other == 1 else "pieces are rejected"
        return f"no kept knowledge matches, but {other:,} {are}; --all shows these too"
    if other:
        return f"no rejected knowledge matches; {counted(other, 'piece is', 'pieces are')} kept"
    return "no knowledge matches; kdtui knowledge ls --all shows all of it"


def numbers_of(db: Database, query: KnowledgeQuery) -> list[int]:
    """Return the numbers of all pieces that a search finds.

    Raises:
        NotFound: a dataset or a sample does not exist.
    """
    return list(_numbers(db, query, "support", reverse=False))


def pieces_named(db: Database, numbers: str | None, query: str | None) -> list[int]:
    """Return the numbers of the pieces that a user names by numbers, such as 3,17,40-52, by a search, or both.

    Raises:
        KdtuiError: the numbers or the query cannot be parsed, or the query finds nothing.
        NotFound: the query names something that does not exist, or no piece has any of the numbers.
    """
    numbers_found: set[int] = set()
    if numbers is not None:
        numbers_found.update(existing_among(db, parse_numbers(numbers)))
        if not numbers_found:
            raise NotFound("there is no knowledge of these numbers; kdtui knowledge ls shows the numbers")
    if query is not None:
        matching = numbers_of(db, parse_query(query))
        if not matching:
            what = f"matches {query}" if query.strip() else "is stored yet"
            raise KdtuiError(f"no knowledge {what}; kdtui knowledge ls --all shows all of it")
        numbers_found.update(matching)
    return sorted(numbers_found)


def _numbers(db: Database, query: KnowledgeQuery, sort: KnowledgeSort, *, reverse: bool) -> Iterator[int]:
    count = 0
    for part in search_knowledge(db, query, sort, reverse=reverse, ranked=_ALL):
        # The last part can come before the middle ones.
        if part.first == count:
            count += len(part.ids)
            yield from part.ids


def dependents_in_words(dependents: Dependents) -> str:
    """Say in sentences what else is lost with pieces of knowledge."""
    parts = []
    if dependents.samples:
        names = ", ".join(one_line(name) for name in dependents.samples)
        parts.append(f"Samples lose {dependents.sampled:,} of them: {names}.")
    if dependents.asked:
        parts.append(f"A model was asked for {dependents.asked:,} of them; its answers stay.")
    if dependents.imported:
        parts.append(f"{dependents.imported:,} of them {'was' if dependents.imported == 1 else 'were'} imported.")
    if dependents.children:
        parts.append(f"{counted(dependents.children, 'other piece loses', 'other pieces lose')} a source.")
    if dependents.sessions:
        link = counted(dependents.sessions, "link to a training session goes", "links to training sessions go")
        parts.append(f"{link} too.")
    return " ".join(parts) or "Nothing depends on them."
