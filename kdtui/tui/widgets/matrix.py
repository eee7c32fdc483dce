"""Matrices with one cursor, below each other. A cell is a short text on a colour that shows its level."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.color import Color, ColorParseError
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.widgets.letters import tone
from kdtui.tui.widgets.steady import Steady

Tone: TypeAlias = Literal["", "success", "warning", "error"]

LEVELS = "▁▂▃▄▅▆▇█"
"""The level of a cell, without colours."""

CELL = 9
"""The maximum width of the text of a cell, with its level."""

_WIDEST_COLUMN, _WIDEST_LABEL = 18, 28

_FAINTEST, _STRONGEST = 0.12, 0.85
"""The shares of the colour in the lowest and the highest cell."""


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """The content of a cell.

    Attributes:
        text: at most `CELL` characters, or two less with a level.
        level: 0..1; None for a cell without a colour.
        tone: a colour for the text, in addition to another sign.
    """

    text: str
    level: float | None = None
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A matrix.

    Attributes:
        title: what distinguishes it from the others; empty for a single matrix.
        keys: the keys of its cells, row by row; None for a gap.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    keys: tuple[tuple[str | None, ...], ...]


At: TypeAlias = tuple[int, int, int]
"""The indices of a block, and of a row and a column in it."""

_Line: TypeAlias = tuple[Literal["title", "columns", "row", "blank"], int, int]


class Matrix(Steady, ScrollView, can_focus=True):
    """Matrices below each other, with one cursor for all of them."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("matrix")

    COMPONENT_CLASSES: ClassVar[set[str]] = {"matrix--header", "matrix--title", "matrix--cursor", "matrix--mark"}

    DEFAULT_CSS = """
    Matrix {
        height: 1fr;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 1;
        background: $background;
        color: $foreground;

        .matrix--header { text-style: bold; background: $panel; color: $foreground; }
        .matrix--title { text-style: bold; }
        .matrix--cursor { background: $primary-muted; color: $foreground; text-style: bold; }
        .matrix--mark { color: $text-warning; text-style: bold; }
        &:focus .matrix--cursor { background: $primary; color: $text; text-style: bold; }
        &:ansi:focus .matrix--cursor { color: ansi_bright_white; }
        &:nocolor:ansi .matrix--cursor { text-style: bold reverse; }
    }
    """

    class CellHighlighted(Message):
        """The cursor is on a cell; its key is None for a gap."""

        def __init__(self, matrix: "Matrix", key: str | None) -> None:
            super().__init__()
            self.matrix, self.key = matrix, key

        @property
        def control(self) -> "Matrix":
            """The matrix, for `on` with a selector."""
            return self.matrix

    class CellSelected(CellHighlighted):
        """The user opens the cell under the cursor."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._corner = ""
        self._blocks: tuple[Block, ...] = ()
        self._lines: list[_Line] = []
        self._cells: Mapping[str, MatrixCell] = {}
        self._marks: Container[str] = frozenset()
        self._at: At | None = None
        self._label, self._column = 0, CELL + 1
        self._heat: dict[float, Style] = {}

    # Content

    def show_blocks(self, corner: str, blocks: Sequence[Block]) -> None:
        """Show these matrices; if they have not changed, the cursor stays.

        Args:
            corner: the text in the corner, which names the rows and columns.
        """
        if (corner, tuple(blocks)) == (self._corner, self._blocks):
            return
        self._corner, self._blocks = corner, tuple(blocks)
        self._lines = []
        for number, block in enumerate(self._blocks):
            if block.title:
                self._lines.append(("title", number, 0))
            self._lines.append(("columns", number, 0))
            self._lines += [("row", number, row) for row in range(len(block.rows))]
            self._lines.append(("blank", number, 0))
        labels = [corner, *(label for block in self._blocks for label in block.rows)]
        titles = [title for block in self._blocks for title in block.columns]
        self._label = min(_WIDEST_LABEL, max(map(cell_len, labels), default=0)) + 1
        self._column = max(CELL + 1, min(_WIDEST_COLUMN, max(map(cell_len, titles), default=0) + 1)) + 1
        self._at = (0, 0, 0) if self._blocks else None
        self._measure()
        self.scroll_to(0, 0, animate=False, immediate=True)
        self.refresh()
        self._post_highlight()

    def show_cells(self, cells: Mapping[str, MatrixCell]) -> None:
        """Show the contents of cells, by their keys."""
        if cells != self._cells:
            self._cells = cells
            self.refresh()

    def show_marks(self, keys: Container[str]) -> None:
        """Mark the cells of these keys."""
        self._marks = keys
        self.refresh()

    # The cursor

    @property
    def at(self) -> At | None:
        """The position of the cursor; None without cells."""
        return self._at

    @property
    def cursor_key(self) -> str | None:
        """The key of the cell under the cursor."""
        return None if self._at is None else self._key(self._at)

    def text_of(self, key: str) -> str:
        """Return the text of a cell."""
        cell = self._cells.get(key)
        return "" if cell is None else _with_level(cell)

    def _key(self, at: At) -> str | None:
        block, row, column = at
        return self._blocks[block].keys[row][column]

    @property
    def _rows(self) -> list[tuple[int, int]]:
        """The rows of all matrices, from the top."""
        return [(number, row) for kind, number, row in self._lines if kind == "row"]

    def move_to(self, at: At) -> None:
        """Move the cursor, and scroll to it."""
        self._at = at
        self._scroll_to_cursor()
        self.refresh()
        self._post_highlight()

    def _go(self, rows: int) -> None:
        if self._at is None:
            return
        block, row, column = self._at
        every = self._rows
        number, row = every[max(0, min(len(every) - 1, every.index((block, row)) + rows))]
        self.move_to((number, row, min(column, len(self._blocks[number].columns) - 1)))

    def action_down(self) -> None:
        self._go(1)

    def action_up(self) -> None:
        self._go(-1)

    def action_page_down(self) -> None:
        self._go(max(1, self.size.height - 2))

    def action_page_up(self) -> None:
        self._go(-max(1, self.size.height - 2))

    def action_left(self) -> None:
        self._go_across(-1)

    def action_right(self) -> None:
        self._go_across(1)

    def _go_across(self, columns: int) -> None:
        if self._at is not None:
            block, row, column = self._at
            self.move_to((block, row, max(0, min(len(self._blocks[block].columns) - 1, column + columns))))

    def action_top(self) -> None:
        if self._at is not None:
            self.move_to((0, 0, 0))

    def action_bottom(self) -> None:
        if self._at is not None:
            block = self._blocks[-1]
            self.move_to((len(self._blocks) - 1, len(block.rows) - 1, len(block.columns) - 1))

    def action_select(self) -> None:
        if (key := self.cursor_key) is not None:
            self.post_message(self.CellSelected(self, key))

    async def on_click(self, event: events.Click) -> None:
        """Move the cursor to the click; a double click opens the cell."""
        place = event.get_content_offset(self)
        y = None if place is None else place.y + round(self.scroll_y)
        if place is None or y is None or y >= len(self._lines) or place.x < self._label:
            return
        kind, block, row = self._lines[y]
        column = (place.x - self._label + round(self.scroll_x)) // self._column
        if kind != "row" or column >= len(self._blocks[block].columns):
            return
        again = self._at == (block, row, column) and event.chain > 1
        self.move_to((block, row, column))
        if again:
            self.action_select()

    def _post_highlight(self) -> None:
        self.post_message(self.CellHighlighted(self, self.cursor_key))

    def _scroll_to_cursor(self) -> None:
        if self._at is None:
            return
        block, row, column = self._at
        y = self._lines.index(("row", block, row))
        # The first row is shown with its titles.
        first = y - (1 + bool(self._blocks[block].title)) * (row == 0)
        top, height = round(self.scroll_y), max(1, self.scrollable_content_region.height)
        if first < top:
            top = first
        elif y > top + height - 1:
            top = y - height + 1
        x, room = column * self._column, max(1, self.scrollable_content_region.width - self._label)
        left = round(self.scroll_x)
        if x < left:
            left = x
        elif x + self._column > left + room:
            left = x + self._column - room
        self.scroll_to(left, top, animate=False, force=True, immediate=True)

    # Drawing

    def on_resize(self) -> None:
        """Scroll to the cursor again."""
        self._measure()
        self.call_after_refresh(self._scroll_to_cursor)

    def _measure(self) -> None:
        widest = max((len(block.columns) for block in self._blocks), default=0)
        # The last line is blank.
        self.virtual_size = Size(self._label + widest * self._column, max(0, len(self._lines) - 1))

    def notify_style_update(self) -> None:
        """Forget the colours of another theme."""
        self._heat.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """Draw a line: a title, the names of the columns, or a row of cells."""
        width = self.scrollable_content_region.width
        number = y + round(self.scroll_y)
        if number >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        kind, at, row = self._lines[number]
        block = self._blocks[at]
        match kind:
            case "title":
                style = self.rich_style + self.get_component_rich_style("matrix--title", partial=True)
                return Strip([Segment(_fit(block.title, width), style)])
            case "columns":
                style = self.get_component_rich_style("matrix--header")
                label = Strip([Segment(_fit(self._corner, self._label - 1) + " ", style)])
                # Aligned with the texts of the cells, which follow a mark.
                titles = "".join(f" {_fit(title, self._column - 2)} " for title in block.columns)
                return self._join(label, Strip([Segment(titles, style)]), width, style)
            case "row":
                label = Strip([Segment(_fit(block.rows[row], self._label - 1) + " ", self.rich_style)])
                cells = [segment for column in range(len(block.columns)) for segment in self._draw((at, row, column))]
                return self._join(label, Strip(cells), width, self.rich_style)
        return Strip.blank(width, self.rich_style)

    def _join(self, label: Strip, cells: Strip, width: int, style: Style) -> Strip:
        left = round(self.scroll_x)
        room = max(0, width - self._label)
        shown = cells.crop(left, left + room).adjust_cell_length(room, style)
        return Strip.join([label, shown]).crop(0, width)

    def _draw(self, at: At) -> list[Segment]:
        key = self._key(at)
        cell = None if key is None else self._cells.get(key)
        is_cursor, is_marked = at == self._at, key is not None and key in self._marks
        style = self.rich_style
        if cell is not None and cell.level is not None:
            style += self._heat_style(cell.level)
        elif cell is not None and cell.tone:
            style += tone(self, cell.tone)
        elif cell is None:
            style += Style(dim=True)
        if is_marked:
            style += Style(bold=True)
        if is_cursor:
            style += self.get_visual_style("matrix--cursor").rich_style
            # It lacks the text style `reverse`.
            style += self.get_component_styles("matrix--cursor").text_style
        # A mark is never shown by colour only.
        mark = "✓" if is_marked else "▸" if is_cursor else " "
        text = "–" if cell is None else _with_level(cell)
        return [
            Segment(f"{mark}{_fit(text, self._column - 2)}", style),
            Segment(" ", self.rich_style),
        ]

    def _heat_style(self, level: float) -> Style:
        """Return the style of a level: its colour, with black or white text."""
        if level not in self._heat:
            self._heat[level] = self._heat_of(level)
        return self._heat[level]

    def _heat_of(self, level: float) -> Style:
        if self.app.native_ansi_color:
            # Colours of the terminal cannot be blended; the bar next to the number shows the level.
            return Style(bold=level >= 1)
        variables = self.app.theme_variables
        try:
            low, high = Color.parse(variables["background"]), Color.parse(variables["success"])
        except (KeyError, ColorParseError):
            return Style(bold=level >= 1)
        colour = low.blend(high, _FAINTEST + level * (_STRONGEST - _FAINTEST))
        return Style(color="#000000" if _luminance(colour) > 0.179 else "#ffffff", bgcolor=colour.rich_color)


def _luminance(colour: Color) -> float:
    """Return the relative luminance as defined by the WCAG. Above 0.179, black has the higher contrast."""

    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = map(linear, colour.normalized)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _with_level(cell: MatrixCell) -> str:
    if cell.level is None:
        return cell.text
    return f"{cell.text} {LEVELS[min(len(LEVELS) - 1, int(cell.level * len(LEVELS)))]}"


def _fit(text: str, width: int) -> str:
    """Return a text in exactly this width."""
    text = one_line(text, 300)
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + "…"
