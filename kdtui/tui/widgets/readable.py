"""A text in which words can be found."""

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

_AROUND = 2
"""Rows that stay visible above and below a match."""


class Readable(Static):
    """A text inside a scrolling container. The find line goes through its rows, as through those of a table."""

    _match: int | None = None
    _before = 0
    """Characters before the match, without spaces: their number does not depend on the wrapping."""

    @property
    def row_count(self) -> int:
        """The number of rows after wrapping."""
        return self.size.height

    @property
    def cursor_row(self) -> int:
        """The row of the match, or else the first visible row."""
        if self._match is not None:
            return self._match
        return max(0, min(int(self._scroll.scroll_y) - self.virtual_region.y, self.row_count - 1))

    def text_at(self, number: int) -> str:
        """Return the text of a row."""
        return super().render_line(number).text

    def move_to(self, number: int) -> None:
        """Scroll to a row and highlight it."""
        self._before = sum(map(self._length_of, range(number)))
        self._show(number)

    def on_resize(self) -> None:
        """Scroll to the match again, after the text is wrapped."""
        if self._match is not None:
            self.call_after_refresh(self._show_match_again)

    def _show_match_again(self) -> None:
        if self._match is None:
            return
        left = self._before
        for number in range(self.row_count):
            left -= self._length_of(number)
            if left < 0:
                self._show(number)
                return

    def _length_of(self, number: int) -> int:
        return len("".join(self.text_at(number).split()))

    def _show(self, number: int) -> None:
        self._match = number
        at = self.virtual_region.y + number
        rows = Region(0, max(0, at - _AROUND), 1, 1 + 2 * _AROUND)
        self._scroll.scroll_to_region(rows, animate=False)
        self.refresh()

    def leave(self, scrolled: float) -> None:
        """Remove the highlight and scroll back."""
        self._match = None
        self._scroll.scroll_to(y=scrolled, animate=False)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw a row; the match is reversed."""
        strip = super().render_line(y)
        return strip.apply_style(Style(reverse=True)) if y == self._match else strip

    @property
    def _scroll(self) -> Widget:
        assert isinstance(self.parent, Widget)
        return self.parent
