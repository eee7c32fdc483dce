"""The line at the bottom: the keys that work here and now."""

from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content
from textual.events import Click, MouseMove
from textual.screen import Screen
from textual.style import Style
from textual.widget import Widget

_FIRST_FOR_ROOM = "app.help"
"""What there is always room for, since it tells of the rest."""


@dataclass(frozen=True, slots=True)
class _Hint:
    """A key and what it does, in a word or two."""

    id: str | None
    key: str
    display: str
    label: str
    tooltip: str
    enabled: bool

    @property
    def width(self) -> int:
        """Cells, with the space before the next one."""
        return cell_len(f"{self.display} {self.label} ")


class Footer(Widget):
    """The keys that work here and now, as many as there is room for; a click does what the key does.

    It is one widget that paints all of them: one for each, as in Textual's own, takes a good part of the time that a
    screen takes to appear, whenever the focus moves.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES = {"footer--key"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self._hints: list[_Hint] = []

    def on_mount(self) -> None:
        """Hear of what changes."""
        self.screen.bindings_updated_signal.subscribe(self, self._update)

    def on_unmount(self) -> None:
        """Nothing is to be heard any more."""
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _update(self, screen: "Screen[object]") -> None:
        # An action that has several keys is shown with its first.
        hints: dict[str, _Hint] = {}
        for _, binding, enabled, tooltip in screen.active_bindings.values():
            if binding.show and binding.action not in hints:
                display = self.app.get_key_display(binding)
                hints[binding.action] = _Hint(
                    binding.id, binding.key, display, binding.description, tooltip or binding.description, enabled
                )
        if (found := list(hints.values())) != self._hints:
            self._hints = found
            self.refresh()

    def _shown(self, room: int) -> list[_Hint]:
        """Those that fit into so many cells, whole. Where not all do, what can be done now goes before what cannot."""
        # The space after the last one is not needed.
        left = room + 1
        shown: set[_Hint] = set()
        for hint in sorted(self._hints, key=lambda hint: (hint.id != _FIRST_FOR_ROOM, not hint.enabled)):
            left -= hint.width
            if left >= 0 or hint.id == _FIRST_FOR_ROOM:
                shown.add(hint)
        return [hint for hint in self._hints if hint in shown]

    def render(self) -> Content:
        """The line."""
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
        """Say what the key under the mouse is for."""
        hint = self._hint_at(event)
        self.tooltip = hint.tooltip if hint is not None else None

    def on_click(self, event: Click) -> None:
        """Do what the key does; where it cannot be done now, its key says why."""
        if (hint := self._hint_at(event)) is not None:
            self.app.simulate_key(hint.key)
