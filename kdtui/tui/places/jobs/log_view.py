"""A log of any size, of which only the parts in sight, and those next to them, are in memory."""

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
from kdtui.tui.core.finders import Way
from models.sft.job_files import LOG_PART as PART
from models.sft.log_search import Search

_PARTS = 64
"""Parts that are kept; those that were seen longest ago go first."""

_LONGEST = 4096
"""Bytes of a line; a longer one is shown as several."""

_FOUND = Style(reverse=True)

_WHEEL = 3
"""Rows that the wheel of a mouse goes."""

_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


class LogView(Widget, can_focus=True):
    """A log, wrapped, which follows its end until one goes up.

    It asks with `PartsWanted` for what it is about to show, and `put` answers. Lines are found by looking for their
    ends in the parts in sight: nothing is counted, and so there are no line numbers.
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
        """Parts of the log come into sight that are not there, by their numbers."""

        def __init__(self, parts: tuple[int, ...]) -> None:
            super().__init__()
            self.parts = parts

    class FindWanted(Message):
        """A text is to be looked for, with `show_found` for an answer."""

        def __init__(self, search: Search) -> None:
            super().__init__()
            self.search = search

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._parts: dict[int, bytes] = {}
        self._length = 0
        self._missing: dict[int, None] = {}
        # A line's offset, and the row of it that is the first in sight.
        self._top = (0, 0)
        self._goal: int | tuple[int] | None = None
        # Each row, and the offsets of its line.
        self._shown: list[tuple[str, int, int]] = []
        self._finding: tuple[Search, Callable[[bool], None]] | None = None
        self._found: int | None = None
        self._asked: tuple[int, ...] = ()
        self.follows = True

    # What it is given

    def put(self, offset: int, data: bytes, size: int) -> None:
        """The log has so many bytes now, and these from an offset on."""
        if size < self._length:
            # It was begun anew.
            self._parts.clear()
            self._top, self._goal, self._found, self.follows = (0, 0), None, None, True
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
        self._asked = ()
        self._look()

    # What it tells

    @property
    def text(self) -> str:
        """What is in sight."""
        return "\n".join(row for row, *_ in self._shown)

    @property
    def bytes_kept(self) -> int:
        """How much of the log is in memory."""
        return sum(map(len, self._parts.values()))

    # What is found in it

    @property
    def place(self) -> int | None:
        """The offset of the first line in sight; None where the end is followed."""
        return None if self.follows else self._top[0]

    @property
    def here(self) -> int:
        """The offset of what was found last, or else of the first line in sight."""
        return self._top[0] if self._found is None else self._found

    def find(self, search: Search, told: Callable[[bool], None]) -> None:
        """Go to the nearest line that has a text; around the end, too.

        Args:
            told: is called with whether there is one, unless another text is looked for before that is known.
        """
        self._finding = search, told
        self.post_message(self.FindWanted(search))

    def show_found(self, search: Search, offset: int | None) -> None:
        """Go to what was looked for."""
        if self._finding is None or self._finding[0] != search:
            return
        told = self._finding[1]
        self._finding = None
        if offset is not None:
            self._found = offset
            self._go((offset,))
        told(offset is not None)

    def leave_found(self, place: int | None) -> None:
        """Show nothing as found any more, and go to a place."""
        self._finding = self._found = None
        if place is None:
            self.action_scroll("end")
        else:
            self._go((place,))

    # How it moves

    def action_scroll(self, way: str) -> None:
        """Go up or down."""
        page = max(1, self._height - 1)
        match way:
            case "home":
                self._go((0,))
            case "end":
                self.follows, self._goal = True, None
                self._look()
            case _:
                self._go({"up": -1, "down": 1, "page_up": -page, "page_down": page}[way])

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Go down."""
        event.stop()
        self._go(_WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Go up."""
        event.stop()
        self._go(-_WHEEL)

    def on_click(self, event: events.Click) -> None:
        """Go to a place of the whole log, by its bar."""
        at = event.get_content_offset(self)
        if at is not None and at.x >= self._width:
            self._go((self._length * at.y // max(1, self._height),))

    def _go(self, goal: int | tuple[int]) -> None:
        """So many rows, or to the line at an offset; what is not there yet is waited for."""
        if isinstance(goal, int) and isinstance(self._goal, int):
            goal += self._goal
        self._goal = goal
        self._look()

    # How it is drawn

    def on_resize(self) -> None:
        """Wrap the lines anew; what was found and is in sight stays there."""
        found = self._found
        if found is not None and any(begin <= found < end for _, begin, end in self._shown):
            self._goal = (found,)
        self._top = (self._top[0], 0)
        self._look()

    def render_line(self, y: int) -> Strip:
        """A row, and a piece of the bar."""
        style = self.rich_style
        text, begin, end = self._shown[y] if y < len(self._shown) else ("", 0, 0)
        if self._found is not None and begin <= self._found < end:
            style += _FOUND
        bar = self.get_component_rich_style("log-view--bar", partial=True)
        return Strip(
            [
                *Strip([Segment(text, style)]).adjust_cell_length(self._width, style),
                Segment(" ", style),
                Segment("█" if self._is_here(y) else "│", style + bar),
            ]
        )

    def _is_here(self, y: int) -> bool:
        """Whether the place in sight is at that height of the bar."""
        if not self._length:
            return False
        last = self._height - 1
        here = last if self.follows else min(last, self._top[0] * self._height // self._length)
        return y == here

    @property
    def _width(self) -> int:
        return max(1, self.size.width - 2)

    @property
    def _height(self) -> int:
        return max(1, self.size.height)

    def _look(self) -> None:
        """Go where it is to be, as far as what is on the way is there, and show that; ask for what is missing."""
        if not self.size.width:
            return
        self._missing = {}
        self._move()
        shown, end = self._rows_from(self._top)
        self._shown = shown[: self._height]
        first, last = self._top[0] // PART, min(end, self._length - 1) // PART
        for near in (last + 1, first - 1):
            if 0 <= near * PART < self._length:
                self._bytes(near * PART, near * PART + PART)
        wanted = tuple(self._missing)
        # Asked for once: the answer is under way.
        if wanted and wanted != self._asked:
            self._asked = wanted
            self.post_message(self.PartsWanted(wanted))
        where = "follows" if self.follows else f"{self._top[0] / max(1, self._length):.0%}"
        self.border_title = f"log · {_readable(self._length)} · {where}"
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
        # The last page is the last place to go to.
        self.follows = end is not None and place >= end
        self._top = end if self.follows and end is not None else place

    def _up(self, place: tuple[int, int], rows: int) -> tuple[int, int] | None:
        """So many rows before a place; None where that is not known yet."""
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
        """So many rows behind a place; None where that is not known yet."""
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
        """The rows in sight, as far as they are there, and the offset behind them."""
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
        """The rows of a line."""
        line = self._bytes(begin, end)
        return None if line is None else chop_cells(log_line(line), self._width) or [""]

    def _line_end(self, begin: int) -> int | None:
        """The offset behind a line."""
        limit = min(begin + _LONGEST, self._length)
        # Most lines end in what is there, even where the part behind it is not.
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
        """The offset of the line that ends before an offset."""
        low = max(0, end - 1 - _LONGEST)
        data = self._bytes(low, end - 1)
        if data is None:
            return None
        at = data.rfind(b"\n")
        if at >= 0:
            return low + at + 1
        return 0 if low == 0 else end - _LONGEST

    def _bytes(self, begin: int, end: int) -> bytes | None:
        """The bytes between two offsets; where they are not there, it is noted which parts are missing."""
        end = min(end, self._length)
        found = []
        is_whole = True
        for number in range(begin // PART, (max(begin, end - 1)) // PART + 1):
            base = number * PART
            known = self._parts.get(number, b"")
            if len(known) < min(PART, end - base):
                self._missing[number] = None
                is_whole = False
            elif number in self._parts:
                # The one that was seen last goes last.
                self._parts[number] = self._parts.pop(number)
            found.append(known[max(0, begin - base) : end - base])
        return b"".join(found) if is_whole else None


def _readable(size: int) -> str:
    return next((f"{size / unit:.1f} {name}" for unit, name in _UNITS if size >= unit), f"{size} bytes")


class LogFinder:
    """Finds a text in a log, as it stands there; it may take a while."""

    nowhere = "the log has that nowhere"

    def __init__(self, log: LogView) -> None:
        self._log, self._before, self._first = log, log.place, log.here

    def find(self, words: str, way: Way, told: Callable[[bool], None]) -> None:
        """Go to a line; behind the last comes the first."""
        if not words:
            self.go_back()
            told(True)
            return
        start = {0: self._first, 1: self._log.here + 1, -1: self._log.here}[way]
        self._log.find(Search(words, start, backwards=way < 0), told)

    def go_back(self) -> None:
        """Go back to the line where one was, or to the end that was followed."""
        self._log.leave_found(self._before)
