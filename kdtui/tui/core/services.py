"""The part of the app that screens use: its state, its tasks, what it says, and the ways to other places."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.signal import Signal

from kdtui.text import one_line
from kdtui.tui.action import PLACES
from kdtui.tui.actions import bindings, keys_of
from kdtui.tui.config import Config
from kdtui.tui.core.activity import Activity, Ended, Happened
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.finders import Finder
from kdtui.tui.core.generation import GenerationThread
from kdtui.tui.core.task import Task
from kdtui.tui.memory import Memory
from store.records import RunSettings

_KEPT = 200
"""Sentences that can be read again."""

_SHORT, _LONG = 5.0, 10.0
"""Seconds that a sentence is shown, and one about a problem."""


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence that the app has shown.

    Attributes:
        at: the time of day.
        details: more to read about it.
        until: when it is no longer shown, by the monotonic clock.
    """

    at: str
    sentence: str
    details: str
    until: float


class RowWanted(Message):
    """Ask a place to show the row of this key in its list, and to open it where it can be opened."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


class Services(App[None]):
    """The app as screens know it. `kdtui.tui.app.KdtuiApp` adds the screens, the keys and the terminal.

    Args:
        database: the store; made when something is first stored.
        student: whom to ask at first; by default whoever was asked last, or the shipped student.
        config: the user's.
        memory: the state of the app when the user left it last; empty by default.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("app")

    def __init__(
        self,
        database: Path,
        student: RunSettings | None = None,
        *,
        config: Config | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.memory = memory or Memory(None, database)
        # Textual composes the screen of this place first, and the others when the user goes there.
        self.DEFAULT_MODE = self.memory.place if self.memory.place in PLACES else next(iter(PLACES))  # type: ignore[misc]
        super().__init__()
        self.database = database
        self.config = config or Config()
        self.generation = GenerationThread(database)
        remembered = StudentChoice.from_memory(self.memory.of("workbench").get("choice"))
        # Those that the user chose or pointed at last; until then, the workbench remembers one.
        self.datasets_here: tuple[str, ...] = ()
        self.choice = StudentChoice.of(student) if student is not None or remembered is None else remembered
        # Until somebody chooses, the default adapter of a dataset answers it.
        self.has_chosen = student is not None or remembered is not None
        self.activities: list[Activity] = []
        # The last task of each kind: it is at work, or its form can be opened again as it was filled in.
        self.tasks: dict[str, Task] = {}
        self.task_changed: Signal[Task] = Signal(self, "task changed")
        self.data_changed: Signal[None] = Signal(self, "data changed")
        self.said: list[Said] = []
        self.pressed_at = monotonic()

    # Screens that any screen may open

    @property
    def places(self) -> Mapping[str, Screen[None]]:
        """The screens of the places that the user has been to."""
        raise NotImplementedError

    def open_find(self, finder: Finder, note: Callable[[str], None] = lambda words: None) -> None:  # noqa: ARG005
        """Open the line that finds words; `note` gets the words when it closes."""
        raise NotImplementedError

    def open_import(self, datasets: Sequence[str], named_database: Path | None) -> None:
        """Open the form that imports a dataset."""
        raise NotImplementedError

    def open_demo_import(self) -> None:
        """Import the demo, and show its progress."""
        raise NotImplementedError

    def open_session(self, dataset: str, session: str, choice: StudentChoice | None = None) -> None:
        """Go to the workbench and open a session there, in place of an open one; leaving it leads back to this place.

        Args:
            choice: whom the workbench asks from now on; by default, whom it asks already.
        """
        raise NotImplementedError

    def show_knowledge(self, query: str) -> None:
        """Go to the knowledge, and search there."""
        raise NotImplementedError

    # Work that goes on while the app runs

    def begin(self, activity: Activity) -> Activity:
        """Start work that continues on whatever screen the user is."""
        self.activities = [each for each in self.activities if each.is_running]
        self.activities.append(activity)
        activity.start()
        return activity

    @property
    def at_work(self) -> list[Thread]:
        """The threads that work, or wait for work."""
        threads = [activity.thread for activity in self.activities if activity.is_running]
        return threads if self.generation.thread is None else [self.generation.thread, *threads]

    def begin_task(self, task: Task) -> Task:
        """Start a task whose messages come to the app. If a task of its kind is at work, that one continues instead."""
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
        """The tasks that are not over."""
        return [task for task in self.tasks.values() if not task.is_over]

    def is_watched(self, task: Task) -> bool:
        """Whether a form shows the progress of a task."""
        raise NotImplementedError

    def on_happened(self, message: Happened) -> None:
        """Show the progress of a task."""
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
        is_watched = self.is_watched(task)
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
            # Its form is of no more use.
            del self.tasks[task.kind]
        if task.changes_data:
            self.data_changed.publish(None)
        self.task_changed.publish(task)

    # What the app says

    def say(self, sentence: str, *, error: bool = True, details: str = "") -> None:
        """Show a sentence for some seconds, and keep it with its details."""
        timeout = _LONG if error else _SHORT
        # Two parts of a screen may fail for the same reason.
        is_shown = bool(self.said) and self.said[-1].sentence == sentence and self.said[-1].until > monotonic()
        self.said.append(Said(datetime.now().strftime("%H:%M:%S"), sentence, details, monotonic() + timeout))
        del self.said[:-_KEPT]
        if is_shown:
            return
        shown = one_line(sentence, 600)
        if details:
            shown += f" ({self.key_of('app.messages')} tells more)"
        self.notify(shown, severity="error" if error else "information", timeout=timeout, markup=False)

    def key_of(self, action: str) -> str:
        """The key of an action as a person reads it; the action is named as in a keymap: `knowledge.mark`."""
        return self.get_key_display(Binding(keys_of(self.config.keymap)[action][0], ""))

    # The student whom the workbench asks

    def use_choice(self, choice: StudentChoice) -> None:
        """Ask this student from now on, in the workbench."""
        self.choice, self.has_chosen = choice, True
        self.memory.of("workbench")["choice"] = choice.to_memory()

    def forget_usual_choice(self) -> None:
        """If the user chose the usual student, ask the default of each dataset again."""
        if self.choice == StudentChoice():
            self.has_chosen = False
            self.memory.of("workbench").pop("choice", None)

    # Ways to other places

    def action_show(self, place: str) -> None:
        """Go to a place. Its open screens stay open, and work elsewhere continues."""
        if place != self.current_mode:
            self.memory.place = place
            self.switch_mode(place)
            self.memory.save()

    def go_to(self, place: str) -> None:
        """Go to the list of a place, and close the screens that are open over it."""
        self.action_show(place)
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def show_in_place(self, place: str, key: str) -> None:
        """Go to the row of this key in the list of a place."""
        self.go_to(place)
        # The message waits in the queue of a screen that is not composed yet.
        self.screen.post_message(RowWanted(key))

    def show_dataset(self, name: str) -> None:
        """Go to the sessions of a dataset in the workbench."""
        self.show_in_place("workbench", name)
