"""Hits of a search that can have very many: their row numbers, part by part in the order of the search."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from store.sqlite import Database

FIRST = 100
"""Hits in the first part, small so that something is shown while the search continues."""

_PART = 20_000


@dataclass(frozen=True, slots=True)
class Hits:
    """A part of the hits.

    Attributes:
        first: position of the first hit of this part in the whole order.
        ids: row numbers, in order.
        count: total number of hits; None while unknown.
        order: a note about the order if it is not the requested one.
        can_wait: whether the remaining hits can be found so quickly that there is no need to search ahead.
    """

    first: int
    ids: "array[int]"
    count: int | None = None
    order: str = ""
    can_wait: bool = False


def hits_of(db: Database, sql: str, values: Sequence[object], *, order: str = "") -> Iterator[Hits]:
    """Run a query whose first column is the row number; yield at least one part, and the total count with the last."""
    cursor = db.execute(sql, list(values))
    seen, size = 0, FIRST
    while True:
        ids = array("q", [row[0] for row in cursor.fetchmany(size)])
        is_last = len(ids) < size
        yield Hits(seen, ids, seen + len(ids) if is_last else None, order)
        if is_last:
            return
        seen, size = seen + len(ids), _PART
