"""A table of any number of rows, of which only those in sight, and some around them, are in memory."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.widgets.steady import Steady

PAGE = 100
"""Rows that are asked for at once."""

_PAGES = 80
"""Pages that are kept; those that were seen longest ago go first."""

_LONGEST = 400
"""Characters of a cell that are kept; no terminal shows more in a line."""

_HEADER = 1


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        width: its least width in cells.
        share: of the room that is left over.
        right: whether its cells stand at the right.
        sort: what the rows are sorted by when its title is clicked; empty where they cannot be.
        wide: whether it is shown where there is much room only.
        middle: whether a text that is too long loses its middle and not its end, where many begin alike.
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
    """A row: a key that tells it from others, and a cell for each column."""

    key: str
    cells: tuple[str | Text, ...]


class RowTable(Steady, ScrollView, can_focus=True):
    """Rows of one line each, with a cursor. Cells are plain text, never markup.

    It is told how many rows there are, and asks with `RowsWanted` for those that it is about to show; `put_rows`
    answers. Small tables are given all at once, with `show_rows`.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("table")

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "row-table--header",
        "row-table--cursor",
        "row-table--mark",
        "row-table--waiting",
    }

    DEFAULT_CSS = """
    RowTable {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        background: $background;
        color: $foreground;

        .row-table--header { text-style: bold; background: $panel; color: $foreground; }
        .row-table--cursor { background: $primary-muted; color: $foreground; text-style: bold; }
        .row-table--mark { color: $text-warning; text-style: bold; }
        .row-table--waiting { color: $text-muted; }
        &:focus .row-table--cursor { background: $primary; color: $text; text-style: bold; }
        &:ansi:focus .row-table--cursor { color: ansi_bright_white; }
        &:nocolor:ansi .row-table--cursor { text-style: bold reverse; }
    }
    """

    WIDE: ClassVar[int] = 120
    """Cells from which on there is much room, with the scrollbar: three fifths of a terminal of 200."""

    cursor_row: reactive[int] = reactive(0, always_update=False)

    class RowsWanted(Message):
        """Rows come into sight that are not there: those of one page, from `first` on."""

        def __init__(self, table: "RowTable", first: int, limit: int) -> None:
            super().__init__()
            self.table, self.first, self.limit = table, first, limit

        @property
        def control(self) -> "RowTable":
            """The table."""
            return self.table

    class RowHighlighted(Message):
        """The cursor is on a row, and its cells are there."""

        def __init__(self, table: "RowTable", row: int, key: str) -> None:
            super().__init__()
            self.table, self.row, self.key = table, row, key

        @property
        def control(self) -> "RowTable":
            """The table."""
            return self.table

    class RowPointed(RowHighlighted):
        """The user has put the cursor on a row, or left it there by a key that moves it."""

    class RowSelected(RowHighlighted):
        """The row under the cursor is to be opened."""

    class ColumnsShown(Message):
        """There is room for other columns than before."""

        def __init__(self, table: "RowTable") -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> "RowTable":
            """The table."""
            return self.table

    class SortWanted(Message):
        """The title of a column was clicked."""

        def __init__(self, table: "RowTable", sort: str) -> None:
            super().__init__()
            self.table, self.sort = table, sort

        @property
        def control(self) -> "RowTable":
            """The table."""
            return self.table

    def __init__(self, columns: Sequence[Column], *, id: str) -> None:
        super().__init__(id=id)
        self._columns = columns
        self._columns_shown: list[Column] = []
        self._count = 0
        self._pages: dict[int, list[Row]] = {}
        self._asked: set[int] = set()
        self._marks: Container[str] = frozenset()
        self._sorted: tuple[str, bool] = ("", False)
        self._told: tuple[int, str] | None = None
        # Whether the user has moved the cursor, and nobody has been told of it yet.
        self._is_pointed = False
        self._strips: dict[tuple[int, bool], Strip] = {}
        self._row_styles: dict[tuple[bool, bool], Style] = {}

    def allow_focus(self) -> bool:
        """It takes keys only where it is shown: Textual would give them to a table that is hidden, and take them away
        from it later, to the next part of the screen, when it may be shown again.
        """
        return super().allow_focus() and all(
            node.display for node in self.ancestors_with_self if isinstance(node, Widget)
        )

    # What it is given

    def show_rows(self, rows: Iterable[Row], *, keep: bool = False) -> None:
        """Show these rows and no others.

        Args:
            keep: the cursor stays on the row of the same key, if it is still there.
        """
        rows = list(rows)
        before, key = self.cursor_row, self.cursor_key
        self._count = len(rows)
        self._pages = {number // PAGE: rows[number : number + PAGE] for number in range(0, len(rows), PAGE)}
        at = next((number for number, row in enumerate(rows) if row.key == key), before) if keep else 0
        self._begin(at)

    def show_columns(self, columns: Sequence[Column]) -> None:
        """Have other columns; rows for them are to follow."""
        self._columns = columns
        self._pages = {}
        self._strips.clear()
        self.refresh()

    def show_count(self, count: int, *, row: int = 0) -> None:
        """Show so many rows, none of which is there yet, with the cursor on one of them."""
        self._count = count
        self._pages = {}
        self._begin(row)

    def grow(self, count: int) -> None:
        """There are more, or fewer, rows than was said; those that are there are still true."""
        if count != self._count:
            # A page at an end that has moved is not whole any more.
            for page in {min(self._count, count) // PAGE, max(self._count, count) // PAGE}:
                self._pages.pop(page, None)
            self._count = count
            self._asked.clear()
            self._strips.clear()
            self._measure()
            self.cursor_row = self.validate_cursor_row(self.cursor_row)
            self.refresh()
            self._look()

    def put_rows(self, first: int, rows: Iterable[Row]) -> None:
        """The rows that were asked for, from the first of a page on."""
        page = first // PAGE
        self._asked.discard(page)
        self._pages.pop(page, None)
        self._pages[page] = list(rows)
        while len(self._pages) > _PAGES:
            del self._pages[next(iter(self._pages))]
        self._strips.clear()
        self.refresh()
        self._look()

    def put_row(self, number: int, row: Row) -> None:
        """A row has changed."""
        page = self._pages.get(number // PAGE)
        if page is not None and number % PAGE < len(page):
            page[number % PAGE] = row
            self._forget_line(number)

    def show_marks(self, keys: Container[str]) -> None:
        """Rows of these keys are marked. They are looked at whenever a row is drawn: say it again when they change."""
        self._marks = keys
        self._strips.clear()
        self.refresh()

    def show_sorted(self, sort: str, *, descending: bool) -> None:
        """Say in the titles by what the rows are sorted."""
        self._sorted = (sort, descending)
        self.refresh()

    # What it tells

    @property
    def sorts(self) -> list[str]:
        """What the columns that are shown can be sorted by, from left to right."""
        return [column.sort for column, _ in self._layout() if column.sort]

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return self._count

    @property
    def cursor_key(self) -> str | None:
        """The key of the row under the cursor; None where it is not there (yet)."""
        row = self.row_at(self.cursor_row)
        return None if row is None else row.key

    def row_at(self, number: int) -> Row | None:
        """A row; None where it is not there (yet)."""
        page = self._pages.get(number // PAGE)
        return page[number % PAGE] if page is not None and number % PAGE < len(page) else None

    def text_at(self, number: int) -> str:
        """What a row says; nothing where it is not there (yet)."""
        row = self.row_at(number)
        return "" if row is None else " ".join(map(str, row.cells))

    # How it moves

    def action_down(self) -> None:
        """Go down a row."""
        self.point_at(self.cursor_row + 1)

    def action_up(self) -> None:
        """Go up a row."""
        self.point_at(self.cursor_row - 1)

    def action_page_down(self) -> None:
        """Go down a page."""
        self.point_at(self.cursor_row + max(1, self._visible - 1))

    def action_page_up(self) -> None:
        """Go up a page."""
        self.point_at(self.cursor_row - max(1, self._visible - 1))

    def action_top(self) -> None:
        """Go to the first row."""
        self.point_at(0)

    def action_bottom(self) -> None:
        """Go to the last row."""
        self.point_at(self._count - 1)

    def action_select(self) -> None:
        """Open the row."""
        if (key := self.cursor_key) is not None:
            self.point_at(self.cursor_row)
            self.post_message(self.RowSelected(self, self.cursor_row, key))

    def point_at(self, row: int) -> None:
        """Put the cursor on a row because the user does."""
        self._is_pointed = True
        self.move_to(row)

    def move_to(self, row: int) -> None:
        """Put the cursor on a row, and have it in sight."""
        self.cursor_row = row
        self._have_in_sight()

    def _have_in_sight(self) -> None:
        top = round(self.scroll_y)
        if self.cursor_row < top:
            self.scroll_to(y=self.cursor_row, animate=False, force=True, immediate=True)
        elif self.cursor_row > top + self._visible - 1:
            self.scroll_to(y=self.cursor_row - self._visible + 1, animate=False, force=True, immediate=True)
        self._look()

    def validate_cursor_row(self, row: int) -> int:
        """Between the first row and the last."""
        return max(0, min(row, self._count - 1))

    def watch_cursor_row(self, before: int, after: int) -> None:
        """Draw both lines anew."""
        self._forget_line(before)
        self._forget_line(after)
        self._tell()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Look whether rows come into sight that are not there."""
        super().watch_scroll_y(old_value, new_value)
        self._look()

    async def on_click(self, event: events.Click) -> None:
        """Put the cursor where the click was; a second one opens the row, one on a title sorts."""
        y = event.get_content_offset(self)
        if y is None:
            return
        if y.y < _HEADER:
            self._sort_by_column_at(y.x)
            return
        row = round(self.scroll_y) + y.y - _HEADER
        if row < self._count:
            again = row == self.cursor_row and event.chain > 1
            self.point_at(row)
            if again:
                self.action_select()

    def _sort_by_column_at(self, x: int) -> None:
        left = 0
        for column, width in self._layout():
            left += width + 1
            if x < left:
                if column.sort:
                    self.post_message(self.SortWanted(self, column.sort))
                return

    # How it is drawn

    def on_resize(self) -> None:
        """Share out the room anew."""
        self._strips.clear()
        shown = [column for column, _ in self._layout()]
        if shown != self._columns_shown:
            self._columns_shown = shown
            self.post_message(self.ColumnsShown(self))
        self._measure()
        self.call_after_refresh(self._have_in_sight)

    def notify_style_update(self) -> None:
        """Forget what was drawn in other colours."""
        self._strips.clear()
        self._row_styles.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """A line: the titles, or a row."""
        if y < _HEADER:
            return self._titles()
        number = round(self.scroll_y) + y - _HEADER
        if number >= self._count:
            return Strip.blank(self._width, self.rich_style)
        is_cursor = number == self.cursor_row
        key = (number, is_cursor)
        if key not in self._strips:
            row = self.row_at(number)
            strip = self._waiting() if row is None else self._draw(row, is_cursor=is_cursor)
            if row is None:
                return strip
            if len(self._strips) > 1000:
                self._strips.clear()
            self._strips[key] = strip
        return self._strips[key]

    def _titles(self) -> Strip:
        style = self.get_component_rich_style("row-table--header")
        sort, descending = self._sorted
        cells = []
        for column, width in self._layout():
            mark = ("▾" if descending else "▴") if column.sort and column.sort == sort else ""
            cells.append(_fit(Text(f"{column.label}{mark}"), width, column))
        return self._join(cells, style)

    def _waiting(self) -> Strip:
        return Strip(
            [Segment("…", self.rich_style + self.get_component_rich_style("row-table--waiting", partial=True))]
        ).adjust_cell_length(self._width, self.rich_style)

    def _draw(self, row: Row, *, is_cursor: bool) -> Strip:
        is_marked = row.key in self._marks
        style = self._style(is_marked=is_marked, is_cursor=is_cursor)
        cells = [(row.cells[self._columns.index(column)], width, column) for column, width in self._layout()]
        if not is_marked and all(isinstance(cell, str) for cell, _, _ in cells):
            # As one piece of text, a line is drawn many times faster.
            line = " ".join(_fit_plain(str(cell), width, column) for cell, width, column in cells)
            return Strip([Segment(f"{line} ", style)]).adjust_cell_length(self._width, style)
        fitted = [_fit(*each) for each in cells]
        if is_marked and fitted:
            # Colour is never the only sign.
            first, width, column = cells[0]
            fitted[0] = Text.assemble("✓", _fit(first, width - 1, column))
        return self._join(fitted, style)

    def _style(self, *, is_marked: bool, is_cursor: bool) -> Style:
        """The style of a row; looked up once, until any style changes."""
        key = (is_marked, is_cursor)
        if key not in self._row_styles:
            style = self.rich_style
            if is_marked:
                style += self.get_component_rich_style("row-table--mark", partial=True)
            if is_cursor:
                # Whole, so that the colour of its text is known to be on that background.
                style += self.get_visual_style("row-table--cursor").rich_style
                # It leaves out whether colours are reversed.
                style += self.get_component_styles("row-table--cursor").text_style
            self._row_styles[key] = style
        return self._row_styles[key]

    def _join(self, cells: Sequence[Text], style: Style) -> Strip:
        segments: list[Segment] = []
        for cell in cells:
            segments += [
                Segment(segment.text, style + segment.style if segment.style else style)
                for segment in cell.render(self.app.console)
            ]
            segments.append(Segment(" ", style))
        return Strip(segments).adjust_cell_length(self._width, style)

    def _layout(self) -> list[tuple[Column, int]]:
        """The columns that are shown, each with its width."""
        width = self._width
        columns = [column for column in self._columns if not column.wide or self.outer_size.width >= self.WIDE]
        room = max(0, width - sum(column.width + 1 for column in columns))
        shares = sum(column.share for column in columns) or 1
        return [(column, column.width + room * column.share // shares) for column in columns]

    def _forget_line(self, number: int) -> None:
        self._strips.pop((number, True), None)
        self._strips.pop((number, False), None)
        y = number - round(self.scroll_y) + _HEADER
        if y >= _HEADER:
            self.refresh(Region(0, y, self._width, 1))

    @property
    def _width(self) -> int:
        """Cells beside the scrollbar."""
        return self.scrollable_content_region.width

    @property
    def _visible(self) -> int:
        """Rows that are in sight."""
        return max(1, self.size.height - _HEADER)

    def _begin(self, row: int) -> None:
        self._asked.clear()
        self._strips.clear()
        self._told = None
        self._measure()
        self.set_reactive(RowTable.cursor_row, self.validate_cursor_row(row))
        self._have_in_sight()
        self.refresh()
        self._tell()

    def _measure(self) -> None:
        self.virtual_size = Size(self._width, self._count + _HEADER)

    def _tell(self) -> None:
        """Say which row the cursor is on, once it is there."""
        row = self.row_at(self.cursor_row)
        if row is None:
            return
        if self._told != (self.cursor_row, row.key):
            self._told = (self.cursor_row, row.key)
            self.post_message(self.RowHighlighted(self, self.cursor_row, row.key))
        if self._is_pointed:
            self._is_pointed = False
            self.post_message(self.RowPointed(self, self.cursor_row, row.key))

    def _look(self) -> None:
        """Ask for the pages in sight, and for those next to them."""
        self._tell()
        if not self._count:
            return
        first, last = round(self.scroll_y), round(self.scroll_y) + self._visible
        for row in (first, last, last + self._visible, first - self._visible):
            page = min(max(row, 0), self._count - 1) // PAGE
            if page in self._pages:
                # The one that was seen last goes last.
                self._pages[page] = self._pages.pop(page)
            elif page not in self._asked:
                self._asked.add(page)
                self.post_message(self.RowsWanted(self, page * PAGE, PAGE))


def _fit(cell: str | Text, width: int, column: Column) -> Text:
    """A cell in just so many cells of the terminal."""
    if isinstance(cell, str):
        return Text(_fit_plain(cell, width, column), no_wrap=True, end="")
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


def _fit_plain(cell: str, width: int, column: Column) -> str:
    """The same for plain text."""
    text = one_line(cell, _LONGEST)
    missing = width - cell_len(text)
    if missing < 0:
        # Of a text that long, the end is not there.
        return _cut(text, width, end=(width - 1) // 2 if column.middle and len(text) < _LONGEST else 0)
    return " " * missing + text if column.right else text + " " * missing


def _cut(text: str, width: int, *, end: int) -> str:
    """A text that is too long, without its middle; `end` is how many cells are left of its end."""
    if not width:
        return ""
    kept = text[len(text) - max(0, end) :]
    while cell_len(kept) > end:
        kept = kept[1:]
    return f"{set_cell_size(text, width - 1 - cell_len(kept))}…{kept}"
