"""Jumping: each part of a screen that can have the focus gets a letter, and the letter leads there."""

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
"""Those that are easy to reach first; `q` is left to leave."""


class JumpScreen(ModalScreen[Widget | None], ActionScreen[Widget | None]):
    """Letters over the screen below, which go where its parts go. The result is the part that was chosen."""

    BINDINGS = bindings("jump")

    def __init__(self, below: Screen[object]) -> None:
        super().__init__()
        self._below = below
        self._targets: dict[str, tuple[Widget, Offset]] = {}

    def compose(self) -> ComposeResult:
        """The letters, each where its part begins, and what to do with them."""
        self._targets = self._find_targets()
        for letter, (_, offset) in self._targets.items():
            label = Static(Text(f" {letter} "), classes="letter", markup=False)
            label.styles.offset = offset
            yield label
        # Over the footer of the screen below, whose keys do nothing now.
        hint = f"A letter goes there  {self.kdtui.key_of('jump.close')} stays here"
        yield Static(Text(hint), id="hint", markup=False)

    def on_mount(self) -> None:
        """Hear of it when the parts are laid out anew, as in another size."""
        self._below.screen_layout_refresh_signal.subscribe(self, self._follow)

    def on_unmount(self) -> None:
        """Nothing is to be heard any more."""
        self._below.screen_layout_refresh_signal.unsubscribe(self)

    async def _follow(self, _: Screen[object]) -> None:
        if self._find_targets() != self._targets:
            await self.recompose()

    def _find_targets(self) -> dict[str, tuple[Widget, Offset]]:
        parts = ((part, part.region.offset) for part in self._below.focus_chain)
        return dict(zip(LETTERS, parts, strict=False))

    def on_key(self, event: events.Key) -> None:
        """Choose by a letter."""
        if event.key in self._targets:
            event.stop()
            self.dismiss(self._targets[event.key][0])

    def action_close(self) -> None:
        """Stay where one was."""
        self.dismiss(None)
