"""The part of the app that screens use: its state, its tasks, its messages, and navigation to other places."""

import asyncio
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

_MOST_MESSAGES = 200
"""Past messages that are kept."""

_SHORT, _LONG = 5.0, 10.0
"""Seconds that a message is shown, and one about a problem."""


@dataclass(frozen=True, slots=True)
class PastMessage:
    """A message that the app has shown.

    Attributes:
        at: the time of day.
        details: more about it.
        until: the time when it disappears, by the monotonic clock.
    """

    at: str
    sentence: str
    details: str
    until: float


class RowWanted(Message):
    """Asks a place to select the row of this key in its list, and to open it if that is possible."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


class Services(App[None]):
    """The app as screens know it. `kdtui.tui.app.KdtuiApp` adds the screens, the keys and the terminal.

    Args:
        database: the store; made when something is first stored.
        student: the first student of the workbench; by default the last one, or the shipped student.
        config: the configuration of the user.
        memory: the memory of the last run; empty by default.
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
        # Textual composes the screen of this place first, and others when the user opens them.
        self.DEFAULT_MODE = self.memory.place if self.memory.place in PLACES else next(iter(PLACES))  # type: ignore[misc]
        super().__init__()
        self.database = database
        self.config = config or Config()
        self.generation = GenerationThread(database)
        remembered = StudentChoice.from_memory(self.memory.of("workbench").get("choice"))
        # The datasets that the user chose or pointed at last; until then, the workbench remembers one.
        self.current_datasets: tuple[str, ...] = ()
        self.choice = StudentChoice.of(student) if student is not None or remembered is None else remembered
        # Until the user chooses a student, a dataset is answered by its default adapter.
        self.has_chosen = student is not None or remembered is not None
        self.activities: list[Activity] = []
        # The last task of each kind: it runs, or it failed and its form opens again with its values.
        self.tasks: dict[str, Task] = {}
        self.task_changed: Signal[Task] = Signal(self, "task changed")
        self.data_changed: Signal[None] = Signal(self, "data changed")
        # Held during a change of the store, so that changes happen in the order of the keys.
        self.changing = asyncio.Lock()
        # Changes that are made or wait; leaving the app waits for them.
        self.changes: set[asyncio.Task[None]] = set()
        self.past_messages: list[PastMessage] = []
        self.pressed_at = monotonic()

    # Screens that any screen can open

    @property
    def places(self) -> Mapping[str, Screen[None]]:
        """The screens of the places that the user has opened."""
        raise NotImplementedError

    def open_find(self, finder: Finder, note: Callable[[str], None] = lambda words: None) -> None:  # noqa: ARG005
        """Open the find line; `note` gets the words when it closes."""
        raise NotImplementedError

    def open_import(self, datasets: Sequence[str], named_database: Path | None) -> None:
        """Open the form that imports a dataset."""
        raise NotImplementedError

    def open_demo_import(self) -> None:
        """Import the demo, and show its progress."""
        raise NotImplementedError

    def open_session(self, dataset: str, session: str, choice: StudentChoice | None = None) -> None:
        """Go to the workbench and open a session there, in place of an open one. Closing it leads back to this place.

        Args:
            choice: the new student of the workbench; by default it keeps its student.
        """
        raise NotImplementedError

    def show_knowledge(self, query: str) -> None:
        """Go to the place Knowledge and search there."""
        raise NotImplementedError

    # Activities and tasks

    def begin(self, activity: Activity) -> Activity:
        """Start an activity, which continues when the user goes to another screen."""
        self.activities = [each for each in self.activities if each.is_running]
        self.activities.append(activity)
        activity.start()
        return activity

    @property
    def running_threads(self) -> list[Thread]:
        """The threads that work, or wait for work."""
        threads = [activity.thread for activity in self.activities if activity.is_running]
        return threads if self.generation.thread is None else [self.generation.thread, *threads]

    def begin_task(self, task: Task) -> Task:
        """Start a task whose messages go to the app. If a task of its kind runs, return that one instead."""
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
    def running_tasks(self) -> list[Task]:
        """The tasks that are not over."""
        return [task for task in self.tasks.values() if not task.is_over]

    def is_watched(self, task: Task) -> bool:
        """Whether a form shows the progress of a task."""
        raise NotImplementedError

    def on_happened(self, message: Happened) -> None:
        """Show the progress of a task."""
        if isinstance(task := message.activity, Task):
            task.record(message.event)
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
            # A form shows the problem, but not the details of a fault of the program.
            if not is_watched or message.details:
                again = f"; {self.key_of(task.action)} shows the form again" if task.action else ""
                self.say(f"{task.name}: {task.problem}{again}", details=message.details)
        elif task.is_done:
            self.say(task.outcome, error=False, details=task.details)
        elif not is_watched:
            self.say(task.when_stopped, error=False)
        if task.problem is None:
            # Its form starts empty again.
            del self.tasks[task.kind]
        if task.changes_data:
            self.data_changed.publish(None)
        self.task_changed.publish(task)

    # Messages

    def say(self, sentence: str, *, error: bool = True, details: str = "") -> None:
        """Show a message for some seconds, and keep it with its details."""
        timeout = _LONG if error else _SHORT
        past = self.past_messages
        # Two parts of a screen can fail for the same reason.
        is_shown = bool(past) and past[-1].sentence == sentence and past[-1].until > monotonic()
        at = datetime.now().strftime("%H:%M:%S")
        past.append(PastMessage(at, sentence, details, monotonic() + timeout))
        del past[:-_MOST_MESSAGES]
        if is_shown:
            return
        shown = one_line(sentence, 600)
        if details:
            shown += f" ({self.key_of('app.messages')} shows details)"
        self.notify(shown, severity="error" if error else "information", timeout=timeout, markup=False)

    def key_of(self, action: str) -> str:
        """Return the key of an action for display; the action is named as in a keymap: `knowledge.mark`."""
        return self.get_key_display(Binding(keys_of(self.config.keymap)[action][0], ""))

    # The student of the workbench

    def use_choice(self, choice: StudentChoice) -> None:
        """Make this the student of the workbench."""
        self.choice, self.has_chosen = choice, True
        self.memory.of("workbench")["choice"] = choice.to_memory()

    def forget_usual_choice(self) -> None:
        """If the user chose the usual student, use the default of each dataset again."""
        if self.choice == StudentChoice():
            self.has_chosen = False
            self.memory.of("workbench").pop("choice", None)

    # Navigation

    def action_show(self, place: str) -> None:
        """Go to a place. Its open screens stay open."""
        if place != self.current_mode:
            self.memory.place = place
            self.switch_mode(place)
            self.memory.save()

    def go_to(self, place: str) -> None:
        """Go to the list of a place, and close the screens over it."""
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
