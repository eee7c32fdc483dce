"""A table of rows that is as wide as its room, and asks for more rows when its end comes near."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.widgets import DataTable

from kdtui.bundling.text import one_line

_LONGEST = 400
"""Characters of a cell that are kept; no terminal shows more in a line."""

_NEAR = 60
"""Rows before the end at which more are asked for."""


@dataclass(frozen=True, slots=True)
class FlexColumn:
    """A column: its least width in cells, and its share of the room that is left over."""

    label: str
    width: int
    share: int = 0
    right: bool = False


class FlexTable(DataTable[Text]):
    """Rows of one line each, with `j` and `k` to move. Cells are plain text, never markup."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False, tooltip="Move down, as ↓ does"),
        Binding("k", "cursor_up", "Up", show=False, tooltip="Move up, as ↑ does"),
        Binding("home", "scroll_top", "First row", show=False, tooltip="Go to the first row"),
        Binding("end", "scroll_bottom", "Last row", show=False, tooltip="Go to the last row that is loaded"),
    ]

    class NearEnd(Message):
        """The end of the rows comes into sight, and there are more."""

    def __init__(self, columns: Sequence[FlexColumn], *, id: str) -> None:
        # The letters of bundles keep their colours under the cursor.
        super().__init__(id=id, cursor_type="row", cursor_foreground_priority="renderable")
        self._flex = columns
        self._more = False

    def on_mount(self) -> None:
        """Make the columns."""
        for column in self._flex:
            label = Text(column.label, justify="right" if column.right else "left")
            self.add_column(label, width=column.width)
        self._share_out()

    def on_resize(self, _: events.Resize) -> None:
        """Share out the room anew."""
        self._share_out()

    def add_page(self, rows: Iterable[tuple[str, Sequence[str | Text]]], *, more: bool) -> None:
        """Append rows, each with a key; `more` says whether to ask for another page after them.

        A row that is there already stays where it is: what another program writes can move rows between pages.
        """
        for key, cells in rows:
            if key in self.rows:
                continue
            self.add_row(
                *(self._cell(column, cell) for column, cell in zip(self._flex, cells, strict=True)),
                key=key,
            )
        self._more = more

    def look_ahead(self) -> None:
        """Ask for more when the cursor, or the part in sight, is near the end."""
        seen = max(self.cursor_row, int(self.scroll_y) + self.size.height)
        if self._more and seen >= self.row_count - _NEAR:
            self._more = False
            self.post_message(self.NearEnd())

    def on_data_table_row_highlighted(self) -> None:
        """Look whether the cursor is near the end."""
        self.look_ahead()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Look whether the wheel has come near the end."""
        super().watch_scroll_y(old_value, new_value)
        self.look_ahead()

    def _share_out(self) -> None:
        if len(self.ordered_columns) != len(self._flex):
            return
        room = self.scrollable_content_region.width - sum(column.width + 2 * self.cell_padding for column in self._flex)
        shares = sum(column.share for column in self._flex) or 1
        for column, flex in zip(self.ordered_columns, self._flex, strict=True):
            column.width = flex.width + max(0, room) * flex.share // shares
        width = sum(column.get_render_width(self) for column in self.ordered_columns)
        self.virtual_size = Size(width, self.virtual_size.height)
        # Forgets what was drawn with the widths of before.
        self.notify_style_update()

    @staticmethod
    def _cell(column: FlexColumn, cell: str | Text) -> Text:
        if isinstance(cell, Text):
            return cell
        return Text(
            one_line(cell, _LONGEST), justify="right" if column.right else "left", overflow="ellipsis", no_wrap=True
        )
