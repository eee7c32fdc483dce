"""A table with any number of rows, of which only the rows in sight, and some around them, are in memory."""

from collections.abc import Container, Iterable, Sequence
from typing import ClassVar

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

from kdtui.tui.actions import bindings
from kdtui.tui.widgets.rows import PAGE, Column, Row, RowCache, fit_cell, fit_text
from kdtui.tui.widgets.steady import Steady

_HEADER = 1
"""Lines of the titles."""


class TableMessage(Message):
    """A message whose handlers can select the table that sent it."""

    def __init__(self, table: "RowTable") -> None:
        super().__init__()
        self.table = table

    @property
    def control(self) -> "RowTable":
        """The table, for `on` with a selector."""
        return self.table


class RowTable(Steady, ScrollView, can_focus=True):
    """Rows of one line each, with a cursor. Cells are plain text, never markup.

    For a large table, `show_count` sets the number of rows. The table then requests the rows to show with `RowsWanted`,
    and `put_rows` delivers them. A small table gets all rows at once with `show_rows`.
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
    """The width from which on wide columns are shown, with the scrollbar: three fifths of a terminal of 200 cells."""

    cursor_row: reactive[int] = reactive(0, always_update=False)

    class RowsWanted(TableMessage):
        """Rows come into sight that are not in memory: those of one page, from `first` on."""

        def __init__(self, table: "RowTable", first: int, limit: int) -> None:
            super().__init__(table)
            self.first, self.limit = first, limit

    class RowHighlighted(TableMessage):
        """The cursor is on a row, and the row is in memory."""

        def __init__(self, table: "RowTable", row: int, key: str) -> None:
            super().__init__(table)
            self.row, self.key = row, key

    class RowPointed(RowHighlighted):
        """The user has moved the cursor, or pressed a key that moves it."""

    class RowSelected(RowHighlighted):
        """The user opens the row under the cursor."""

    class ColumnsShown(TableMessage):
        """The width of the table shows other columns than before."""

    class SortWanted(TableMessage):
        """The user clicked the title of a column."""

        def __init__(self, table: "RowTable", sort: str) -> None:
            super().__init__(table)
            self.sort = sort

    def __init__(self, columns: Sequence[Column], *, id: str) -> None:
        super().__init__(id=id)
        self._columns = columns
        self._columns_shown: list[Column] = []
        self._cache = RowCache()
        self._marks: Container[str] = frozenset()
        self._sorted: tuple[str, bool] = ("", False)
        self._highlighted: tuple[int, str] | None = None
        # Whether the user has moved the cursor, and `RowPointed` is not posted yet.
        self._is_pointed = False
        self._strips: dict[tuple[int, bool], Strip] = {}
        self._row_styles: dict[tuple[bool, bool], Style] = {}

    def allow_focus(self) -> bool:
        """Return whether the table can have the focus: only while it is visible.

        Textual focuses a hidden table, and moves the focus on later, when the table may be visible again.
        """
        return super().allow_focus() and all(
            node.display for node in self.ancestors_with_self if isinstance(node, Widget)
        )

    # Rows, columns, marks

    def show_rows(self, rows: Iterable[Row], *, keep: bool = False) -> None:
        """Show these rows.

        Args:
            keep: whether the cursor stays on the row of the same key, if that still exists.
        """
        rows = list(rows)
        before, key = self.cursor_row, self.cursor_key
        self._cache.fill(rows)
        at = next((number for number, row in enumerate(rows) if row.key == key), before) if keep else 0
        self._begin(at)

    def show_columns(self, columns: Sequence[Column]) -> None:
        """Show other columns; the caller delivers new rows."""
        self._columns = columns
        self._cache.drop()
        self._strips.clear()
        self.refresh()

    def show_count(self, count: int, *, row: int = 0) -> None:
        """Show this number of rows, none of which is in memory yet, with the cursor on one of them."""
        self._cache.empty(count)
        self._begin(row)

    def grow(self, count: int) -> None:
        """Change the number of rows; the rows in memory stay valid."""
        if count != self._cache.count:
            self._cache.resize(count)
            self._strips.clear()
            self._measure()
            self.cursor_row = self.validate_cursor_row(self.cursor_row)
            self.refresh()
            self._request_rows()

    def put_rows(self, first: int, rows: Iterable[Row]) -> None:
        """Deliver the rows of a page, from its first row on."""
        self._cache.put_page(first, rows)
        self._strips.clear()
        self.refresh()
        self._request_rows()

    def put_row(self, number: int, row: Row) -> None:
        """Replace a row."""
        if self._cache.put(number, row):
            self._redraw_line(number)

    def show_marks(self, keys: Container[str]) -> None:
        """Mark the rows of these keys. The collection is kept: call this again when it changes."""
        self._marks = keys
        self._strips.clear()
        self.refresh()

    def show_sorted(self, sort: str, *, descending: bool) -> None:
        """Show in the titles what the rows are sorted by."""
        self._sorted = (sort, descending)
        self.refresh()

    # State

    @property
    def sorts(self) -> list[str]:
        """What the visible columns sort by, from left to right."""
        return [column.sort for column, _ in self._layout() if column.sort]

    @property
    def row_count(self) -> int:
        """The number of all rows, of which only some are in memory."""
        return self._cache.count

    @property
    def cursor_key(self) -> str | None:
        """The key of the row under the cursor; None if the row is not in memory."""
        row = self.row_at(self.cursor_row)
        return None if row is None else row.key

    def row_at(self, number: int) -> Row | None:
        """Return a row; None if it is not in memory."""
        return self._cache.row_at(number)

    def text_at(self, number: int) -> str:
        """Return the text of a row; empty if the row is not in memory."""
        row = self.row_at(number)
        return "" if row is None else " ".join(map(str, row.cells))

    # The cursor

    def action_down(self) -> None:
        self.point_at(self.cursor_row + 1)

    def action_up(self) -> None:
        self.point_at(self.cursor_row - 1)

    def action_page_down(self) -> None:
        self.point_at(self.cursor_row + max(1, self._visible - 1))

    def action_page_up(self) -> None:
        self.point_at(self.cursor_row - max(1, self._visible - 1))

    def action_top(self) -> None:
        self.point_at(0)

    def action_bottom(self) -> None:
        self.point_at(self._cache.count - 1)

    def action_select(self) -> None:
        if (key := self.cursor_key) is not None:
            self.point_at(self.cursor_row)
            self.post_message(self.RowSelected(self, self.cursor_row, key))

    def point_at(self, row: int) -> None:
        """Move the cursor for the user, and post `RowPointed`."""
        self._is_pointed = True
        self.move_to(row)

    def move_to(self, row: int) -> None:
        """Move the cursor to a row, and scroll to it."""
        self.cursor_row = row
        self._scroll_to_cursor()

    def _scroll_to_cursor(self) -> None:
        top = round(self.scroll_y)
        if self.cursor_row < top:
            self.scroll_to(y=self.cursor_row, animate=False, force=True, immediate=True)
        elif self.cursor_row > top + self._visible - 1:
            self.scroll_to(y=self.cursor_row - self._visible + 1, animate=False, force=True, immediate=True)
        self._request_rows()

    def validate_cursor_row(self, row: int) -> int:
        """Keep the cursor between the first row and the last."""
        return max(0, min(row, self._cache.count - 1))

    def watch_cursor_row(self, before: int, after: int) -> None:
        """Redraw both lines."""
        self._redraw_line(before)
        self._redraw_line(after)
        self._post_highlight()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Request the rows that come into sight."""
        super().watch_scroll_y(old_value, new_value)
        self._request_rows()

    async def on_click(self, event: events.Click) -> None:
        """Move the cursor to the click. A double click opens the row; a click on a title sorts."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y < _HEADER:
            self._sort_by_column_at(offset.x)
            return
        row = round(self.scroll_y) + offset.y - _HEADER
        if row < self._cache.count:
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

    # Drawing

    def on_resize(self) -> None:
        """Distribute the room again."""
        self._strips.clear()
        shown = [column for column, _ in self._layout()]
        if shown != self._columns_shown:
            self._columns_shown = shown
            self.post_message(self.ColumnsShown(self))
        self._measure()
        self.call_after_refresh(self._scroll_to_cursor)

    def notify_style_update(self) -> None:
        """Forget lines that were drawn in other colours."""
        self._strips.clear()
        self._row_styles.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """Draw a line: the titles, or a row."""
        if y < _HEADER:
            return self._titles()
        number = round(self.scroll_y) + y - _HEADER
        if number >= self._cache.count:
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
            cells.append(fit_cell(Text(f"{column.label}{mark}"), width, column))
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
            # A line of one piece is drawn many times faster.
            line = " ".join(fit_text(str(cell), width, column) for cell, width, column in cells)
            return Strip([Segment(f"{line} ", style)]).adjust_cell_length(self._width, style)
        fitted = [fit_cell(*each) for each in cells]
        if is_marked and fitted:
            # A mark is never shown by colour only.
            first, width, column = cells[0]
            fitted[0] = Text.assemble("✓", fit_cell(first, width - 1, column))
        return self._join(fitted, style)

    def _style(self, *, is_marked: bool, is_cursor: bool) -> Style:
        """Return the style of a row; it is looked up once, until any style changes."""
        key = (is_marked, is_cursor)
        if key not in self._row_styles:
            style = self.rich_style
            if is_marked:
                style += self.get_component_rich_style("row-table--mark", partial=True)
            if is_cursor:
                # The visual style is complete, so the colour of the text is resolved on this background.
                style += self.get_visual_style("row-table--cursor").rich_style
                # It lacks the text style `reverse`.
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
        """Return the visible columns with their widths."""
        width = self._width
        columns = [column for column in self._columns if not column.wide or self.outer_size.width >= self.WIDE]
        room = max(0, width - sum(column.width + 1 for column in columns))
        shares = sum(column.share for column in columns) or 1
        return [(column, column.width + room * column.share // shares) for column in columns]

    def _redraw_line(self, number: int) -> None:
        self._strips.pop((number, True), None)
        self._strips.pop((number, False), None)
        y = number - round(self.scroll_y) + _HEADER
        if y >= _HEADER:
            self.refresh(Region(0, y, self._width, 1))

    @property
    def _width(self) -> int:
        """The width without the scrollbar."""
        return self.scrollable_content_region.width

    @property
    def _visible(self) -> int:
        """The number of rows in sight."""
        return max(1, self.size.height - _HEADER)

    def _begin(self, row: int) -> None:
        self._strips.clear()
        self._highlighted = None
        self._measure()
        self.set_reactive(RowTable.cursor_row, self.validate_cursor_row(row))
        self._scroll_to_cursor()
        self.refresh()
        self._post_highlight()

    def _measure(self) -> None:
        self.virtual_size = Size(self._width, self._cache.count + _HEADER)

    def _post_highlight(self) -> None:
        """Post which row the cursor is on, once the row is in memory."""
        row = self.row_at(self.cursor_row)
        if row is None:
            return
        if self._highlighted != (self.cursor_row, row.key):
            self._highlighted = (self.cursor_row, row.key)
            self.post_message(self.RowHighlighted(self, self.cursor_row, row.key))
        if self._is_pointed:
            self._is_pointed = False
            self.post_message(self.RowPointed(self, self.cursor_row, row.key))

    def _request_rows(self) -> None:
        """Request the pages in sight, and those next to them."""
        self._post_highlight()
        if not self._cache.count:
            return
        first, last = round(self.scroll_y), round(self.scroll_y) + self._visible
        for page in self._cache.request((first, last, last + self._visible, first - self._visible)):
            self.post_message(self.RowsWanted(self, page, PAGE))
