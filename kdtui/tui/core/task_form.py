"""Forms that start a task: the dialog stays open while the task runs and shows its progress."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Button

from kdtui.tui.actions import bindings
from kdtui.tui.core.forms import Field, Form, FormDialog
from kdtui.tui.core.task import Task

Parsed = TypeVar("Parsed")


class TaskForm(Form[Parsed]):
    """A form that starts a task. `TaskDialog` shows it."""

    @abstractmethod
    def start(self, parsed: Parsed) -> Task:
        """Make the task; the app starts it."""

    @abstractmethod
    def show_outcome(self, task: Task) -> None:
        """Show what the task has done, to a user who has waited for it."""


class TaskDialog(FormDialog[Parsed]):
    """The dialog of a form that starts a task. It stays open while the task runs, and keeps its values if that fails.

    Closing the dialog does not stop the task; opened again, the dialog shows it again.

    Args:
        task: a task that is already running, or that failed with the values that the dialog opens with.
        at_once: whether to start the task as soon as the dialog is shown.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("form", "task")

    form: TaskForm[Parsed]

    def __init__(self, form: TaskForm[Parsed], *, task: Task | None = None, at_once: bool = False) -> None:
        self.current_task, self._at_once = task, at_once
        super().__init__(form)
        self._was_running = False
        self._had_focus: Widget | None = None

    def initial_fields(self) -> Sequence[Field]:
        """Return the fields with the values of the task."""
        fields = super().initial_fields()
        if self.current_task is None:
            return fields
        return [replace(field, value=self.current_task.values.get(field.name, field.value)) for field in fields]

    def compose_buttons(self) -> ComposeResult:
        """Lay out a button that stops the task."""
        yield Button(self.labelled("Stop", "task.stop"), id="stop", variant="error", compact=True)

    def on_mount(self) -> None:
        """Follow the progress of the task."""
        self.kdtui.task_changed.subscribe(self, self._show_task)

    @property
    def is_locked(self) -> bool:
        """Whether the task is running."""
        return self._is_running

    @property
    def _is_running(self) -> bool:
        return self.current_task is not None and not self.current_task.is_over

    def accept(self, parsed: Parsed, values: dict[str, str]) -> None:
        """Start the task, and keep the dialog open."""
        task = self.form.start(parsed)
        task.values = values
        self.current_task = self.kdtui.begin_task(task)
        self._show_state()

    def _show_task(self, task: Task) -> None:
        if task is self.current_task:
            self._show_state()

    def on_screen_resume(self) -> None:
        """Start the task, or show its progress. Close the dialog if the task finished under another screen."""
        if self._at_once and self.current_task is None:
            values = self.values
            self.accept(self.form.parse(values), values)
        else:
            self._show_state()

    def _show_state(self) -> None:
        """Lock the fields while the task runs; close the dialog when it is done."""
        if not self.is_mounted:
            return
        task = self.current_task
        if task is not None and task.is_over and task.is_done and self.is_active:
            self.dismiss(None)
            self.form.show_outcome(task)
            return
        is_running, was_running = self._is_running, self._was_running
        if is_running and not was_running:
            self._had_focus = self.focused
        self._was_running = is_running
        stop = self.query_one("#stop", Button)
        stop.display = is_running
        stop.disabled = task is not None and task.is_cancelled
        self.query_one("#done", Button).display = not is_running
        self.show()
        self.refresh_bindings()
        if is_running and not was_running:
            self.set_focus(self.query_one("#close"))
        elif was_running and not is_running:
            self.set_focus(self._had_focus or next(iter(self._inputs), None) or self.query_one("#done"))

    @property
    def _inputs(self) -> list[Any]:
        return [self.query_one(f"#field-{field.name}") for field in self._fields]

    def remark_on(self, values: Mapping[str, str], parsed: Parsed | None) -> str:
        """Return the progress of the task, or a remark on the values."""
        task = self.current_task
        if task is not None and not task.is_over:
            key = self.kdtui.key_of("form.close")
            return f"⏳ {task.state}. {key} closes this; the task continues."
        if task is not None and task.problem is None and not task.is_done:
            return task.when_stopped
        return super().remark_on(values, parsed)

    def warning_on(self, values: Mapping[str, str]) -> str:
        """Return why the task failed with these values."""
        task = self.current_task
        return task.problem or "" if task is not None and dict(task.values) == dict(values) else ""

    def action_stop(self) -> None:
        if self.current_task is not None:
            self.kdtui.stop_task(self.current_task)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Stop the task by the button."""
        if event.button.id == "stop":
            self.action_stop()

    def why_not(self, action: str) -> str | None:
        """Return why an action is not possible now."""
        if action == "done" and self._is_running:
            return "the task is already running"
        return super().why_not(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to stop the task only while it runs."""
        if action == "stop":
            return self._is_running and self.current_task is not None and not self.current_task.is_cancelled
        return super().check_action(action, parameters)
