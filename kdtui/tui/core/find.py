"""Finding words: a line at the bottom of the screen, beside the list, the text or the log that they are in."""

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from kdtui.tui.actions import bindings
from kdtui.tui.core.finders import Finder, Way
from kdtui.tui.core.screen import ActionScreen


class FindScreen(ModalScreen[None], ActionScreen[None]):
    """Words to find a place by; one goes there while they are typed.

    Args:
        note: is told what was looked for when the line is left.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("find")

    def __init__(self, finder: Finder, note: Callable[[str], None] = lambda words: None) -> None:  # noqa: ARG005
        super().__init__()
        self._finder, self._note = finder, note

    def compose(self) -> ComposeResult:
        """The line."""
        with Horizontal(id="find"):
            yield Label("Find")
            yield Input(id="words", compact=True)
            yield Static(self._keys, id="found", markup=False)

    @property
    def _keys(self) -> str:
        """What can be done here."""
        actions = (("next", "next"), ("previous", "previous"), ("close", "back"))
        keys = [f"{self.kdtui.key_of(f'find.{action}')} {label}" for action, label in actions]
        return "  ".join([*keys[:2], "enter stay", *keys[2:]])

    @property
    def _words(self) -> str:
        return self.query_one("#words", Input).value

    @on(Input.Changed, "#words")
    def _find(self) -> None:
        """Go to the first place from where one was that has the words."""
        self._go(0)

    def _go(self, way: Way) -> None:
        self._finder.find(self._words, way, self._tell)

    def _tell(self, is_found: bool) -> None:
        if self.is_mounted:
            self.query_one("#found", Static).update(self._keys if is_found else self._finder.nowhere)

    def action_next(self) -> None:
        """Go to the next place that has the words."""
        self._go(1)

    def action_previous(self) -> None:
        """Go to the previous place that has the words."""
        self._go(-1)

    @on(Input.Submitted, "#words")
    def _stay(self) -> None:
        """Leave the line, and stay where it led."""
        self._note(self._words)
        self.dismiss(None)

    def action_close(self) -> None:
        """Leave the line, and go back to where one was."""
        self._note(self._words)
        self._finder.go_back()
        self.dismiss(None)
