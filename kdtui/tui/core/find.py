"""The find line: it finds words in the list, the text or the log above it."""

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from kdtui.tui.actions import bindings
from kdtui.tui.core.finders import Direction, Finder
from kdtui.tui.core.screen import ActionScreen


class FindScreen(ModalScreen[None], ActionScreen[None]):
    """A line at the bottom of the screen. It moves to the first match while the user types.

    Args:
        note: called with the words when the line closes.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("find")

    def __init__(self, finder: Finder, note: Callable[[str], None] = lambda words: None) -> None:  # noqa: ARG005
        super().__init__()
        self._finder, self._note = finder, note

    def compose(self) -> ComposeResult:
        """Lay out the line."""
        with Horizontal(id="find"):
            yield Label("Find")
            yield Input(id="words", compact=True)
            yield Static(self._keys, id="found", markup=False)

    @property
    def _keys(self) -> str:
        """The keys of the line."""
        actions = (("next", "next"), ("previous", "previous"), ("close", "back"))
        keys = [f"{self.kdtui.key_of(f'find.{action}')} {label}" for action, label in actions]
        return "  ".join([*keys[:2], "enter stay", *keys[2:]])

    @property
    def _words(self) -> str:
        return self.query_one("#words", Input).value

    @on(Input.Changed, "#words")
    def _find(self) -> None:
        """Go to the first match from the starting point on."""
        self._go(0)

    def _go(self, direction: Direction) -> None:
        self._finder.find(self._words, direction, self._show_result)

    def _show_result(self, is_found: bool) -> None:
        if self.is_mounted:
            self.query_one("#found", Static).update(self._keys if is_found else self._finder.nowhere)

    def action_next(self) -> None:
        self._go(1)

    def action_previous(self) -> None:
        self._go(-1)

    @on(Input.Submitted, "#words")
    def _stay(self) -> None:
        """Close the line and stay at the match."""
        self._note(self._words)
        self.dismiss(None)

    def action_close(self) -> None:
        """Close the line and go back to the starting point."""
        self._note(self._words)
        self._finder.go_back()
        self.dismiss(None)
