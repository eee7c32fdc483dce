"""A text to read, in which words can be found."""

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

_AROUND = 2
"""Rows that are to be seen above and below what was found."""


class Readable(Static):
    """A text inside of something that scrolls. It can be gone through row by row, as a table can."""

    _found: int | None = None
    _before = 0
    """Characters before what was found, without spaces: they are as many however the lines are wrapped."""

    @property
    def row_count(self) -> int:
        """How many rows it takes."""
        return self.size.height

    @property
    def cursor_row(self) -> int:
        """The row that was found, or else the first that is in sight."""
        if self._found is not None:
            return self._found
        return max(0, min(int(self._scroll.scroll_y) - self.virtual_region.y, self.row_count - 1))

    def text_at(self, number: int) -> str:
        """What a row says."""
        return super().render_line(number).text

    def move_to(self, number: int) -> None:
        """Show a row, and that it is the one."""
        self._before = sum(map(self._written_in, range(number)))
        self._show(number)

    def on_resize(self) -> None:
        """Go where that is what was found, once it is all laid out."""
        if self._found is not None:
            self.call_after_refresh(self._find_again)

    def _find_again(self) -> None:
        if self._found is None:
            return
        left = self._before
        for number in range(self.row_count):
            left -= self._written_in(number)
            if left < 0:
                self._show(number)
                return

    def _written_in(self, number: int) -> int:
        return len("".join(self.text_at(number).split()))

    def _show(self, number: int) -> None:
        self._found = number
        at = self.virtual_region.y + number
        rows = Region(0, max(0, at - _AROUND), 1, 1 + 2 * _AROUND)
        self._scroll.scroll_to_region(rows, animate=False)
        self.refresh()

    def leave(self, scrolled: float) -> None:
        """Show no row any more, and go where one was."""
        self._found = None
        self._scroll.scroll_to(y=scrolled, animate=False)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """A row; the one that was found is the other way round."""
        strip = super().render_line(y)
        return strip.apply_style(Style(reverse=True)) if y == self._found else strip

    @property
    def _scroll(self) -> Widget:
        assert isinstance(self.parent, Widget)
        return self.parent
