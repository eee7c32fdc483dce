"""What the find line searches: lists and texts."""

from collections.abc import Callable
from typing import Literal, Protocol

from kdtui.tui.widgets.readable import Readable
from kdtui.tui.widgets.row_table import RowTable

Direction = Literal[-1, 0, 1]
"""To the previous match, to the first one from the starting point on, or to the next."""


class Finder(Protocol):
    """Finds words in something on the screen."""

    nowhere: str
    """The message where nothing matches."""

    def find(self, words: str, direction: Direction, report: Callable[[bool], None]) -> None:
        """Go to a match, and report whether there is one."""

    def go_back(self) -> None:
        """Go back to the starting point."""


class RowFinder:
    """Finds a row of a list, or a line of a text, that has all words in any order."""

    def __init__(self, rows: RowTable | Readable) -> None:
        self._rows, self._start = rows, rows.cursor_row
        self._scrolled = rows.parent.scroll_y if isinstance(rows, Readable) else 0.0  # type: ignore[union-attr]
        self.nowhere = "no row matches" if isinstance(rows, RowTable) else "no line matches"

    def find(self, words: str, direction: Direction, report: Callable[[bool], None]) -> None:
        """Go to a matching row; after the last row the search starts over."""
        terms = words.casefold().split()
        if not terms:
            self.go_back()
            report(True)
            return
        first, step = (self._start, 1) if direction == 0 else (self._rows.cursor_row + direction, direction)
        count = self._rows.row_count
        rows = ((first + step * number) % count for number in range(count))
        match = next((row for row in rows if self._has(row, terms)), None)
        if match is not None and isinstance(self._rows, RowTable):
            self._rows.point_at(match)
        elif match is not None:
            self._rows.move_to(match)
        report(match is not None)

    def go_back(self) -> None:
        """Go back to the starting row."""
        if isinstance(self._rows, Readable):
            self._rows.leave(self._scrolled)
        else:
            self._rows.move_to(self._start)

    def _has(self, number: int, words: list[str]) -> bool:
        text = self._rows.text_at(number).casefold()
        return all(word in text for word in words)
