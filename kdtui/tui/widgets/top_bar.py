"""The line at the top: the name of the program, and the places to go to."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

PLACES = {"sessions": "1 Sessions", "knowledge": "2 Knowledge"}
"""The modes of the app, with the key that leads there."""


class Place(Static):
    """A place to go to, by a click; its key does the same."""

    def __init__(self, mode: str, label: str, *, here: bool) -> None:
        super().__init__(f"▸{label}" if here else f" {label}", classes="-here" if here else "", markup=False)
        self._mode = mode

    async def on_click(self) -> None:
        """Go there."""
        await self.run_action(f"app.show({self._mode!r})")


class TopBar(Horizontal):
    """The places; a mark, and a colour, tells which one this is."""

    def __init__(self, here: str) -> None:
        super().__init__()
        self._here = here

    def compose(self) -> ComposeResult:
        """The name and the places."""
        yield Static("kdtui", id="name")
        for mode, label in PLACES.items():
            yield Place(mode, label, here=mode == self._here)
