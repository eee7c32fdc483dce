"""The app: its places, and the actions that work everywhere."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import ClassVar

from rich.text import Text
from textual import actions, constants
from textual.app import SystemCommand
from textual.binding import Binding
from textual.command import CommandPalette, Provider
from textual.containers import VerticalScroll
from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.driver import Driver
from textual.events import Event, InputEvent, Paste
from textual.events import Key as Pressed
from textual.filter import Monochrome, NoColor
from textual.screen import ModalScreen, Screen
from textual.theme import Theme
from textual.widget import Widget
from textual.widgets import Input, OptionList, Select, TextArea

from kdtui.text import counted, one_line
from kdtui.tui import leaving
from kdtui.tui.action import PLACES
from kdtui.tui.actions import keys_of
from kdtui.tui.config import THEMES, Config, config_path, read_config
from kdtui.tui.core import idle_gc
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.finders import Finder
from kdtui.tui.core.help import HelpEntry, HelpScreen
from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.core.jump import JumpScreen
from kdtui.tui.core.palette import Palette, PaletteSource
from kdtui.tui.core.screen import ActionScreen, StoreScreen
from kdtui.tui.core.services import Services
from kdtui.tui.core.store_worker import StoreNotice
from kdtui.tui.core.task import Task
from kdtui.tui.core.task_form import TaskDialog
from kdtui.tui.memory import Memory, memory_path
from kdtui.tui.places.jobs.log_view import LogView
from kdtui.tui.places.registry import screen_of
from kdtui.tui.styles import Styles
from kdtui.tui.themes import HIGH_CONTRAST, THEME_NAMES
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.steady import Pane
from kdtui.workflows.pause_gate import CALL_PATIENCE
from models.event_loop import new_loop
from models.interrupts import INTERRUPTS
from store.location import database_exists
from store.records import RunSettings

_SYNCHRONOUS = (RowTable, Input, Select, OptionList, VerticalScroll, Pane, LogView)
"""Widgets whose keys are all bindings, or text."""

_FIELDS = (Input, TextArea, Select, OptionList)
"""Widgets for typing or choosing."""

_SEARCH_WAIT = 1.0
"""Seconds that a key waits for the results of a search."""

_QUIT_WAIT, _SIGNAL_WAIT = CALL_PATIENCE + 5.0, 5.0
"""Seconds that the end waits for running work, so that paid answers are stored; and after a signal."""

_LONGEST_LINE = 4_096
"""Characters that can be pasted into a line: the whole line is redrawn each time."""

_HANDLING_WAIT = 0.2
"""Seconds that a widget can take to handle its messages."""


def _why_not(node: DOMNode, binding: Binding) -> str:
    """Return why the key of a screen does nothing now; empty if the screen does not say."""
    why = node.why_not(actions.parse(binding.action)[1]) if isinstance(node, ActionScreen) else None
    return why or ""


async def _wait_for_queues(nodes: Iterable[DOMNode]) -> None:
    """Wait until nodes have handled their messages, one node after the other."""
    for node in nodes:
        handled = asyncio.Event()
        if node.call_later(handled.set):
            # The key can have removed the node.
            with suppress(TimeoutError):
                await asyncio.wait_for(handled.wait(), _HANDLING_WAIT)


class KdtuiApp(Services):
    """The app. The arguments are those of `Services`."""

    TITLE = "kdtui"
    CSS_PATH = "kdtui.tcss"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {PaletteSource}

    def __init__(
        self,
        database: Path,
        student: RunSettings | None = None,
        *,
        config: Config | None = None,
        memory: Memory | None = None,
    ) -> None:
        super().__init__(database, student, config=config, memory=memory)
        self.stylesheet = Styles(self.get_css_variables())
        # Changes appear at once.
        self.animation_level = "none"
        self._pressed_on: Screen[object] | None = None
        self._key = ""
        self._is_waiting = False
        # What happens to the activities that ran when the user quit, in sentences.
        self.farewells: list[str] = []
        for theme in (HIGH_CONTRAST, *self.config.themes):
            self.register_theme(theme)
        theme_name = self.config.theme or self.memory.theme
        if theme_name in self.available_themes:
            self.theme = theme_name
        self.set_keymap(dict(self.config.keymap))
        # The places that the user has opened.
        self._places: dict[str, StoreScreen[None]] = {}
        for place in PLACES:
            self.add_mode(place, partial(self._make_place, place))

    def _make_place(self, place: str) -> StoreScreen[None]:
        self._places[place] = screen_of(place, self.database)
        return self._places[place]

    @property
    def places(self) -> Mapping[str, StoreScreen[None]]:
        """The screens of the places that the user has opened."""
        return self._places

    def get_driver_class(self) -> type[Driver]:
        """Return the driver for the terminal."""
        if sys.platform == "win32" or constants.DRIVER is not None:
            return super().get_driver_class()
        from kdtui.tui.terminal import Terminal

        return Terminal

    def on_mount(self) -> None:
        """Remember each theme that the user chooses, by its key or in the palette."""
        self.theme_changed_signal.subscribe(self, self._remember_theme)
        self._apply_no_color()

    def _remember_theme(self, theme: Theme) -> None:
        self.memory.theme = theme.name
        self._apply_no_color()

    def _apply_no_color(self) -> None:
        """With NO_COLOR, show themes in greys, and no colours of the terminal."""
        # Textual decides this once, by its first theme; the other kind of theme would come out black.
        if self.no_color:
            self._filters[:] = [each for each in self._filters if not isinstance(each, Monochrome | NoColor)]
            self._filters.append(NoColor() if self.native_ansi_color else Monochrome())
            self.refresh_css(animate=False)

    async def on_unmount(self) -> None:
        """Save the memory, and stop all work; the student is freed in its thread."""
        self.memory.save()
        self.farewells = [each.when_left for each in self.activities if each.is_running and each.when_left]
        for activity in self.activities:
            activity.cancel()
        self.generation.close()
        self._is_waiting = True
        seconds = _QUIT_WAIT if self.return_code == 0 else _SIGNAL_WAIT
        announce = not self.is_headless
        if unmade := await leaving.finish_work(self.changes, self.running_threads, seconds, announce=announce):
            changes = counted(unmade, "change")
            self.farewells.append(f"{changes} to the database could not be made, since another program was writing")

    def leave_by(self, number: int) -> None:
        """Quit because of a signal. An interrupt while the app already waits for running work ends it at once."""
        if self._is_waiting and number == signal.SIGINT:
            leaving.end_at_once(128 + number)
        if not self._exit:
            self.exit(return_code=128 + number)

    def on_store_notice(self, message: StoreNotice) -> None:
        """Say that a worker waits for the store."""
        self.say(message.sentence, error=False)

    async def on_event(self, event: Event) -> None:
        """Handle keys in order; after the app has quit, drop them."""
        if isinstance(event, InputEvent):
            self.pressed_at = monotonic()
            # Input can come after the screens are gone.
            if not self.screen_stack:
                return
            if isinstance(event, Pressed) and not event.is_forwarded:
                self._key = event.key
                if self.screen is not self._pressed_on:
                    # The screen is new: keys would be lost before its widgets are mounted.
                    self._pressed_on = self.screen
                    await _wait_for_queues([self.screen])
                await self._wait_for_search()
                if event.key in keys_of(self.config.keymap)["app.suspend"] and self._is_covered:
                    self.action_suspend_process()
                    return
                field = self.focused if isinstance(self.focused, _FIELDS) else None
                if await self._run_key(event):
                    # A submitted line or a choice is posted to the ancestors, up to the screen; a choice in a list goes
                    # to the list first.
                    await _wait_for_queues([] if field is None else [field, *field.ancestors_with_self[:-1]])
                else:
                    await super().on_event(event)
                    # A key that accepts a form has to find the typed text in it.
                    await _wait_for_queues([] if field is None else [field])
                return
        if isinstance(event, Paste) and self.screen_stack and isinstance(self.focused, Input):
            event.text = self._line_of(event.text)
        await super().on_event(event)

    def _line_of(self, text: str) -> str:
        """Return the part of a pasted text that fits into an input line."""
        line = next(iter(text.splitlines()), "")
        if len(line) > _LONGEST_LINE:
            self.say(f"only the first {_LONGEST_LINE:,} of {len(line):,} characters were pasted", error=False)
        return line[:_LONGEST_LINE]

    @property
    def _is_covered(self) -> bool:
        """Whether a modal screen hides the keys of the app; a text area uses the suspend key to undo."""
        return isinstance(self.screen, ModalScreen) and not isinstance(self.focused, TextArea)

    async def _wait_for_search(self) -> None:
        """Wait until the focused list shows the results of its search: the next key is about them."""
        # Without results, the list is hidden and loses the focus.
        table = self.focused
        if isinstance(table, HitsTable) and await table.answered(_SEARCH_WAIT):
            await _wait_for_queues(table.ancestors_with_self[:-1])

    async def _run_key(self, key: Pressed) -> bool:
        """Run the binding of a key at once, before the next key; return whether the key had one.

        Textual passes a key to the focused widget first, and runs its binding when the key comes back. Keys typed after
        it would go to the same widget, even if the binding moves the focus or opens a screen.
        """
        focused = self.focused
        # Without focus, the screen can be opening or closing, and handles the key in its own turn.
        if focused is None or focused.check_consume_key(key.key, key.character):
            return False
        if not isinstance(focused, _SYNCHRONOUS) and key.key not in ("tab", "shift+tab"):
            return False
        if await self._check_bindings(key.key, priority=True) or await self._check_bindings(key.key):
            return True
        # An action that is not possible now has said why, and must not say it twice.
        return key.key in self.screen.active_bindings

    def _handle_exception(self, error: Exception) -> None:
        # If the user quits while a screen opens, the screen is removed before its widgets exist.
        if not (self._exit and isinstance(error, NoMatches)):
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Show one sentence in place of Textual's traceback, which goes to a file."""
        from kdtui.tui.core import crash_report

        error = self._exception
        self.panic(
            Text(
                one_line(crash_report.write_crash_report(error), 1000)
                if error is not None
                else "kdtui ended by a fault"
            )
        )

    async def run_action(
        self,
        action: "str | actions.ActionParseResult",
        default_namespace: DOMNode | None = None,
        namespaces: dict[str, DOMNode] | None = None,  # type: ignore[override]
    ) -> bool:
        """Run an action; if it is not possible now, say why."""
        try:
            done = await super().run_action(action, default_namespace, namespaces)
        except KeyError:
            # Without room for a list of options, Textual queries a line that does not exist.
            if not isinstance(default_namespace, OptionList | CommandPalette):
                raise
            return True
        # Escape without anything to leave needs no message.
        if not done and isinstance(default_namespace, ActionScreen) and self._key != "escape":
            _, name, _ = actions.parse(action) if isinstance(action, str) else action
            if why := default_namespace.why_not(name):
                self.notify(one_line(why, 300), title="Not now", severity="warning", timeout=5, markup=False)
        return done

    def is_watched(self, task: Task) -> bool:
        """Whether a form shows the progress of a task."""
        return any(isinstance(screen, TaskDialog) and screen.current_task is task for screen in self.screen_stack)

    def open_find(self, finder: Finder, note: Callable[[str], None] = lambda words: None) -> None:  # noqa: ARG005
        """Open the find line; `note` gets the words when it closes."""
        from kdtui.tui.core.find import FindScreen

        self.push_screen(FindScreen(finder, note))

    def open_import(self, datasets: Sequence[str], named_database: Path | None) -> None:
        """Open the form that imports a dataset."""
        from kdtui.tui.datasets.import_form import ImportDialog

        self.push_screen(ImportDialog(self, datasets, named_database))

    def open_demo_import(self) -> None:
        """Import the demo, and show its progress."""
        from kdtui.tui.datasets.demo_form import demo_dialog

        self.push_screen(demo_dialog(self))

    def open_session(self, dataset: str, session: str, choice: StudentChoice | None = None) -> None:
        """Go to the workbench and open a session there, in place of an open one. Closing it leads back to this place.

        Args:
            choice: the new student of the workbench; by default it keeps its student.
        """
        from kdtui.tui.places.workbench.messages import SessionWanted

        if choice is not None:
            self.use_choice(choice)
        came_from = self.current_mode
        self.go_to("workbench")
        # The message waits in the queue of a screen that is not composed yet.
        self.screen.post_message(SessionWanted(dataset, session, came_from))

    def show_knowledge(self, query: str) -> None:
        """Go to the place Knowledge and search there."""
        self.go_to("knowledge")
        screen = self.screen

        def search() -> None:
            screen.query_one("#search", Input).value = query

        # The message waits in the queue of a screen that is not composed yet.
        screen.call_later(search)

    def action_suspend_process(self) -> None:
        """Suspend the program and go back to the shell."""
        if self._driver is not None and self._driver.can_suspend:
            super().action_suspend_process()
        else:
            self.say("there is no shell to go back to")

    def action_command_palette(self) -> None:
        """Open the palette."""
        # Textual's palette has an id: it cannot open again while the last one closes.
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(Palette())

    def action_help(self) -> None:
        """List the keys that work on the screen."""
        keys: dict[str, HelpEntry] = {}
        # Actions of the footer come first.
        active = sorted(self.screen.active_bindings.values(), key=lambda each: not each.binding.show)
        for node, binding, enabled, tooltip in active:
            # Bindings without a tooltip are Textual's own, for moving within a widget.
            if not tooltip or binding.system:
                continue
            if tooltip not in keys:
                keys[tooltip] = HelpEntry([], tooltip, "" if enabled else _why_not(node, binding))
            keys[tooltip].displays.append(self.get_key_display(binding))
        keys["next"] = HelpEntry(["tab"], "Go to the next part of the screen", "")
        self.push_screen(HelpScreen(list(keys.values())))

    def action_messages(self) -> None:
        """Show the past messages, the last one first."""
        text = Text()
        for message in reversed(self.past_messages):
            text.append(f"{message.at}  ", style="bold")
            text.append(f"{message.sentence}\n")
            if message.details:
                text.append(f"{message.details.rstrip()}\n", style="dim")
            text.append("\n")
        content = text if self.past_messages else "nothing yet"
        self.push_screen(TextDialog("Messages of the app", content, copies=text.plain))

    def action_next_theme(self) -> None:
        """Use the next theme."""
        names = list(dict.fromkeys((*THEMES, *(own.name for own in self.config.themes), self.theme)))
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        self.notify(f"theme {self.theme}", markup=False, timeout=2)

    def action_jump(self) -> None:
        """Go to a part of the screen by a letter."""

        def go(target: Widget | None) -> None:
            if target is not None:
                self.screen.set_focus(target)

        self.push_screen(JumpScreen(self.screen), go)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yield the commands of the palette: the actions of the screen, then those of Textual."""
        # An action with several keys is listed once.
        commands: dict[str, SystemCommand] = {}
        for node, binding, enabled, tooltip in screen.active_bindings.values():
            if not tooltip or binding.system or binding.action in ("quit", "command_palette"):
                continue
            why = "" if enabled else _why_not(node, binding)
            if enabled or why:
                help = f"{tooltip} (not now: {why})" if why else tooltip
                run = partial(self.run_action, binding.action, node)
                commands.setdefault(tooltip, SystemCommand(binding.description, help, run))
        yield from commands.values()
        yield from super().get_system_commands(screen)


def run_app(database: Path) -> int:
    """Run the app in this terminal until the user quits, and return the exit code.

    Raises:
        BadFile: the configuration is wrong.
        StoreError: the file is not a database.
    """
    database_exists(database)
    config = read_config(config_path(), THEME_NAMES)
    # These can hold an old size of the terminal, which Textual would use.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    app = KdtuiApp(database, config=config, memory=Memory(memory_path(), database))
    app.call_later(idle_gc.collect_at_rest, app)
    loop = new_loop()
    for number in INTERRUPTS:
        # A signal that the parent ignores stays ignored, as with nohup.
        if signal.getsignal(number) is not signal.SIG_IGN:
            # The event loop does not support this on Windows.
            with suppress(NotImplementedError):
                loop.add_signal_handler(number, app.leave_by, number)
    app.run(loop=loop)
    for sentence in app.farewells:
        print(f"kdtui: {one_line(sentence)}", file=sys.stderr)
    # Idle threads end with the loop.
    loop.close()
    return leaving.end_process(app.return_code or 0, app.running_threads)
