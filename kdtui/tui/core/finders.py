"""Finders of words in lists and texts."""

from collections.abc import Callable
from typing import Literal, Protocol

from kdtui.tui.widgets.readable import Readable
from kdtui.tui.widgets.row_table import RowTable

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
