"""The help: the keys that work on a screen."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from kdtui.tui.actions import bindings
from kdtui.tui.core.dialogs import Dialog
from kdtui.tui.widgets.readable import Readable


@dataclass(frozen=True, slots=True)
class HelpEntry:
    """Keys with the same purpose, and why they do nothing now (empty if they work)."""

    displays: list[str]
    purpose: str
    why_not: str


class HelpScreen(Dialog[None]):
    """A list of keys with their purposes, over the screen where they work."""

    BINDINGS = bindings("help")

    def __init__(self, keys: Sequence[HelpEntry]) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        """Lay out the list."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="bold", no_wrap=True, justify="right")
        grid.add_column()
        for key in self._keys:
            purpose = Text(key.purpose)
            if key.why_not:
                purpose.append(f" (not now: {key.why_not})", style="dim")
            grid.add_row(Text(" ".join(key.displays)), purpose)
        with VerticalScroll(classes="box"):
            yield Static("Keys on this screen", classes="heading")
            yield Readable(grid)
            keys = map(self.kdtui.key_of, ("help.close", "help.find", "help.find_next", "app.palette"))
            hint = "{} closes this; {} finds words, {} the next match; {} finds any action by name".format(*keys)
            yield Static(hint, classes="hint", markup=False)

    def on_mount(self) -> None:
        """Focus the list."""
        self.set_focus(self.query_one(VerticalScroll))
