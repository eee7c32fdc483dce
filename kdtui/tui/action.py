"""What an action of the app is, and the names of the places."""

from collections.abc import Iterator
from dataclasses import dataclass

from textual.binding import Binding

PLACES = {
    "knowledge": ("Knowledge", "search the knowledge of teachers"),
    "workbench": ("Workbench", "sessions, and the bundles that students find in them"),
    "distill": ("Distill", "let a teacher distil knowledge, and follow its cost"),
    "samples": ("Samples", "named subsets of knowledge"),
    "jobs": ("Jobs", "trainings and their hosts"),
    "runs": ("Runs", "how well students score"),
    "models": ("Models", "bases, quantizations and adapters"),
    "studies": ("Studies", "grids of students to train, evaluate and compare"),
}
"""The main screens of the app, each with its title and its purpose, in the order of the number keys."""


@dataclass(frozen=True, slots=True)
class Action:
    """An action with its keys.

    Attributes:
        scope: the kind of screen or widget that it belongs to; `app` for actions that work everywhere.
        name: unique within the scope; a keymap calls the action by both together.
        keys: Textual's names of its keys, with commas between.
        label: for the footer, a word or two.
        purpose: for the help, as a sentence without a full stop.
        call: the method of the screen (`action_…`), with arguments; the name by default.
        footer: whether the footer shows it.
        priority: whether its key works before the keys of the focused widget.
    """

    scope: str
    name: str
    keys: str
    label: str
    purpose: str
    call: str = ""
    footer: bool = True
    priority: bool = False

    @property
    def id(self) -> str:
        """The name in a keymap."""
        return f"{self.scope}.{self.name}"

    def to_binding(self) -> Binding:
        """Return the action as a binding of Textual."""
        return Binding(
            self.keys,
            self.call or self.name,
            self.label,
            show=self.footer,
            tooltip=self.purpose,
            id=self.id,
            priority=self.priority,
        )


def hidden_actions(scope: str, *rows: tuple[str, str, str, str]) -> Iterator[Action]:
    """Yield actions that the footer does not show, from their names, keys, labels and purposes."""
    for name, keys, label, purpose in rows:
        yield Action(scope, name, keys, label, purpose, footer=False)


def find_actions(scope: str, purpose: str) -> Iterator[Action]:
    """Yield the actions that find words in a text."""
    yield Action(scope, "find", "slash", "Find", purpose)
    yield Action(scope, "find_next", "n", "Next", "Go to the next match")
    yield Action(scope, "find_previous", "N", "Previous", "Go to the previous match", footer=False)


def scroll_actions(scope: str) -> Iterator[Action]:
    """Yield the actions that scroll a text."""
    for name, keys, label in (
        ("down", "j,down", "Down"),
        ("up", "k,up", "Up"),
        ("page_down", "pagedown,ctrl+f", "A page down"),
        ("page_up", "pageup,ctrl+b", "A page up"),
        ("home", "home", "To the top"),
        ("end", "end,G", "To the end"),
    ):
        yield Action(scope, name, keys, label, f"Scroll {label.lower()}", f"scroll({name!r})", footer=False)
