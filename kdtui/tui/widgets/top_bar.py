"""The line at the top: the name of the program, and the places to go to."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from kdtui.tui.actions import PLACES


class Place(Static):
    """A place to go to, by a click; its key does the same."""

    def __init__(self, place: str, label: str, *, here: bool) -> None:
        super().__init__(f"▸{label}" if here else f" {label}", classes="-here" if here else "", markup=False)
        self._place = place

    async def on_click(self) -> None:
        """Go there."""
        await self.run_action(f"app.show({self._place!r})")


class TopBar(Horizontal):
    """The places; a mark, and a colour, tells which one this is."""

    def __init__(self, here: str) -> None:
        super().__init__()
        self._here = here

    def compose(self) -> ComposeResult:
        """The name and the places."""
        yield Static("kdtui", id="name")
        for number, (place, (title, _)) in enumerate(PLACES.items(), start=1):
            yield Place(place, f"{number} {title}", here=place == self._here)
