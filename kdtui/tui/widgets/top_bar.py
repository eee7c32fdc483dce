"""The top line: the name of the program, the places, and the running tasks."""

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content
from textual.events import Click
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from kdtui.text import one_line
from kdtui.tui.action import PLACES

_ROOM_FOR_NAME = 120
"""The width from which on the name of the program is shown."""


class TopBar(Widget):
    """The places; a mark and a colour show the current one. A click goes to a place, like its number.

    Attributes:
        work: the running tasks in words; cut where there is no room.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES = {"top-bar--name", "top-bar--here"}  # noqa: RUF012

    work: reactive[str] = reactive("")

    def __init__(self, current: str) -> None:
        super().__init__()
        self._current = current

    def render(self) -> Content:
        """Draw the line."""
        line = Content()
        if self.size.width >= _ROOM_FOR_NAME:
            line += Content.assemble((" kdtui", self.get_visual_style("top-bar--name")), "  ")
        titles, gap = shortened(
            [title for title, _ in PLACES.values()], list(PLACES).index(self._current), self.size.width
        )
        for number, (place, title) in enumerate(zip(PLACES, titles, strict=True), start=1):
            style, mark = Style.from_meta({"place": place}), " "
            if place == self._current:
                style, mark = style + self._current_style, "▸"
            line += Content.assemble((_entry(mark, number, title, gap), style))
        if not gap:
            line += Content(" ")
        if self.work:
            room = self.size.width - cell_len(line.plain)
            line += Content.assemble((one_line(f"⏳ {self.work}", room) if room > 3 else "⏳"[: room // 2], "dim"))
        return line

    @property
    def _current_style(self) -> Style:
        # The visual style lacks the text style `reverse`.
        is_reversed = self.get_component_styles("top-bar--here").text_style.reverse
        return self.get_visual_style("top-bar--here") + Style(reverse=is_reversed)

    async def on_click(self, event: Click) -> None:
        """Go to the clicked place."""
        if place := event.style.meta.get("place"):
            await self.run_action(f"app.show({place!r})")


def _entry(mark: str, number: int, title: str, gap: str) -> str:
    return f"{mark}{number} {title}{gap}" if title else f"{mark}{number}{gap}"


def shortened(titles: Sequence[str], current: int, room: int) -> tuple[list[str], str]:
    """Return titles that fit into the room with their numbers, and the gap between two of them.

    Where there is little room, the gap goes first; then the other titles are cut, and the current one last.

    Args:
        current: the index of the current place.
        room: the width in cells.
    """
    longest = max(map(len, titles))
    # The letters of the other titles, and of the current one.
    lengths = [(most, longest) for most in range(longest, -1, -1)] + [(0, most) for most in range(longest, -1, -1)]
    for others, own in lengths:
        cut = [title[: own if at == current else others] for at, title in enumerate(titles)]
        for gap in (" ", ""):
            # The gap after the last title is not needed.
            if sum(len(_entry(" ", number, title, gap)) for number, title in enumerate(cut, 1)) <= room + len(gap):
                return cut, gap
    return cut, gap
