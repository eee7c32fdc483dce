"""Columns and rows of a table, how a cell fits its column, and the rows that are kept in memory."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from kdtui.text import one_line

PAGE = 100
"""Rows that are requested at once."""

_MOST_PAGES = 80
"""Pages that are kept; those that were in sight longest ago go first."""

_LONGEST = 400
"""Characters of a cell that are kept; no terminal shows more in a line."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        width: the minimum width in cells of the terminal.
        share: the share of the remaining room.
        right: whether its cells are aligned right.
        sort: what a click on its title sorts by; empty for nothing.
        wide: whether it is shown only where there is much room.
        middle: whether a long text is shortened in its middle and not at its end, for texts that begin alike.
    """

    label: str
    width: int
    share: int = 0
    right: bool = False
    sort: str = ""
    wide: bool = False
    middle: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row: a unique key, and a cell for each column."""

    key: str
    cells: tuple[str | Text, ...]


class RowCache:
    """The rows of a table that are in memory, in pages.

    Attributes:
        count: the number of rows of the table.
    """

    def __init__(self) -> None:
        self.count = 0
        self._pages: dict[int, list[Row]] = {}
        self._requested: set[int] = set()

    def fill(self, rows: list[Row]) -> None:
        """Hold all rows."""
        self.count = len(rows)
        self._pages = {first // PAGE: rows[first : first + PAGE] for first in range(0, len(rows), PAGE)}
        self._requested.clear()

    def empty(self, count: int) -> None:
        """Expect this number of rows, and hold none."""
        self.count = count
        self._pages = {}
        self._requested.clear()

    def drop(self) -> None:
        """Drop the rows; the table still has them."""
        self._pages = {}

    def resize(self, count: int) -> None:
        """Change the number of rows; the rows in memory stay valid."""
        # The page at an end that moves is no longer complete.
        for page in {min(self.count, count) // PAGE, max(self.count, count) // PAGE}:
            self._pages.pop(page, None)
        self.count = count
        self._requested.clear()

    def put_page(self, first: int, rows: Iterable[Row]) -> None:
        """Hold a page that was requested."""
        page = first // PAGE
        self._requested.discard(page)
        self._pages.pop(page, None)
        self._pages[page] = list(rows)
        while len(self._pages) > _MOST_PAGES:
            del self._pages[next(iter(self._pages))]

    def put(self, number: int, row: Row) -> bool:
        """Replace a row; return whether it was in memory."""
        page = self._pages.get(number // PAGE)
        if page is None or number % PAGE >= len(page):
            return False
        page[number % PAGE] = row
        return True

    def row_at(self, number: int) -> Row | None:
        """Return a row; None if it is not in memory."""
        page = self._pages.get(number // PAGE)
        return page[number % PAGE] if page is not None and number % PAGE < len(page) else None

    def request(self, numbers: Iterable[int]) -> list[int]:
        """Return the first rows of the pages to request, so that these rows come into memory."""
        firsts = []
        for number in numbers:
            page = min(max(number, 0), self.count - 1) // PAGE
            if page in self._pages:
                # The page that was in sight last is dropped last.
                self._pages[page] = self._pages.pop(page)
            elif page not in self._requested:
                self._requested.add(page)
                firsts.append(page * PAGE)
        return firsts


def fit_cell(cell: str | Text, width: int, column: Column) -> Text:
    """Return a cell in exactly this width."""
    if isinstance(cell, str):
        return Text(fit_text(cell, width, column), no_wrap=True, end="")
    cell = cell.copy()
    cell.no_wrap = True
    cell.end = ""
    cell.truncate(width, overflow="ellipsis")
    missing = width - cell.cell_len
    if missing > 0:
        if column.right:
            cell.pad_left(missing)
        else:
            cell.pad_right(missing)
    return cell


def fit_text(cell: str, width: int, column: Column) -> str:
    """Return a plain cell in exactly this width."""
    text = one_line(cell, _LONGEST)
    missing = width - cell_len(text)
    if missing < 0:
        # The end of a text that long is not kept.
        return _shorten(text, width, end=(width - 1) // 2 if column.middle and len(text) < _LONGEST else 0)
    return " " * missing + text if column.right else text + " " * missing


def _shorten(text: str, width: int, *, end: int) -> str:
    """Return a long text without its middle; `end` is the width that is left of its end."""
    if not width:
        return ""
    kept = text[len(text) - max(0, end) :]
    while cell_len(kept) > end:
        kept = kept[1:]
    return f"{set_cell_size(text, width - 1 - cell_len(kept))}…{kept}"
