"""The hits of a search that may be very many: their row numbers, handed out part by part in the order of the search."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from store.sqlite import Database

FIRST = 100
"""Hits of the first part, so that something can be shown while the others are still looked for."""

_PART = 20_000


@dataclass(frozen=True, slots=True)
class Hits:
    """A part of the hits.

    Attributes:
        first: the place of the first of these in the order of the search.
        ids: row numbers, in that order.
        count: how many hits there are in all; None where that is not known yet.
        order: what is to be said of the order, where it is not the one that was asked for.
        can_wait: whether the rest is found so quickly that it need not be looked for before anybody wants it.
    """

    first: int
    ids: "array[int]"
    count: int | None = None
    order: str = ""
    can_wait: bool = False


def hits_of(db: Database, sql: str, values: Sequence[object], *, order: str = "") -> Iterator[Hits]:
    """The hits of a query whose first column is the row number. The last part has the count; there is always one."""
    cursor = db.execute(sql, list(values))
    found, size = 0, FIRST
    while True:
        ids = array("q", [row[0] for row in cursor.fetchmany(size)])
        is_last = len(ids) < size
        yield Hits(found, ids, found + len(ids) if is_last else None, order)
        if is_last:
            return
        found, size = found + len(ids), _PART
