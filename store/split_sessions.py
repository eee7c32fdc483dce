"""The sessions of a split, or a part of it, walked through again and again without holding them in memory."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from store.datasets import dataset_id
from store.records import Session, Split
from store.sessions import drawn_numbers, numbered_sessions, split_size
from store.sqlite import Database

_PAGE = 1000
"""Sessions that are read at once."""


class SplitSessions(Collection[Session]):
    """Reads a page of sessions at a time, each time it is walked through. It belongs to the thread of its connection.

    Args:
        limit: how many sessions; None for all.
        seed: by which they are drawn; None for the first as imported.

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
        self._drawn = drawn_numbers(db, dataset, split, self._size, seed or 0) if draws else None

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Session]:
        for page in self._pages():
            yield from numbered_sessions(self._db, page)

    def __contains__(self, session: object) -> bool:
        return any(session == each for each in self)

    def without(self, some: Callable[[Sequence[int]], Iterable[int]]) -> Iterator[Session]:
        """The sessions but for some, which are not even read.

        Args:
            some: tells which of these row numbers to leave out.
        """
        for page in self._pages():
            left_out = set(some(page))
            yield from numbered_sessions(self._db, [number for number in page if number not in left_out])

    def _pages(self) -> Iterator[Sequence[int]]:
        """The row numbers of the sessions."""
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
