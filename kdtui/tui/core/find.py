"""Finding words: a line at the bottom of the screen, beside the list, the text or the log that they are in."""

from collections.abc import Callable
from typing import ClassVar, Literal, Protocol

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from kdtui.tui.actions import bindings
from kdtui.tui.core.screen import OwnScreen
from kdtui.tui.widgets.log_view import LogView
from kdtui.tui.widgets.readable import Readable
from kdtui.tui.widgets.row_table import RowTable
from models.sft.log_search import Search

Way = Literal[-1, 0, 1]
"""To the previous place, to the first from where one was, or to the next."""


class Finder(Protocol):
    """What words are looked for in."""

    nowhere: str
    """What to say where they are not."""

    def find(self, words: str, way: Way, told: Callable[[bool], None]) -> None:
        """Go to a place that has the words, and tell whether there is one."""

    def go_back(self) -> None:
        """Go back to where one was."""


class RowFinder:
    """Finds the row of a list, or of a text, that has all words in whatever order."""

    def __init__(self, rows: RowTable | Readable) -> None:
        self._rows, self._before = rows, rows.cursor_row
        self._scrolled = rows.parent.scroll_y if isinstance(rows, Readable) else 0.0  # type: ignore[union-attr]
        self.nowhere = "no row has that" if isinstance(rows, RowTable) else "no line has that"

    def find(self, words: str, way: Way, told: Callable[[bool], None]) -> None:
        """Go to a row; behind the last comes the first."""
        sought = words.casefold().split()
        if not sought:
            self.go_back()
            told(True)
            return
        first, step = (self._before, 1) if way == 0 else (self._rows.cursor_row + way, way)
        count = self._rows.row_count
        rows = ((first + step * number) % count for number in range(count))
        found = next((row for row in rows if self._has(row, sought)), None)
        if found is not None and isinstance(self._rows, RowTable):
            self._rows.point_at(found)
        elif found is not None:
            self._rows.move_to(found)
        told(found is not None)

    def go_back(self) -> None:
        """Go back to the row where one was."""
        if isinstance(self._rows, Readable):
            self._rows.leave(self._scrolled)
        else:
            self._rows.move_to(self._before)

    def _has(self, number: int, words: list[str]) -> bool:
        text = self._rows.text_at(number).casefold()
        return all(word in text for word in words)


class LogFinder:
    """Finds a text in a log, as it stands there; it may take a while."""

    nowhere = "the log has that nowhere"

    def __init__(self, log: LogView) -> None:
        self._log, self._before, self._first = log, log.place, log.here

    def find(self, words: str, way: Way, told: Callable[[bool], None]) -> None:
        """Go to a line; behind the last comes the first."""
        if not words:
            self.go_back()
            told(True)
            return
        start = {0: self._first, 1: self._log.here + 1, -1: self._log.here}[way]
        self._log.find(Search(words, start, backwards=way < 0), told)

    def go_back(self) -> None:
        """Go back to the line where one was, or to the end that was followed."""
        self._log.leave_found(self._before)


class FindScreen(ModalScreen[None], OwnScreen[None]):
    """Words to find a place by; one goes there while they are typed.

    Args:
        note: is told what was looked for when the line is left.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("find")

    def __init__(self, finder: Finder, note: Callable[[str], None] = lambda words: None) -> None:  # noqa: ARG005
        super().__init__()
        self._finder, self._note = finder, note

    def compose(self) -> ComposeResult:
        """The line."""
        with Horizontal(id="find"):
            yield Label("Find")
            yield Input(id="words", compact=True)
            yield Static(self._keys, id="found", markup=False)

    @property
    def _keys(self) -> str:
        """What can be done here."""
        actions = (("next", "next"), ("previous", "previous"), ("close", "back"))
        keys = [f"{self.kdtui.key_of(f'find.{action}')} {label}" for action, label in actions]
        return "  ".join([*keys[:2], "enter stay", *keys[2:]])

    @property
    def _words(self) -> str:
        return self.query_one("#words", Input).value

    @on(Input.Changed, "#words")
    def _find(self) -> None:
        """Go to the first place from where one was that has the words."""
        self._go(0)

    def _go(self, way: Way) -> None:
        self._finder.find(self._words, way, self._tell)

    def _tell(self, is_found: bool) -> None:
        if self.is_mounted:
            self.query_one("#found", Static).update(self._keys if is_found else self._finder.nowhere)

    def action_next(self) -> None:
        """Go to the next place that has the words."""
        self._go(1)

    def action_previous(self) -> None:
        """Go to the previous place that has the words."""
        self._go(-1)

    @on(Input.Submitted, "#words")
    def _stay(self) -> None:
        """Leave the line, and stay where it led."""
        self._note(self._words)
        self.dismiss(None)

    def action_close(self) -> None:
        """Leave the line, and go back to where one was."""
        self._note(self._words)
        self._finder.go_back()
        self.dismiss(None)
