"""The bottom line: the keys that work now."""

from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content
from textual.events import Click, MouseMove
from textual.screen import Screen
from textual.style import Style
from textual.widget import Widget

_FIRST_FOR_ROOM = "app.help"
"""The action that is always shown, because it lists the others."""


@dataclass(frozen=True, slots=True)
class _Hint:
    """A key and its label."""

    id: str | None
    key: str
    display: str
    label: str
    tooltip: str
    enabled: bool

    @property
    def width(self) -> int:
        """The width, with the space before the next hint."""
        return cell_len(f"{self.display} {self.label} ")


class Footer(Widget):
    """The keys that work now, as far as they fit; a click does the same as the key.

    One widget paints all of them. Textual's footer has a widget for each key, and rebuilds them whenever the focus
    moves, which takes a large part of the time in which a screen appears.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES = {"footer--key"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self._hints: list[_Hint] = []

    def on_mount(self) -> None:
        """Follow changes of the bindings."""
        self.screen.bindings_updated_signal.subscribe(self, self._update)

    def on_unmount(self) -> None:
        """Stop following."""
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _update(self, screen: "Screen[object]") -> None:
        # An action with several keys is shown with the first.
        hints: dict[str, _Hint] = {}
        for _, binding, enabled, tooltip in screen.active_bindings.values():
            if binding.show and binding.action not in hints:
                display = self.app.get_key_display(binding)
                hints[binding.action] = _Hint(
                    binding.id, binding.key, display, binding.description, tooltip or binding.description, enabled
                )
        if (current := list(hints.values())) != self._hints:
            self._hints = current
            self.refresh()

    def _shown(self, room: int) -> list[_Hint]:
        """Return the hints that fit into the room; possible actions go first."""
        # The space after the last hint is not needed.
        left = room + 1
        shown: set[_Hint] = set()
        for hint in sorted(self._hints, key=lambda hint: (hint.id != _FIRST_FOR_ROOM, not hint.enabled)):
            left -= hint.width
            if left >= 0 or hint.id == _FIRST_FOR_ROOM:
                shown.add(hint)
        return [hint for hint in self._hints if hint in shown]

    def render(self) -> Content:
        """Draw the line."""
        key_style = self.get_visual_style("footer--key")
        line = Content()
        for hint in self._shown(self.size.width):
            style = Style.from_meta({"hint": hint.key}) + Style(dim=not hint.enabled or None)
            line += Content.assemble((hint.display, key_style + style), (f" {hint.label}", style), " ")
        return line

    def _hint_at(self, event: Click | MouseMove) -> _Hint | None:
        key = event.style.meta.get("hint")
        return next((hint for hint in self._hints if hint.key == key), None)

    def on_mouse_move(self, event: MouseMove) -> None:
        """Show the purpose of the key under the mouse."""
        hint = self._hint_at(event)
        self.tooltip = hint.tooltip if hint is not None else None

    def on_click(self, event: Click) -> None:
        """Press the key; if its action is not possible now, that says why."""
        if (hint := self._hint_at(event)) is not None:
            self.app.simulate_key(hint.key)
