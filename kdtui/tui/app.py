"""The app: its places, and what works everywhere."""

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

from kdtui.text import one_line
from kdtui.tui import leaving
from kdtui.tui.actions import PLACES, keys_of
from kdtui.tui.config import THEMES, Config, config_path, read_config
from kdtui.tui.core import idle_gc
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.finders import Finder
from kdtui.tui.core.help import HelpScreen, Key
from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.core.jump import JumpScreen
from kdtui.tui.core.palette import Palette, PaletteSource
from kdtui.tui.core.screen import ActionScreen, StoreScreen
from kdtui.tui.core.services import Services
from kdtui.tui.core.store_worker import StoreBusy
from kdtui.tui.core.task import Task
from kdtui.tui.core.task_form import TaskDialog
from kdtui.tui.memory import Memory, memory_path
from kdtui.tui.places.jobs.log_view import LogView
from kdtui.tui.places.registry import screen_of
from kdtui.tui.styles import Styles
from kdtui.tui.themes import HIGH_CONTRAST, NAMES
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.steady import Pane
from store.place import is_there
from store.records import RunSettings

_DONE_HERE = (RowTable, Input, Select, OptionList, VerticalScroll, Pane, LogView)
"""Parts whose keys all are bindings, or text."""

_FIELDS = (Input, TextArea, Select, OptionList)
"""Parts that something is typed into, or chosen in."""

_FINDING = 1.0
"""Seconds that a key waits for the rows that it may be about."""

_PATIENCE, _HASTE = 30.0, 5.0
"""Seconds that leaving waits for what is under way, which may have been paid for; and when a signal says to leave."""

_LONGEST_LINE = 4_096
"""Characters that are pasted into a line: it is drawn as a whole again and again."""

_HANDLING = 0.2
"""Seconds that a part of a screen may take to handle what it is told."""


def _why_not(node: DOMNode, binding: Binding) -> str:
    """Why the key of a screen can do nothing now; empty where the screen does not say."""
    why = node.why_not(actions.parse(binding.action)[1]) if isinstance(node, ActionScreen) else None
    return why or ""


async def _have_handled(parts: Iterable[DOMNode]) -> None:
    """Wait until parts of a screen, one after the other, have handled what they were told."""
    for part in parts:
        handled = asyncio.Event()
        if part.call_later(handled.set):
            # It may be gone by the same key.
            with suppress(TimeoutError):
                await asyncio.wait_for(handled.wait(), _HANDLING)


class KdtuiApp(Services):
    """Browse knowledge, have bundles generated, and watch what is at work.

    Args:
        database: the store; made when something is first stored.
        student: whom to ask at first; whom was asked last by default, or the shipped student.
        config: the user's.
        memory: what was so when the app was left last; nothing by default.
    """

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
        # What a key does is there at once.
        self.animation_level = "none"
        self._pressed_on: Screen[object] | None = None
        self._key = ""
        self._is_waiting = False
        # What becomes of the tasks that were at work when the app was left, in sentences.
        self.farewells: list[str] = []
        for theme in (HIGH_CONTRAST, *self.config.themes):
            self.register_theme(theme)
        wanted = self.config.theme or self.memory.theme
        if wanted in self.available_themes:
            self.theme = wanted
        self.set_keymap(dict(self.config.keymap))
        # Those that have been gone to.
        self._places: dict[str, StoreScreen[None]] = {}
        for place in PLACES:
            self.add_mode(place, partial(self._make_place, place))

    def _make_place(self, place: str) -> StoreScreen[None]:
        self._places[place] = screen_of(place, self.database)
        return self._places[place]

    @property
    def places(self) -> Mapping[str, StoreScreen[None]]:
        """The screens of the places that the user has been to."""
        return self._places

    def get_driver_class(self) -> type[Driver]:
        """What handles the terminal."""
        if sys.platform == "win32" or constants.DRIVER is not None:
            return super().get_driver_class()
        from kdtui.tui.terminal import Terminal

        return Terminal

    def on_mount(self) -> None:
        """A theme is remembered however it was chosen: by its key, or in Textual's part of the palette."""
        self.theme_changed_signal.subscribe(self, self._remember_theme)
        self._leave_out_colours()

    def _remember_theme(self, theme: Theme) -> None:
        self.memory.theme = theme.name
        self._leave_out_colours()

    def _leave_out_colours(self) -> None:
        """Have greys in place of the colours of a theme, or nothing in place of those of the terminal."""
        # Textual decides it once, by the theme that it begins with: what is in the other kind of theme comes out black.
        if self.no_color:
            self._filters[:] = [each for each in self._filters if not isinstance(each, Monochrome | NoColor)]
            self._filters.append(NoColor() if self.native_ansi_color else Monochrome())
            self.refresh_css(animate=False)

    async def on_unmount(self) -> None:
        """Remember, and end what is at work; the student is freed in its thread."""
        self.memory.save()
        self.farewells = [task.when_left for task in self.tasks_at_work if task.when_left]
        for activity in self.activities:
            activity.cancel()
        self.generation.close()
        self._is_waiting = True
        patience = _PATIENCE if self.return_code == 0 else _HASTE
        await asyncio.to_thread(leaving.wait_for, self.at_work, patience, tell=not self.is_headless)

    def leave_by(self, number: int) -> None:
        """Leave because of a signal; at once, where somebody interrupts the waiting for what is at work."""
        if self._is_waiting and number == signal.SIGINT:
            leaving.end_at_once(128 + number)
        if not self._exit:
            self.exit(return_code=128 + number)

    def on_store_busy(self, message: StoreBusy) -> None:
        """Say that something waits."""
        self.say(message.sentence, error=False)

    async def on_event(self, event: Event) -> None:
        """Handle what is pressed one after the other, and nothing any more when the app is being left."""
        if isinstance(event, InputEvent):
            self.pressed_at = monotonic()
            # It may come when the screens are gone.
            if not self.screen_stack:
                return
            if isinstance(event, Pressed) and not event.is_forwarded:
                self._key = event.key
                if self.screen is not self._pressed_on:
                    # It has just come; what is typed for it would be lost before its parts are there.
                    self._pressed_on = self.screen
                    await _have_handled([self.screen])
                await self._have_found()
                if event.key in keys_of(self.config.keymap)["app.suspend"] and self._is_beneath:
                    self.action_suspend_process()
                    return
                field = self.focused if isinstance(self.focused, _FIELDS) else None
                if await self._does(event):
                    # The end of a line, or what is chosen, is told to what that is a part of, up to the screen; what is
                    # chosen in a list to the list first.
                    await _have_handled([] if field is None else [field, *field.ancestors_with_self[:-1]])
                else:
                    await super().on_event(event)
                    # A key that ends a form would find it without what was typed.
                    await _have_handled([] if field is None else [field])
                return
        if isinstance(event, Paste) and self.screen_stack and isinstance(self.focused, Input):
            event.text = self._fit_for_a_line(event.text)
        await super().on_event(event)

    def _fit_for_a_line(self, text: str) -> str:
        """What of a pasted text goes into a line of a form or a search."""
        line = next(iter(text.splitlines()), "")
        if len(line) > _LONGEST_LINE:
            self.say(f"only the first {_LONGEST_LINE:,} of {len(line):,} characters were pasted", error=False)
        return line[:_LONGEST_LINE]

    @property
    def _is_beneath(self) -> bool:
        """Whether another screen hides the keys of the app, and needs none of them to undo what was typed."""
        return isinstance(self.screen, ModalScreen) and not isinstance(self.focused, TextArea)

    async def _have_found(self) -> None:
        """Wait until the list that has the focus shows what was looked for: what is pressed behind that is about it."""
        # It may be hidden meanwhile, where nothing is found, and have the focus no more.
        table = self.focused
        if isinstance(table, HitsTable) and await table.answered(_FINDING):
            await _have_handled(table.ancestors_with_self[:-1])

    async def _does(self, key: Pressed) -> bool:
        """Do what a key does in a list or a text, or what is none to be written in a line; so the next finds it done.

        Textual hands it to the part that has the focus first, and does it when it comes back: what is typed behind it
        would go to the same part, whatever the key has led to meanwhile.
        """
        focused = self.focused
        # Where nothing has it, the screen may be on its way, here or away: it does what is pressed in its own turn.
        if focused is None or focused.check_consume_key(key.key, key.character):
            return False
        if not isinstance(focused, _DONE_HERE) and key.key not in ("tab", "shift+tab"):
            return False
        if await self._check_bindings(key.key, priority=True) or await self._check_bindings(key.key):
            return True
        # What cannot be done now has said why, and would say it again.
        return key.key in self.screen.active_bindings

    def _handle_exception(self, error: Exception) -> None:
        # A screen that has just been opened is taken apart before its parts are there, when the app is left meanwhile.
        if not (self._exit and isinstance(error, NoMatches)):
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Instead of Textual's traceback: one sentence, and the rest in a file."""
        from kdtui.tui.core import crash_report

        error = self._exception
        self.panic(
            Text(one_line(crash_report.keep(error), 1000) if error is not None else "kdtui has ended by a fault")
        )

    async def run_action(
        self,
        action: "str | actions.ActionParseResult",
        default_namespace: DOMNode | None = None,
        namespaces: dict[str, DOMNode] | None = None,  # type: ignore[override]
    ) -> bool:
        """Do something; where it cannot be done now, say why."""
        try:
            done = await super().run_action(action, default_namespace, namespaces)
        except KeyError:
            # Where there is no room for a list of options, Textual looks for a line that is not there.
            if not isinstance(default_namespace, OptionList | CommandPalette):
                raise
            return True
        # Escape leaves whatever there is to leave, and where there is nothing all is well.
        if not done and isinstance(default_namespace, ActionScreen) and self._key != "escape":
            _, name, _ = actions.parse(action) if isinstance(action, str) else action
            if why := default_namespace.why_not(name):
                self.notify(one_line(why, 300), title="Not now", severity="warning", timeout=5, markup=False)
        return done

    def is_watched(self, task: Task) -> bool:
        """Whether a form shows the progress of a task."""
        return any(isinstance(screen, TaskDialog) and screen.current_task is task for screen in self.screen_stack)

    def open_find(self, finder: Finder, note: Callable[[str], None] = lambda words: None) -> None:  # noqa: ARG005
        """Open the line that finds words; `note` gets the words when it closes."""
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
        """Go to the workbench and open a session there, in place of what was open; what leaves it leads back to here.

        Args:
            choice: whom the workbench asks from now on; whom it asks already by default.
        """
        from kdtui.tui.places.workbench.screen import SessionWanted

        if choice is not None:
            self.use_choice(choice)
        came_from = self.current_mode
        self.go_to("workbench")
        # It waits in the queue of a screen that is not composed yet.
        self.screen.post_message(SessionWanted(dataset, session, came_from))

    def show_knowledge(self, query: str) -> None:
        """Go to the knowledge, and search there."""
        self.go_to("knowledge")
        screen = self.screen

        def search() -> None:
            screen.query_one("#search", Input).value = query

        # It waits in the queue of a screen that is not composed yet.
        screen.call_later(search)

    def action_suspend_process(self) -> None:
        """Stop the program and go back to the shell."""
        if self._driver is not None and self._driver.can_suspend:
            super().action_suspend_process()
        else:
            self.say("there is no shell to go back to")

    def action_command_palette(self) -> None:
        """Find what can be done by its name."""
        # Textual's has an id, and cannot be opened while the last one is still going.
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(Palette())

    def action_help(self) -> None:
        """List the keys that work on the screen."""
        keys: dict[str, Key] = {}
        # Those of the footer first.
        active = sorted(self.screen.active_bindings.values(), key=lambda each: not each.binding.show)
        for node, binding, enabled, tooltip in active:
            # Those without a tooltip are Textual's own, for moving within a widget.
            if not tooltip or binding.system:
                continue
            if tooltip not in keys:
                keys[tooltip] = Key([], tooltip, "" if enabled else _why_not(node, binding))
            keys[tooltip].displays.append(self.get_key_display(binding))
        keys["next"] = Key(["tab"], "Go to the next part of the screen", "")
        self.push_screen(HelpScreen(list(keys.values())))

    def action_messages(self) -> None:
        """Show what has been said, the last first."""
        text = Text()
        for said in reversed(self.said):
            text.append(f"{said.at}  ", style="bold")
            text.append(f"{said.sentence}\n")
            if said.details:
                text.append(f"{said.details.rstrip()}\n", style="dim")
            text.append("\n")
        self.push_screen(TextDialog("What the app has said", text if self.said else "nothing yet", copies=text.plain))

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
        """The command palette: what the keys do, or would do, then what Textual offers."""
        # What several keys do is there once.
        commands: dict[str, SystemCommand] = {}
        for node, binding, enabled, tooltip in screen.active_bindings.values():
            if not tooltip or binding.system or binding.action in ("quit", "command_palette"):
                continue
            why = "" if enabled else _why_not(node, binding)
            if enabled or why:
                about = f"{tooltip} (not now: {why})" if why else tooltip
                run = partial(self.run_action, binding.action, node)
                commands.setdefault(tooltip, SystemCommand(binding.description, about, run))
        yield from commands.values()
        yield from super().get_system_commands(screen)


def run_app(database: Path) -> int:
    """Run the app in this terminal until the user leaves it, and return the exit code.

    Raises:
        BadFile: the configuration says something that cannot be.
        StoreError: the database is none.
    """
    is_there(database)
    config = read_config(config_path(), NAMES)
    # Shells and libraries leave the size of a terminal there as it was once, and Textual would believe them.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    app = KdtuiApp(database, config=config, memory=Memory(memory_path(), database))
    app.call_later(idle_gc.collect_at_rest, app)
    loop = asyncio.new_event_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Who starts it may want it to live on, as nohup does.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            # Windows: the loop cannot.
            with suppress(NotImplementedError):
                loop.add_signal_handler(number, app.leave_by, number)
    app.run(loop=loop)
    for sentence in app.farewells:
        print(f"kdtui: {one_line(sentence)}", file=sys.stderr)
    # Its threads end, but for those that are still at work.
    loop.close()
    return leaving.end(app.return_code or 0, app.at_work)
