"""A form that shows how far the work is that it has begun."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Button

from kdtui.tui.actions import bindings
from kdtui.tui.core.dialogs import Field, FormDialog
from kdtui.tui.core.task import Task


class TaskForm(FormDialog):
    """A form that stays while its task is at work, and is as it was filled in where that fails.

    Who leaves it leaves the task at work; the same form shows it again.

    Args:
        begin: given the values, makes the task; it is begun by the app.
        then: shows what the task has done, to somebody who has waited for it.
        task: the one that is at work already, or that could not be done with the values that the form begins with.
        at_once: whether to begin as soon as the form is there.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("form", "task")

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        *,
        verb: str,
        begin: Callable[[Mapping[str, str]], Task],
        then: Callable[[Task], None],
        check: Callable[[Mapping[str, str]], str | None] = lambda values: None,  # noqa: ARG005
        command: Callable[[Mapping[str, str]], str],
        follow: Callable[[Mapping[str, str], Mapping[str, str]], tuple[Mapping[str, str], str] | None] | None = None,
        refuse: Callable[[Mapping[str, str]], Mapping[str, str]] = lambda values: {},  # noqa: ARG005
        task: Task | None = None,
        at_once: bool = False,
    ) -> None:
        if task is not None:
            fields = [_filled(field, task.values) for field in fields]
        super().__init__(title, fields, verb=verb, check=check, command=command, follow=follow, refuse=refuse)
        self._begin, self._then, self.work, self._at_once = begin, then, task, at_once
        self._was_at_work = False
        self._had_focus: Widget | None = None

    def compose_buttons(self) -> ComposeResult:
        """A button more."""
        yield Button(self.labelled("Stop", "task.stop"), id="stop", variant="error", compact=True)

    def on_mount(self) -> None:
        """Hear how far the task is."""
        self.kdtui.task_changed.subscribe(self, self._show_task)

    @property
    def is_locked(self) -> bool:
        """While the task is at work."""
        return self._is_at_work

    @property
    def _is_at_work(self) -> bool:
        return self.work is not None and not self.work.is_over

    def finish(self, values: dict[str, str]) -> None:
        """Begin."""
        self.work = self.kdtui.begin_task(self._begin(values))
        self._show_state()

    def _show_task(self, task: Task) -> None:
        if task is self.work:
            self._show_state()

    def on_screen_resume(self) -> None:
        """Begin, or show how far the task is; leave where it was done while something else was over the form."""
        if self._at_once and self.work is None:
            self.finish(self.values)
        else:
            self._show_state()

    def _show_state(self) -> None:
        """Have the form be filled in, or only looked at."""
        if not self.is_mounted:
            return
        task = self.work
        if task is not None and task.is_over and task.is_done and self.is_active:
            self.dismiss(None)
            self._then(task)
            return
        is_at_work, was_at_work = self._is_at_work, self._was_at_work
        if is_at_work and not was_at_work:
            self._had_focus = self.focused
        self._was_at_work = is_at_work
        stop = self.query_one("#stop", Button)
        stop.display = is_at_work
        stop.disabled = task is not None and task.is_cancelled
        self.query_one("#done", Button).display = not is_at_work
        self.show()
        self.refresh_bindings()
        if is_at_work and not was_at_work:
            self.set_focus(self.query_one("#close"))
        elif was_at_work and not is_at_work:
            self.set_focus(self._had_focus or next(iter(self._inputs), None) or self.query_one("#done"))

    @property
    def _inputs(self) -> list[Any]:
        return [self.query_one(f"#field-{field.name}") for field in self._fields]

    def note_on(self, values: Mapping[str, str]) -> str:
        """How far the task is, or what there is to say of the values."""
        if self.work is not None and self._is_at_work:
            leaves = self.kdtui.key_of("form.close")
            return f"⏳ {self.work.state}. {leaves} leaves this, and the work goes on."
        if self.work is not None and self.work.is_over and self.work.problem is None and not self.work.is_done:
            return self.work.when_stopped
        return super().note_on(values)

    def remark_on(self, values: Mapping[str, str]) -> str:
        """Why the task could not be done with these values."""
        if self.work is not None and self.work.problem is not None and dict(self.work.values) == dict(values):
            return self.work.problem
        return ""

    def action_stop(self) -> None:
        """Stop the task."""
        if self.work is not None:
            self.kdtui.stop_task(self.work)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Stop it by the button."""
        if event.button.id == "stop":
            self.action_stop()

    def why_not(self, action: str) -> str | None:
        """Why the form cannot be ended."""
        if action == "done" and self._is_at_work:
            return "it is at work already"
        return super().why_not(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is something to stop while the task is at work."""
        if action == "stop":
            return self._is_at_work and self.work is not None and not self.work.is_cancelled
        return super().check_action(action, parameters)


def _filled(field: Field, values: Mapping[str, str]) -> Field:
    return replace(field, value=values.get(field.name, field.value))
