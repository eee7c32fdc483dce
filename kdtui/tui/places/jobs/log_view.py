"""A log of any size; only the visible parts and their neighbours are in memory."""

from collections.abc import Callable
from typing import ClassVar

from rich.cells import chop_cells
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from kdtui.text import log_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.finders import Direction
from models.sft.job_files import LOG_PART as PART
from models.sft.log_search import Search

_PARTS = 64
"""Most parts kept; the parts that were not seen for longest are dropped first."""

_LONGEST = 4096
"""Most bytes of a line; a longer line is shown as several."""

_MATCH_STYLE = Style(reverse=True)

_WHEEL = 3
"""Rows that one step of the mouse wheel scrolls."""

_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


class LogView(Widget, can_focus=True):
    """A wrapped log, which follows its end until the user scrolls up.

    It requests the parts that it is about to show with `PartsWanted`, and `put` delivers them. It finds lines by their
    ends in the visible parts. Lines are not counted, so they have no numbers.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("log")

    COMPONENT_CLASSES: ClassVar[set[str]] = {"log-view--bar"}

    DEFAULT_CSS = """
    LogView {
        height: 1fr;
        background: $background;
        color: $foreground;
        border-top: solid $panel;
        border-title-color: $text-muted;

        .log-view--bar { color: $text-muted; }
        &:focus { border-top: solid $primary; }
    }
    """

    class PartsWanted(Message):
        """Parts of the log become visible that are not in memory, by their numbers."""

        def __init__(self, parts: tuple[int, ...]) -> None:
            super().__init__()
            self.parts = parts

    class FindWanted(Message):
        """A text is to be found; `show_match` takes the result."""

        def __init__(self, search: Search) -> None:
            super().__init__()
            self.search = search

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._parts: dict[int, bytes] = {}
        self._length = 0
        self._missing: dict[int, None] = {}
        # The offset of a line, and the first visible row of that line.
        self._top = (0, 0)
        # The rows to scroll, or the offset of a line to go to.
        self._goal: int | tuple[int] | None = None
        # Each visible row, with the offsets of its line.
        self._visible: list[tuple[str, int, int]] = []
        self._search: tuple[Search, Callable[[bool], None]] | None = None
        # The offset of the last match.
        self._match: int | None = None
        self._requested: tuple[int, ...] = ()
        self.follows = True

    # Data

    def put(self, offset: int, data: bytes, size: int) -> None:
        """Take in bytes of the log.

        Args:
            offset: the offset of the first byte.
            size: the size of the whole log.
        """
        if size < self._length:
            # The log was started anew.
            self._parts.clear()
            self._top, self._goal, self._match, self.follows = (0, 0), None, None, True
        self._length = size
        number, at = divmod(offset, PART)
        while data:
            piece, data = data[: PART - at], data[PART - at :]
            known = self._parts.pop(number, b"")
            if at <= len(known) < at + len(piece):
                known = known[:at] + piece
            if known:
                self._parts[number] = known
            number, at = number + 1, 0
        while len(self._parts) > _PARTS:
            del self._parts[next(iter(self._parts))]
        self._requested = ()
        self._update()

    # State

    @property
    def text(self) -> str:
        """The visible text."""
        return "\n".join(row for row, *_ in self._visible)

    @property
    def bytes_kept(self) -> int:
        """Bytes of the log in memory."""
        return sum(map(len, self._parts.values()))

    # Finding

    @property
    def position(self) -> int | None:
        """The offset of the first visible line; None while the end is followed."""
        return None if self.follows else self._top[0]

    @property
    def search_start(self) -> int:
        """The offset of the last match, or else of the first visible line."""
        return self._top[0] if self._match is None else self._match

    def find(self, search: Search, report: Callable[[bool], None]) -> None:
        """Go to the nearest line with a text, also around the end.

        Args:
            report: is called with whether there is such a line, unless another search begins before.
        """
        self._search = search, report
        self.post_message(self.FindWanted(search))

    def show_match(self, search: Search, offset: int | None) -> None:
        """Go to the match of a search, if it is the current search."""
        if self._search is None or self._search[0] != search:
            return
        report = self._search[1]
        self._search = None
        if offset is not None:
            self._match = offset
            self._go((offset,))
        report(offset is not None)

    def clear_match(self, position: int | None) -> None:
        """Clear the match, and go to a position; None for the end."""
        self._search = self._match = None
        if position is None:
            self.action_scroll("end")
        else:
            self._go((position,))

    # Scrolling

    def action_scroll(self, way: str) -> None:
        page = max(1, self._height - 1)
        match way:
            case "home":
                self._go((0,))
            case "end":
                self.follows, self._goal = True, None
                self._update()
            case _:
                self._go({"up": -1, "down": 1, "page_up": -page, "page_down": page}[way])

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._go(_WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._go(-_WHEEL)

    def on_click(self, event: events.Click) -> None:
        """Go to the clicked position of the scroll bar."""
        at = event.get_content_offset(self)
        if at is not None and at.x >= self._width:
            self._go((self._length * at.y // max(1, self._height),))

    def _go(self, goal: int | tuple[int]) -> None:
        """Scroll by a number of rows, or go to the line at an offset, as soon as the bytes in between are in memory."""
        if isinstance(goal, int) and isinstance(self._goal, int):
            goal += self._goal
        self._goal = goal
        self._update()

    # Drawing

    def on_resize(self) -> None:
        """Wrap the lines again; a visible match stays visible."""
        match = self._match
        if match is not None and any(begin <= match < end for _, begin, end in self._visible):
            self._goal = (match,)
        self._top = (self._top[0], 0)
        self._update()

    def render_line(self, y: int) -> Strip:
        """Draw a row, with its part of the scroll bar."""
        style = self.rich_style
        text, begin, end = self._visible[y] if y < len(self._visible) else ("", 0, 0)
        if self._match is not None and begin <= self._match < end:
            style += _MATCH_STYLE
        bar = self.get_component_rich_style("log-view--bar", partial=True)
        return Strip(
            [
                *Strip([Segment(text, style)]).adjust_cell_length(self._width, style),
                Segment(" ", style),
                Segment("█" if self._is_thumb(y) else "│", style + bar),
            ]
        )

    def _is_thumb(self, y: int) -> bool:
        """Return whether the thumb of the scroll bar is in this row."""
        if not self._length:
            return False
        last = self._height - 1
        thumb = last if self.follows else min(last, self._top[0] * self._height // self._length)
        return y == thumb

    @property
    def _width(self) -> int:
        return max(1, self.size.width - 2)

    @property
    def _height(self) -> int:
        return max(1, self.size.height)

    def _update(self) -> None:
        """Scroll towards the goal as far as bytes are in memory, show that, and request missing parts."""
        if not self.size.width:
            return
        self._missing = {}
        self._move()
        visible, end = self._rows_from(self._top)
        self._visible = visible[: self._height]
        first, last = self._top[0] // PART, min(end, self._length - 1) // PART
        for near in (last + 1, first - 1):
            if 0 <= near * PART < self._length:
                self._bytes(near * PART, near * PART + PART)
        missing = tuple(self._missing)
        # Requested once; the answer is on its way.
        if missing and missing != self._requested:
            self._requested = missing
            self.post_message(self.PartsWanted(missing))
        position = "follows" if self.follows else f"{self._top[0] / max(1, self._length):.0%}"
        self.border_title = f"log · {_readable(self._length)} · {position}"
        self.refresh()

    def _move(self) -> None:
        end = self._up((self._length, 0), self._height)
        if self.follows and self._goal is None:
            self._top = end or self._top
            return
        match self._goal:
            case (offset,):
                begin = 0 if offset == 0 else self._line_before(min(offset + 1, self._length))
                place = None if begin is None else (begin, 0)
            case int(rows) if rows < 0:
                place = self._up(self._top, -rows)
            case int(rows):
                place = self._down(self._top, rows)
            case _:
                place = self._top
        if place is None:
            return
        self._goal = None
        # The last page is the lowest position.
        self.follows = end is not None and place >= end
        self._top = end if self.follows and end is not None else place

    def _up(self, place: tuple[int, int], rows: int) -> tuple[int, int] | None:
        """Return the position some rows above another; None if bytes in between are missing."""
        offset, row = place
        while rows > row:
            if offset == 0:
                return (0, 0)
            rows -= row
            begin = self._line_before(offset)
            if begin is None or (lines := self._wrapped(begin, offset)) is None:
                return None
            offset, row = begin, len(lines)
        return (offset, row - rows)

    def _down(self, place: tuple[int, int], rows: int) -> tuple[int, int] | None:
        """Return the position some rows below another; None if bytes in between are missing."""
        offset, row = place
        while offset < self._length:
            end = self._line_end(offset)
            if end is None or (lines := self._wrapped(offset, end)) is None:
                return None
            if row + rows < len(lines) or end >= self._length:
                return (offset, min(row + rows, len(lines) - 1))
            rows -= len(lines) - row
            offset, row = end, 0
        return (offset, row)

    def _rows_from(self, place: tuple[int, int]) -> tuple[list[tuple[str, int, int]], int]:
        """Return the rows below a position that are in memory, and the offset after them."""
        offset, row = place
        rows: list[tuple[str, int, int]] = []
        while offset < self._length and len(rows) < self._height + row:
            end = self._line_end(offset)
            if end is None or (lines := self._wrapped(offset, end)) is None:
                rows.append(("…", offset, offset))
                break
            rows += [(line, offset, end) for line in lines]
            offset = end
        return rows[row:], offset

    def _wrapped(self, begin: int, end: int) -> list[str] | None:
        """Return the rows of a line; None if bytes are missing."""
        line = self._bytes(begin, end)
        return None if line is None else chop_cells(log_line(line), self._width) or [""]

    def _line_end(self, begin: int) -> int | None:
        """Return the offset after a line; None if bytes are missing."""
        limit = min(begin + _LONGEST, self._length)
        # Most lines end in this part, even if the next part is missing.
        known = self._parts.get(begin // PART, b"")
        at = known.find(b"\n", begin % PART, begin % PART + _LONGEST)
        if at >= 0:
            return begin - begin % PART + at + 1
        data = self._bytes(begin, limit)
        if data is None:
            return None
        at = data.find(b"\n")
        return begin + at + 1 if at >= 0 else limit

    def _line_before(self, end: int) -> int | None:
        """Return the offset of the line that ends before an offset; None if bytes are missing."""
        low = max(0, end - 1 - _LONGEST)
        data = self._bytes(low, end - 1)
        if data is None:
            return None
        at = data.rfind(b"\n")
        if at >= 0:
            return low + at + 1
        return 0 if low == 0 else end - _LONGEST

    def _bytes(self, begin: int, end: int) -> bytes | None:
        """Return the bytes between two offsets, or None; missing parts are noted."""
        end = min(end, self._length)
        pieces = []
        is_whole = True
        for number in range(begin // PART, (max(begin, end - 1)) // PART + 1):
            base = number * PART
            known = self._parts.get(number, b"")
            if len(known) < min(PART, end - base):
                self._missing[number] = None
                is_whole = False
            elif number in self._parts:
                # Keep the part that was seen last for longest.
                self._parts[number] = self._parts.pop(number)
            pieces.append(known[max(0, begin - base) : end - base])
        return b"".join(pieces) if is_whole else None


def _readable(size: int) -> str:
    return next((f"{size / unit:.1f} {name}" for unit, name in _UNITS if size >= unit), f"{size} bytes")


class LogFinder:
    """Finds text in a log, in the order of its lines; this can take a while."""

    nowhere = "no line of the log has that"

    def __init__(self, log: LogView) -> None:
        self._log, self._before, self._first = log, log.position, log.search_start

    def find(self, words: str, direction: Direction, report: Callable[[bool], None]) -> None:
        """Go to the next or previous line with the words, also around the end."""
        if not words:
            self.go_back()
            report(True)
            return
        start = {0: self._first, 1: self._log.search_start + 1, -1: self._log.search_start}[direction]
        self._log.find(Search(words, start, backwards=direction < 0), report)

    def go_back(self) -> None:
        """Return to the line where the search began, or follow the end again."""
        self._log.clear_match(self._before)
