"""The sessions of a split, or of a part of it, as a collection that does not hold them in memory."""

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from random import Random

from store.datasets import dataset_id
from store.records import Session, Split
from store.sessions import draw_session_numbers, sessions_by_number, split_size
from store.sqlite import Database

_PAGE = 1000
"""Sessions read in one query."""


class SplitSessions(Collection[Session]):
    """Reads a page of sessions at a time, in every iteration. It belongs to the thread of its connection.

    Args:
        limit: number of sessions; None for all.
        seed: seed of a random draw; None for the first sessions in import order.

    Raises:
        NotFound: there is no such dataset.
    """

    def __init__(
        self, db: Database, dataset: str, split: Split, limit: int | None = None, seed: int | None = None
    ) -> None:
        self._db = db
        self._dataset_id = dataset_id(db, dataset)
        self._split = split
        size = split_size(db, dataset, split)
        self._size = size if limit is None else min(limit, size)
        draws = limit is not None and seed is not None
        self._drawn = draw_session_numbers(db, dataset, split, self._size, seed or 0) if draws else None

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Session]:
        for page in self._pages():
            yield from sessions_by_number(self._db, page)

    def __contains__(self, session: object) -> bool:
        return any(session == each for each in self)

    def without(
        self, some: Callable[[Sequence[int]], Iterable[int]], *, shuffled_by: int | None = None
    ) -> Iterator[Session]:
        """Iterate over the sessions except some, which are not even read.

        Args:
            some: returns those of the given row numbers that are to be left out.
            shuffled_by: seed of a random order; None for the order of the collection.
        """
        for page in self._pages() if shuffled_by is None else self._shuffled_pages(shuffled_by):
            left_out = set(some(page))
            yield from sessions_by_number(self._db, [number for number in page if number not in left_out])

    def _shuffled_pages(self, seed: int) -> Iterator[Sequence[int]]:
        numbers = array("q", chain.from_iterable(self._pages()))
        Random(seed).shuffle(numbers)
        for first in range(0, len(numbers), _PAGE):
            yield numbers[first : first + _PAGE]

    def _pages(self) -> Iterator[Sequence[int]]:
        """Iterate over pages of the sessions' row numbers."""
        if self._drawn is not None:
            for first in range(0, self._size, _PAGE):
                yield self._drawn[first : first + _PAGE]
            return
        last, left = 0, self._size
        while left:
            rows = self._db.execute(
                "SELECT id FROM sessions WHERE dataset_id = ? AND split = ? AND id > ? ORDER BY id LIMIT ?",
                [self._dataset_id, self._split, last, min(_PAGE, left)],
            ).fetchall()
            if not rows:
                return
            yield [row[0] for row in rows]
            last = rows[-1][0]
            left -= len(rows)
