"""Jumping: each part of a screen that can have the focus gets a letter, which moves the focus there."""

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.geometry import Offset
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from kdtui.tui.actions import bindings
from kdtui.tui.core.screen import ActionScreen

LETTERS = "asdfghjklwertuiopzxcvbnm"
"""The letters that are easy to reach come first; `q` closes."""


class JumpScreen(ModalScreen[Widget | None], ActionScreen[Widget | None]):
    """Letters over the parts of the screen below. The result is the chosen part."""

    BINDINGS = bindings("jump")

    def __init__(self, below: Screen[object]) -> None:
        super().__init__()
        self._below = below
        self._targets: dict[str, tuple[Widget, Offset]] = {}

    def compose(self) -> ComposeResult:
        """Lay out the letters at their parts, and a hint."""
        self._targets = self._find_targets()
        for letter, (_, offset) in self._targets.items():
            label = Static(Text(f" {letter} "), classes="letter", markup=False)
            label.styles.offset = offset
            yield label
        # The hint covers the footer of the screen below, whose keys do not work now.
        hint = f"A letter moves the focus there  {self.kdtui.key_of('jump.close')} stays here"
        yield Static(Text(hint), id="hint", markup=False)

    def on_mount(self) -> None:
        """Follow changes of the layout below."""
        self._below.screen_layout_refresh_signal.subscribe(self, self._follow)

    def on_unmount(self) -> None:
        """Stop following."""
        self._below.screen_layout_refresh_signal.unsubscribe(self)

    async def _follow(self, _: Screen[object]) -> None:
        if self._find_targets() != self._targets:
            await self.recompose()

    def _find_targets(self) -> dict[str, tuple[Widget, Offset]]:
        parts = ((part, part.region.offset) for part in self._below.focus_chain)
        return dict(zip(LETTERS, parts, strict=False))

    def on_key(self, event: events.Key) -> None:
        """Choose the part of a letter."""
        if event.key in self._targets:
            event.stop()
            self.dismiss(self._targets[event.key][0])

    def action_close(self) -> None:
        self.dismiss(None)
