"""A table of the hits of a search. It keeps only their numbers, and reads the rows in sight."""

import asyncio
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, TypeAlias

from textual.message import Message
from textual.worker import get_current_worker

from kdtui.tui.core.store_worker import ask_store, user_sentence
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.rows import PAGE, Column, Row

if TYPE_CHECKING:
    from store.hits import Hits
    from store.sqlite import Database

_PAINTING = 0.05
"""Seconds in which the first rows are painted."""

Find: TypeAlias = "Callable[[Database], Iterator[Hits]]"
"""Yields the hits of a search in parts."""

Read: TypeAlias = "Callable[[Database, Sequence[int]], list[Row]]"
"""Returns rows by their numbers, in this order."""


class _Search:
    """A search, and the hits that are known so far."""

    def __init__(self, question: object, find: Find, read: Read) -> None:
        self.question, self.find, self.read = question, find, read
        self.ids = array("q")
        # The end can be known before the middle.
        self.end_at, self.end = 0, array("q")
        self.count: int | None = None
        # Whether the middle is searched only on demand.
        self.waits = False

    def add(self, hits: "Hits") -> None:
        if hits.first == len(self.ids):
            self.ids.extend(hits.ids)
        else:
            self.end_at, self.end = hits.first, hits.ids
        if hits.count is not None:
            self.count = hits.count
        self.waits = hits.can_wait

    @property
    def known_count(self) -> int:
        """The number of hits that are known so far."""
        return len(self.ids) if self.count is None else self.count

    def page(self, first: int) -> "array[int] | None":
        """Return the numbers of a page; None if they are not known yet."""
        last = first + PAGE if self.count is None else min(first + PAGE, self.count)
        if last <= len(self.ids):
            return self.ids[first:last]
        if first >= self.end_at and last <= self.end_at + len(self.end):
            return self.end[first - self.end_at : last - self.end_at]
        return None


class _PageRead(Message):
    """A page of rows has been read."""

    def __init__(self, search: _Search, first: int, rows: list[Row]) -> None:
        super().__init__()
        self.search, self.first, self.rows = search, first, rows


class _HitsFound(Message):
    """Hits have been found; the first ones come with the page to show and the row of the cursor."""

    def __init__(self, search: _Search, hits: "list[Hits]", page: _PageRead | None = None, row: int = 0) -> None:
        super().__init__()
        self.search, self.hits, self.page, self.row = search, hits, page, row


class HitsTable(RowTable):
    """The hits of the last search. The first page is shown at once, while the search continues."""

    class Found(Message):
        """Hits are shown.

        Attributes:
            question: what was searched for.
            count: the number of hits, or of those that are known so far.
            counted: whether the number is final.
            first: whether these are the first hits of the search.
            done: whether all hits are known.
            order: the name of their order, if it is not the requested one; empty otherwise.
        """

        def __init__(self, table: "HitsTable", search: _Search, *, first: bool, order: str) -> None:
            super().__init__()
            self.table, self.question = table, search.question
            self.count, self.counted = search.known_count, search.count is not None
            self.first, self.done, self.order = first, search.count == len(search.ids), order

        @property
        def control(self) -> "HitsTable":
            """The table, for `on` with a selector."""
            return self.table

    class Failed(Message):
        """A search, or reading its rows, has failed; the previous rows are still shown."""

        def __init__(self, table: "HitsTable", question: object, sentence: str) -> None:
            super().__init__()
            self.table, self.question, self.sentence = table, question, sentence

        @property
        def control(self) -> "HitsTable":
            """The table, for `on` with a selector."""
            return self.table

    def __init__(self, columns: Sequence[Column], *, id: str, database: Path) -> None:
        super().__init__(columns, id=id)
        self._database = database
        self._requested: _Search | None = None
        self._shown: _Search | None = None
        self._missing: set[int] = set()
        self._is_to_read = False
        self._is_answered = asyncio.Event()
        self._is_answered.set()

    async def answered(self, patience: float) -> bool:
        """Wait until the last search shows its first hits or fails.

        Args:
            patience: seconds to wait at most.

        Returns:
            Whether a search was running.
        """
        if self._is_answered.is_set():
            return False
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_answered.wait(), patience)
        return True

    def search(self, question: object, find: Find, read: Read, *, row: int = 0, after: float = 0.0) -> None:
        """Start a search; the hits of the last one stay until the first new ones are found.

        Args:
            question: what to search for; the messages return it.
            row: the row of the cursor.
            after: seconds to wait first, in case a later search follows.
        """
        self._requested = _Search(question, find, read)
        self._is_answered.clear()
        self.run_worker(
            partial(self._find, self._requested, row, after), thread=True, exclusive=True, group="hits", name="hits"
        )

    @property
    def ids(self) -> "array[int]":
        """The numbers of the known hits, in order; read-only."""
        return self._shown.ids if self._shown is not None else array("q")

    @property
    def is_whole(self) -> bool:
        """Whether all hits are known, and no other search is running."""
        search = self._shown
        return search is not None and search is self._requested and search.count == len(search.ids)

    def find_all(self) -> None:
        """Find the remaining hits, if the search has left them for later."""
        search = self._shown
        if search is not None and search is self._requested and search.waits:
            search.waits = False
            self.run_worker(
                partial(self._try, search, partial(self._post_rest, search, len(search.ids))),
                thread=True,
                exclusive=True,
                group="hits",
                name="hits",
            )

    # In threads

    def _find(self, search: _Search, row: int, after: float) -> None:
        worker = get_current_worker()
        if after:
            sleep(after)
        if not worker.is_cancelled:
            self._try(search, partial(self._post_parts, search, row))

    def _post_parts(self, search: _Search, row: int, db: "Database") -> None:
        worker = get_current_worker()
        partial_search = _Search(search.question, search.find, search.read)
        waiting: list[Hits] = []
        is_shown = False
        for hits in search.find(db):
            if worker.is_cancelled:
                return
            if is_shown:
                self.post_message(_HitsFound(search, [hits]))
            else:
                partial_search.add(hits)
                waiting.append(hits)
                if partial_search.count is not None:
                    row = max(0, min(row, partial_search.count - 1))
                first = row // PAGE * PAGE
                ids = partial_search.page(first)
                if ids is not None:
                    page = _PageRead(search, first, search.read(db, ids) if ids else [])
                    self.post_message(_HitsFound(search, waiting, page, row))
                    is_shown = True
                    if partial_search.count != len(partial_search.ids):
                        # Without a pause, the search would delay the painting of its first hits.
                        sleep(_PAINTING)
            if is_shown and hits.can_wait:
                return

    def _post_rest(self, search: _Search, first_unknown: int, db: "Database") -> None:
        worker = get_current_worker()
        for hits in search.find(db):
            if worker.is_cancelled:
                return
            ids = hits.ids[max(0, first_unknown - hits.first) :]
            if not hits.can_wait and (ids or hits.count is not None):
                self.post_message(_HitsFound(search, [replace(hits, first=max(hits.first, first_unknown), ids=ids)]))

    def _read(self, search: _Search, pages: "list[tuple[int, array[int]]]", db: "Database") -> None:
        worker = get_current_worker()
        for first, ids in pages:
            if worker.is_cancelled:
                return
            self.post_message(_PageRead(search, first, search.read(db, ids)))

    def _try(self, search: _Search, question: "Callable[[Database], None]") -> None:
        worker = get_current_worker()
        try:
            ask_store(self._database, question)
        except Exception as error:
            if worker.is_cancelled:
                return
            sentence = user_sentence(error)
            if sentence is None:
                raise
            self.post_message(self.Failed(self, search.question, sentence))

    # Their messages

    def on__hits_found(self, message: _HitsFound) -> None:
        """Show the first hits of a search, or add more."""
        search = message.search
        if search is not self._requested:
            return
        for hits in message.hits:
            search.add(hits)
        if message.page is not None:
            self._shown = search
            self._missing.clear()
            self.show_count(search.known_count, row=message.row)
            self.put_rows(message.page.first, message.page.rows)
            self._is_answered.set()
        else:
            self.grow(search.known_count)
            self._read_soon()
        self.post_message(self.Found(self, search, first=message.page is not None, order=message.hits[-1].order))

    def on_hits_table_failed(self, message: Failed) -> None:
        """Stop waiting for the search."""
        if self._requested is not None and message.question is self._requested.question:
            self._is_answered.set()

    def on__page_read(self, message: _PageRead) -> None:
        """Show the rows."""
        if message.search is self._shown:
            self._missing.discard(message.first)
            self.put_rows(message.first, message.rows)

    def on_row_table_rows_wanted(self, message: RowTable.RowsWanted) -> None:
        """Read the rows that come into sight."""
        message.stop()
        if self.row_at(message.first) is None:
            self._missing.add(message.first)
            self._read_soon()

    def _read_soon(self) -> None:
        """Read the missing rows, after all requests of this moment are collected."""
        if self._missing and not self._is_to_read:
            self._is_to_read = True
            self.call_later(self._read_missing)

    def _read_missing(self) -> None:
        self._is_to_read = False
        search = self._shown
        if search is None:
            return
        # Rows in sight come first. Rows with unknown numbers are read when these are known.
        middle = self.scroll_y + self.size.height / 2
        nearest = sorted(self._missing, key=lambda first: abs(first + PAGE / 2 - middle))
        pages = [(first, ids) for first in nearest if (ids := search.page(first)) is not None]
        if len(pages) < len(nearest):
            self.find_all()
        if pages:
            self.run_worker(
                partial(self._try, search, partial(self._read, search, pages)),
                thread=True,
                exclusive=True,
                group="rows",
                name="rows",
            )
