"""The keys that work on a screen."""

from collections.abc import Sequence
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class HelpScreen(ModalScreen[None]):
    """A list of keys, each with what it does, over the screen where they work."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close"),
        Binding("j", "scroll('down')", "Down", show=False),
        Binding("k", "scroll('up')", "Up", show=False),
    ]

    def __init__(self, keys: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        """The list."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="bold", no_wrap=True, justify="right")
        grid.add_column()
        for key, purpose in self._keys:
            grid.add_row(Text(key), Text(purpose))
        with VerticalScroll(id="keys"):
            yield Static("Keys that work here", classes="heading")
            yield Static(grid)
            yield Static("\nescape closes this; ctrl+p finds everything by name", classes="hint", markup=False)

    def action_scroll(self, way: str) -> None:
        """Scroll the list a line."""
        keys = self.query_one("#keys")
        if way == "down":
            keys.scroll_down()
        else:
            keys.scroll_up()
