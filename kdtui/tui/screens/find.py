"""Finding a row of a list that is short enough to be in memory whole: a line at the bottom of the screen."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from kdtui.tui.actions import bindings
from kdtui.tui.screens.base import OwnScreen
from kdtui.tui.widgets.row_table import RowTable


class FindScreen(ModalScreen[None], OwnScreen[None]):
    """Words to find a row by; the cursor of the table goes along while they are typed.

    Args:
        table: has all of its rows in memory.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("find")

    def __init__(self, table: RowTable) -> None:
        super().__init__()
        self._table, self._before = table, table.cursor_row

    def compose(self) -> ComposeResult:
        """The line."""
        with Horizontal(id="find"):
            yield Label("Find")
            yield Input(id="words", compact=True)
            yield Static(id="found", markup=False)

    @on(Input.Changed, "#words")
    def _find(self) -> None:
        """Go to the first row from where one was that has the words."""
        self._go(self._before, 1)

    def _go(self, first: int, way: int) -> None:
        words = self.query_one("#words", Input).value.casefold().split()
        count = self._table.row_count
        rows = [(first + way * step) % count for step in range(count)]
        found = next((row for row in rows if self._has(row, words)), None) if words else self._before
        if found is not None:
            self._table.move_to(found)
        self.query_one("#found", Static).update("" if found is not None else "no row has that")

    def _has(self, number: int, words: list[str]) -> bool:
        row = self._table.row_at(number)
        text = "" if row is None else " ".join(map(str, row.cells)).casefold()
        return all(word in text for word in words)

    def action_next(self) -> None:
        """Go to the next row that has the words."""
        self._go(self._table.cursor_row + 1, 1)

    def action_previous(self) -> None:
        """Go to the previous row that has the words."""
        self._go(self._table.cursor_row - 1, -1)

    @on(Input.Submitted, "#words")
    def _stay(self) -> None:
        """Leave the line; the cursor stays where it is."""
        self.dismiss(None)

    def action_close(self) -> None:
        """Leave the line, and go back to where one was."""
        self._table.move_to(self._before)
        self.dismiss(None)
