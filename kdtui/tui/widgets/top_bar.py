"""The line at the top: the name of the program, the places to go to, and what is at work."""

from rich.cells import cell_len
from textual.content import Content
from textual.events import Click
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from kdtui.bundling.text import one_line
from kdtui.tui.actions import PLACES

_ROOM_FOR_NAME = 120
"""Cells from which on the name of the program has room, too."""


class TopBar(Widget):
    """The places, one of which this is: a mark, and a colour, tells which. A click goes there, as does its number.

    Attributes:
        work: what is at work, in words; what there is no room for is left out.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES = {"top-bar--name", "top-bar--here"}  # noqa: RUF012

    work: reactive[str] = reactive("")

    def __init__(self, here: str) -> None:
        super().__init__()
        self._here = here

    def render(self) -> Content:
        """The line."""
        line = Content()
        if self.size.width >= _ROOM_FOR_NAME:
            line += Content.assemble((" kdtui", self.get_visual_style("top-bar--name")), "  ")
        for number, (place, (title, _)) in enumerate(PLACES.items(), start=1):
            style, mark = Style.from_meta({"place": place}), " "
            if place == self._here:
                style, mark = style + self.get_visual_style("top-bar--here"), "▸"
            line += Content.assemble((f"{mark}{number} {title} ", style))
        if self.work:
            room = self.size.width - cell_len(line.plain)
            line += Content.assemble((one_line(f"⏳ {self.work}", room) if room > 3 else "⏳"[: room // 2], "dim"))
        return line

    async def on_click(self, event: Click) -> None:
        """Go to the place that was clicked at."""
        if place := event.style.meta.get("place"):
            await self.run_action(f"app.show({place!r})")
