"""The list of all calls to teachers, with its search."""

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Label, Static

from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.core.screen import TYPING
from kdtui.tui.places.distill.call_rows import COLUMNS, read_call_rows

if TYPE_CHECKING:
    from store.hits import Hits
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class CallQuery:
    """A search for calls."""

    text: str
    failed: bool


class CallLedger(Vertical):
    """The calls, newest first, and a line to search them. The messages of its table bubble up to the screen.

    Args:
        database: the store.
        memory: the remembered search; the user may have edited it.
    """

    def __init__(self, database: Path, memory: MutableMapping[str, Any], *, id: str) -> None:
        super().__init__(id=id)
        self._database, self._memory = database, memory
        self._query: CallQuery | None = None

    def compose(self) -> ComposeResult:
        with Horizontal(id="ledger-find"):
            yield Label("Calls")
            text = self._memory.get("search")
            yield Input(
                text if isinstance(text, str) else "",
                placeholder="words that were asked or answered",
                id="search",
                compact=True,
                select_on_focus=False,
            )
            yield Static(id="found", markup=False)
        yield HitsTable(COLUMNS, id="calls", database=self._database)
        yield Static(id="notice", markup=False)

    @property
    def table(self) -> HitsTable:
        return self.query_one("#calls", HitsTable)

    @property
    def call_query(self) -> CallQuery | None:
        """The current search; None before the first one."""
        return self._query

    @on(Input.Changed, "#search")
    def search_while_typing(self) -> None:
        """Search when the user stops typing."""
        self.find(after=TYPING)

    def toggle_failed(self) -> None:
        """List only failed calls, or all."""
        self._memory["failed"] = self._memory.get("failed") is not True
        self.find()

    def find(self, *, row: int = 0, after: float = 0.0) -> None:
        """Search for calls.

        Args:
            row: the row that the cursor goes to.
            after: seconds to wait first, in case a later search replaces this one.
        """
        query = CallQuery(self.query_one("#search", Input).value, self._memory.get("failed") is True)
        self._memory["search"] = query.text
        self._query = query

        def find(db: "Database") -> "Iterator[Hits]":
            from store.calls import call_hits

            return call_hits(db, query.text, failed=query.failed)

        self._show_count("searching…")
        self.table.search(query, find, read_call_rows, row=row, after=after)

    def find_newer(self) -> None:
        """Add calls that are newer than the list, if the newest are visible; otherwise rows would move."""
        table = self.table
        at_top = not table.cursor_row and not table.scroll_y
        if self._query != CallQuery("", failed=False) or not at_top or (table.ids and not table.is_whole):
            return
        ids = table.ids

        def find(db: "Database") -> "Iterator[Hits]":
            from store.calls import calls_after
            from store.hits import Hits

            newer = calls_after(db, ids[0] if ids else 0) + ids
            yield Hits(0, newer, len(newer))

        table.search(self._query, find, read_call_rows)

    @on(HitsTable.Found)
    def show_found_count(self, message: HitsTable.Found) -> None:
        """Show the number of calls."""
        if self._query is None or message.question != self._query:
            message.stop()
            return
        count = f"{message.count:,} {'failed' if self._query.failed else 'in all'}"
        self._show_count(count if message.done else f"{message.count:,}, searching…")

    @on(HitsTable.Failed)
    def clear_count(self) -> None:
        """Clear the number after a failed search; the screen says why it failed."""
        self._show_count("")

    def _show_count(self, text: str) -> None:
        self.query_one("#found", Static).update(text)
