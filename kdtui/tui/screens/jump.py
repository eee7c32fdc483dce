"""Jumping: each part of a screen that can have the focus gets a letter, and the letter leads there."""

from collections.abc import Iterable

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from kdtui.tui.actions import bindings
from kdtui.tui.screens.base import OwnScreen

LETTERS = "asdfghjklwertuiopzxcvbnm"
"""Those that are easy to reach first; `q` is left to leave."""


class JumpScreen(ModalScreen[Widget | None], OwnScreen[Widget | None]):
    """Letters over the screen below. The result is the part that was chosen."""

    BINDINGS = bindings("jump")

    def __init__(self, targets: Iterable[Widget]) -> None:
        super().__init__()
        self._targets = dict(zip(LETTERS, targets, strict=False))

    def compose(self) -> ComposeResult:
        """The letters, each where its part begins."""
        for letter, target in self._targets.items():
            label = Static(Text(f" {letter} "), classes="letter", markup=False)
            region = target.region
            label.styles.offset = (region.x, region.y)
            yield label

    def on_key(self, event: events.Key) -> None:
        """Choose by a letter."""
        if event.key in self._targets:
            event.stop()
            self.dismiss(self._targets[event.key])

    def action_close(self) -> None:
        """Stay where one was."""
        self.dismiss(None)
