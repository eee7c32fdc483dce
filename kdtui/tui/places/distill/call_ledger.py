"""The ledger of all calls to teachers, to search through."""

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
from kdtui.tui.places.distill.call_rows import COLUMNS, read_rows

if TYPE_CHECKING:
    from store.hits import Hits
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Query:
    """Which calls are looked for."""

    text: str
    failed: bool


class CallLedger(Vertical):
    """The calls, the newest first, and a line to search them. What its table tells goes on to the screen.

    Args:
        database: the store.
        memory: what is remembered of the search; it may have been edited by anyone.
    """

    def __init__(self, database: Path, memory: MutableMapping[str, Any], *, id: str) -> None:
        super().__init__(id=id)
        self._database, self._memory = database, memory
        self._query: Query | None = None

    def compose(self) -> ComposeResult:
        """The search, the calls, and what to say where there are none."""
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
        """The calls that were found."""
        return self.query_one("#calls", HitsTable)

    @property
    def query_now(self) -> Query | None:
        """What is looked for; None before anything is."""
        return self._query

    @on(Input.Changed, "#search")
    def search_while_typing(self) -> None:
        """Search when the typing pauses."""
        self.find(after=TYPING)

    def toggle_failed(self) -> None:
        """List the calls that failed, or all."""
        self._memory["failed"] = self._memory.get("failed") is not True
        self.find()

    def find(self, *, row: int = 0, after: float = 0.0) -> None:
        """Look for calls.

        Args:
            row: where the cursor is to be.
            after: seconds to wait first, for a later search that makes this one needless.
        """
        query = Query(self.query_one("#search", Input).value, self._memory.get("failed") is True)
        self._memory["search"] = query.text
        self._query = query

        def find(db: "Database") -> "Iterator[Hits]":
            from store.calls import call_hits

            return call_hits(db, query.text, failed=query.failed)

        self._say("looking…")
        self.table.search(query, find, read_rows, row=row, after=after)

    def find_newer(self) -> None:
        """Look for calls that have come since, where the newest are in sight: others would move under the eyes."""
        table = self.table
        at_top = not table.cursor_row and not table.scroll_y
        if self._query != Query("", failed=False) or not at_top or (table.ids and not table.is_whole):
            return
        known = table.ids

        def find(db: "Database") -> "Iterator[Hits]":
            from store.calls import calls_after
            from store.hits import Hits

            ids = calls_after(db, known[0] if known else 0) + known
            yield Hits(0, ids, len(ids))

        table.search(self._query, find, read_rows)

    @on(HitsTable.Found)
    def count_found(self, message: HitsTable.Found) -> None:
        """Say how many there are."""
        if self._query is None or message.question != self._query:
            message.stop()
            return
        counted = f"{message.count:,} {'failed' if self._query.failed else 'in all'}"
        self._say(counted if message.done else f"{message.count:,}, looking…")

    @on(HitsTable.Failed)
    def count_nothing(self) -> None:
        """The search has come to nothing; the screen says why."""
        self._say("")

    def _say(self, text: str) -> None:
        self.query_one("#found", Static).update(text)
