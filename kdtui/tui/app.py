"""The app: its places, and what works everywhere."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import actions, constants
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette, Provider
from textual.containers import VerticalScroll
from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.driver import Driver
from textual.events import Event, InputEvent, Paste
from textual.events import Key as Pressed
from textual.filter import Monochrome, NoColor
from textual.screen import ModalScreen, Screen
from textual.signal import Signal
from textual.theme import Theme
from textual.widget import Widget
from textual.widgets import Input, OptionList, Select, TextArea

from kdtui.text import one_line
from kdtui.tui import leaving
from kdtui.tui.actions import PLACES, bindings, keys_of
from kdtui.tui.config import THEMES, Config, config_path, read_config
from kdtui.tui.core import idle_gc
from kdtui.tui.core.activity import Activity, Ended, Happened
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.help import HelpScreen, Key
from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.core.jump import JumpScreen
from kdtui.tui.core.palette import Palette, PaletteSource
from kdtui.tui.core.screen import KdtuiScreen, OwnScreen, RowWanted
from kdtui.tui.core.store_worker import StoreBusy
from kdtui.tui.core.task import Task
from kdtui.tui.core.task_form import TaskForm
from kdtui.tui.memory import Memory, memory_path
from kdtui.tui.places.registry import screen_of
from kdtui.tui.student.choice import Choice
from kdtui.tui.student.generation import GenerationThread
from kdtui.tui.styles import Styles
from kdtui.tui.themes import HIGH_CONTRAST, NAMES
from kdtui.tui.widgets.log_view import LogView
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.steady import Pane
from store.place import is_there
from store.records import RunSettings

if TYPE_CHECKING:
    from kdtui.tui.places.workbench.session import SessionList

_KEPT = 200
"""Sentences that can be read again."""

_SHORT, _LONG = 5.0, 10.0
"""Seconds that a sentence is shown, and one about a problem."""

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


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence that the app has said, when, what more there is to know of it, and until when it is shown."""

    at: str
    sentence: str
    details: str
    until: float


def _why_not(node: DOMNode, binding: Binding) -> str:
    """Why the key of a screen can do nothing now; empty where the screen does not say."""
    why = node.why_not(actions.parse(binding.action)[1]) if isinstance(node, OwnScreen) else None
    return why or ""


async def _have_handled(parts: Iterable[DOMNode]) -> None:
    """Wait until parts of a screen, one after the other, have handled what they were told."""
    for part in parts:
        handled = asyncio.Event()
        if part.call_later(handled.set):
            # It may be gone by the same key.
            with suppress(TimeoutError):
                await asyncio.wait_for(handled.wait(), _HANDLING)


class KdtuiApp(App[None]):
    """Browse knowledge, have bundles generated, and watch what is at work.

    Args:
        database: the store; made when something is first stored.
        student: whom to ask at first; whom was asked last by default, or the shipped student.
        config: the user's.
        memory: what was so when the app was left last; nothing by default.
    """

    TITLE = "kdtui"
    CSS_PATH = "kdtui.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("app")
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {PaletteSource}

    def __init__(
        self,
        database: Path,
        student: RunSettings | None = None,
        *,
        config: Config | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.memory = memory or Memory(None, database)
        # Textual composes the screen of this place first, and no other until it is gone to.
        self.DEFAULT_MODE = self.memory.place if self.memory.place in PLACES else next(iter(PLACES))  # type: ignore[misc]
        super().__init__()
        self.stylesheet = Styles(self.get_css_variables())
        # What a key does is there at once.
        self.animation_level = "none"
        self.database = database
        self.config = config or Config()
        self.generation = GenerationThread(database)
        remembered = Choice.from_memory(self.memory.of("workbench").get("choice"))
        # Those that the user chose or pointed at last; until then, the workbench remembers one.
        self.datasets_here: tuple[str, ...] = ()
        self.choice = Choice.of(student) if student is not None or remembered is None else remembered
        # Until somebody chooses, the default adapter of a dataset answers it.
        self.has_chosen = student is not None or remembered is not None
        self.activities: list[Activity] = []
        # Of each kind the last one: it is at work, or what its form was filled in with is still of use.
        self.tasks: dict[str, Task] = {}
        self.task_changed: Signal[Task] = Signal(self, "task changed")
        self.data_changed: Signal[None] = Signal(self, "data changed")
        self._said: list[Said] = []
        self._pressed_on: Screen[object] | None = None
        self._key = ""
        self._is_waiting = False
        self.pressed_at = monotonic()
        # What becomes of the tasks that were at work when the app was left, in sentences.
        self.farewells: list[str] = []
        for theme in (HIGH_CONTRAST, *self.config.themes):
            self.register_theme(theme)
        wanted = self.config.theme or self.memory.theme
        if wanted in self.available_themes:
            self.theme = wanted
        self.set_keymap(dict(self.config.keymap))
        # Those that have been gone to.
        self.places: dict[str, KdtuiScreen[None]] = {}
        for place in PLACES:
            self.add_mode(place, partial(self._make_place, place))

    def _make_place(self, place: str) -> KdtuiScreen[None]:
        self.places[place] = screen_of(place, self.database)
        return self.places[place]

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

    @property
    def at_work(self) -> list[Thread]:
        """The threads that work, or wait for some."""
        threads = [activity.thread for activity in self.activities if activity.is_running]
        return threads if self.generation.thread is None else [self.generation.thread, *threads]

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

    def begin(self, activity: Activity) -> Activity:
        """Start work that goes on while the app runs, whatever screen is looked at."""
        self.activities = [each for each in self.activities if each.is_running]
        self.activities.append(activity)
        activity.start()
        return activity

    def begin_task(self, task: Task) -> Task:
        """Start a task, whose messages come to the app; what is at work already of its kind goes on instead."""
        before = self.tasks.get(task.kind)
        if before is not None and not before.is_over:
            return before
        self.tasks[task.kind] = task
        self.begin(task)
        self.task_changed.publish(task)
        return task

    def stop_task(self, task: Task) -> None:
        """Stop a task at its next step."""
        task.cancel()
        self.task_changed.publish(task)

    @property
    def tasks_at_work(self) -> list[Task]:
        """Those that are not over."""
        return [task for task in self.tasks.values() if not task.is_over]

    def on_happened(self, message: Happened) -> None:
        """Show how far a task is."""
        if isinstance(task := message.activity, Task):
            task.note(message.event)
            if alarm := task.alarm(message.event):
                self.say(alarm)
            self.task_changed.publish(task)

    def on_ended(self, message: Ended) -> None:
        """Say how a task has ended, unless its form shows that it failed."""
        task = message.activity
        if not isinstance(task, Task):
            return
        task.problem, task.is_over = message.problem, True
        is_watched = any(isinstance(screen, TaskForm) and screen.work is task for screen in self.screen_stack)
        if task.problem is not None:
            # The form says it, but not where a fault of the program comes from.
            if not is_watched or message.details:
                again = f"; {self.key_of(task.action)} shows the form again" if task.action else ""
                self.say(f"{task.name}: {task.problem}{again}", details=message.details)
        elif task.is_done:
            self.say(task.outcome, error=False, details=task.details)
        elif not is_watched:
            self.say(task.when_stopped, error=False)
        if task.problem is None:
            # What was filled in is done, and begins nothing again.
            del self.tasks[task.kind]
        if task.changes_data:
            self.data_changed.publish(None)
        self.task_changed.publish(task)

    def say(self, sentence: str, *, error: bool = True, details: str = "") -> None:
        """Show a sentence for some seconds, and keep it with its details."""
        timeout = _LONG if error else _SHORT
        # Two parts of a screen may fail by the same.
        is_shown = bool(self._said) and self._said[-1].sentence == sentence and self._said[-1].until > monotonic()
        self._said.append(Said(datetime.now().strftime("%H:%M:%S"), sentence, details, monotonic() + timeout))
        del self._said[:-_KEPT]
        if is_shown:
            return
        shown = one_line(sentence, 600)
        if details:
            shown += f" ({self.key_of('app.messages')} tells more)"
        self.notify(shown, severity="error" if error else "information", timeout=timeout, markup=False)

    def key_of(self, action: str) -> str:
        """How the key of an action is shown: `knowledge.mark`, as in a keymap."""
        return self.get_key_display(Binding(keys_of(self.config.keymap)[action][0], ""))

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
        if not done and isinstance(default_namespace, OwnScreen) and self._key != "escape":
            _, name, _ = actions.parse(action) if isinstance(action, str) else action
            if why := default_namespace.why_not(name):
                self.notify(one_line(why, 300), title="Not now", severity="warning", timeout=5, markup=False)
        return done

    def action_show(self, place: str) -> None:
        """Go to a place. What was open there is still open, and what runs elsewhere goes on."""
        if place != self.current_mode:
            self.memory.place = place
            self.switch_mode(place)
            self.memory.save()

    def use_choice(self, choice: Choice) -> None:
        """Ask this student from now on, in the workbench."""
        self.choice, self.has_chosen = choice, True
        self.memory.of("workbench")["choice"] = choice.to_memory()

    def forget_usual_choice(self) -> None:
        """Where the usual student was chosen, ask the default of each dataset again."""
        if self.choice == Choice():
            self.has_chosen = False
            self.memory.of("workbench").pop("choice", None)

    def open_session(self, dataset: str, session: str, choice: Choice | None = None) -> None:
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

    def try_on_session(self, sessions: "SessionList", at: int, choice: Choice, other: Choice | None = None) -> None:
        """Open a session over what is on the screen, with settings of its own: those of the workbench stay as they are.

        Args:
            choice: whom to ask about it.
            other: settings to compare with, at once.
        """
        from kdtui.tui.places.workbench.session import SessionScreen

        self.push_screen(SessionScreen(self.database, sessions, at, own=choice, other=other, place=self.current_mode))

    def show_in_place(self, place: str, key: str) -> None:
        """Go to a place, and to the row of this key in its list; what was open there is left."""
        self.go_to(place)
        # It waits in the queue of a screen that is not composed yet.
        self.screen.post_message(RowWanted(key))

    def show_dataset(self, name: str) -> None:
        """Go to the workbench, and list the sessions of a dataset there."""
        self.show_in_place("workbench", name)

    def go_to(self, place: str) -> None:
        """Go to a place as it is at first: what was open over it is left."""
        self.action_show(place)
        while len(self.screen_stack) > 1:
            self.pop_screen()

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
        for said in reversed(self._said):
            text.append(f"{said.at}  ", style="bold")
            text.append(f"{said.sentence}\n")
            if said.details:
                text.append(f"{said.details.rstrip()}\n", style="dim")
            text.append("\n")
        self.push_screen(TextDialog("What the app has said", text if self._said else "nothing yet", copies=text.plain))

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
