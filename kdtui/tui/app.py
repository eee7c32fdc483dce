"""The app: two places, sessions and knowledge, and what works everywhere."""

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from kdtui.tui.choice import Choice
from kdtui.tui.generation import GenerationThread
from kdtui.tui.screens.help import HelpScreen
from kdtui.tui.screens.knowledge import KnowledgeScreen
from kdtui.tui.screens.sessions import SessionsScreen
from store.records import RunSettings


class KdtuiApp(App[None]):
    """Browse sessions and knowledge, and have bundles generated.

    Args:
        database: the store; made when it is not there.
        student: whom to ask at first; the embedded student by default.
    """

    TITLE = "kdtui"
    CSS_PATH = "kdtui.tcss"
    DEFAULT_MODE = "sessions"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "show('sessions')", "Sessions", show=False, tooltip="Go to the sessions"),
        Binding("2", "show('knowledge')", "Knowledge", show=False, tooltip="Go to the knowledge"),
        Binding("question_mark", "help", "Help", key_display="?", tooltip="List the keys"),
        Binding("q", "quit", "Quit", tooltip="Leave the program"),
    ]

    def __init__(self, database: Path, student: RunSettings | None = None) -> None:
        super().__init__()
        self._generation = GenerationThread(database)
        choice = Choice.of(student)
        self.add_mode("sessions", lambda: SessionsScreen(database, self._generation, choice))
        self.add_mode("knowledge", lambda: KnowledgeScreen(database))

    async def on_unmount(self) -> None:
        """End the thread that generates; the student is freed in it."""
        await asyncio.to_thread(self._generation.close)

    def action_show(self, mode: str) -> None:
        """Go to a place. What was open there is still open, and what runs elsewhere goes on."""
        if mode != self.current_mode:
            self.switch_mode(mode)

    def action_help(self) -> None:
        """List the keys that work on the screen."""
        # Those of the footer first.
        active = sorted(self.screen.active_bindings.values(), key=lambda each: not each.binding.show)
        keys: dict[str, list[str]] = {}
        for _, binding, _, tooltip in active:
            # Those without a tooltip are Textual's own, for moving within a widget.
            if tooltip and not binding.system:
                keys.setdefault(tooltip, []).append(self.get_key_display(binding))
        keys["Go to the next part of the screen"] = ["tab"]
        self.push_screen(HelpScreen([(" ".join(displays), purpose) for purpose, displays in keys.items()]))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The command palette: what the keys do, then what Textual offers."""
        for namespace, binding, enabled, tooltip in screen.active_bindings.values():
            if enabled and tooltip and not binding.system and binding.action != "quit":
                run = partial(self.run_action, binding.action, namespace)
                yield SystemCommand(binding.description, tooltip, run)
        yield from super().get_system_commands(screen)


def run_app(database: Path) -> int:
    """Run the app in this terminal until the user leaves it, and return the exit code."""
    app = KdtuiApp(database)
    app.run()
    return app.return_code or 0
