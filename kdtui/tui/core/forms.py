"""Forms: what a form asks for, what its values mean, and the dialog that shows it."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from time import sleep
from typing import Any, Generic, Literal, TypeVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Checkbox, Input, Label, Select, Static, TextArea
from textual.worker import get_current_worker

from kdtui.errors import KdtuiError
from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.dialogs import Dialog
from kdtui.tui.core.store_worker import Unwanted, sentence_of
from kdtui.tui.widgets.drop_down import DropDown
from kdtui.tui.widgets.path_input import PathInput
from store.errors import StoreError

Parsed = TypeVar("Parsed")

_LISTED = 12
"""Completions of a path that are listed."""

_TYPING = 0.3
"""Seconds without a change after which the description of the values is computed."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form.

    Attributes:
        kind: a line of text, several lines of text, one of `options`, a switch, or the path of a file or folder.
        value: the initial value; "yes" or "" for a switch.
        help: a hint for users who do not know the field.
        options: pairs of a label and the value that it stands for.
    """

    name: str
    label: str
    kind: Literal["text", "lines", "choice", "switch", "path"] = "text"
    value: str = ""
    help: str = ""
    options: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What a form changes by itself after the user has changed a field.

    Attributes:
        changes: new values by field name.
        remark: a sentence about the change; empty for none.
    """

    changes: Mapping[str, str]
    remark: str = ""


class Form(ABC, Generic[Parsed]):
    """What a form asks for, and what its values mean. `FormDialog` shows it and returns what `parse` returns.

    A subclass has `title`, `verb` and `fields`, and implements `parse` and `command`. The other methods are optional.
    The values of the widgets are strings by field name; a switch has "yes" or "". Only `parse` reads them, once; all
    code after it works with the dataclass that it returns.

    Attributes:
        title: the heading of the dialog.
        verb: the label of the button that accepts the form.
        has_command: whether a command does the same, so that the dialog shows and copies it.
        has_description: whether the dialog shows `describe`.
    """

    title: str
    verb: str
    has_command: bool = True
    has_description: bool = False

    @property
    @abstractmethod
    def fields(self) -> Sequence[Field]:
        """The fields, with their initial values."""

    @abstractmethod
    def parse(self, values: Mapping[str, str]) -> Parsed:
        """Turn the values of the widgets into a dataclass.

        Raises:
            KdtuiError: a value cannot be read.
            StoreError: likewise.
        """

    @abstractmethod
    def command(self, parsed: Parsed) -> str:
        """Return the command that does the same. It is shown while the user fills in the form.

        The dialog also calls it while `problem` reports one; a missing name is then a placeholder such as NAME.
        """

    def problem(self, parsed: Parsed) -> str | None:  # noqa: ARG002
        """Return why the form cannot be accepted although all values can be read, or None."""
        return None

    def follow(self, before: Mapping[str, str], after: Mapping[str, str]) -> FollowUp | None:  # noqa: ARG002
        """Return which other fields change with those that the user has changed; None leaves fields and note as is."""
        return None

    def unused(self, values: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG002
        """Return the fields that have no effect with these values, each with the reason. They are disabled."""
        return {}

    def remark(self, parsed: Parsed) -> str:  # noqa: ARG002
        """Return a remark on the values that is no problem, in a sentence; empty for none."""
        return ""

    def describe(self, parsed: Parsed) -> str:  # noqa: ARG002
        """Return more about values that can be accepted, in lines. It runs in a thread and can raise errors."""
        return ""


class FormDialog(Dialog[Parsed]):
    """The dialog that shows a form. Its result is what the form parses from its values, or None."""

    BINDINGS = bindings("form")

    class Described(Message):
        """The description of the values is known."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, form: Form[Parsed]) -> None:
        super().__init__()
        self.form = form
        self._fields = self.initial_fields()
        # The hints that are shown, by field name.
        self._hints: dict[str, str] = {}
        self._described_values: dict[str, str] = {}
        self._values_before: dict[str, str] = {}
        self._follow_up_remark = ""

    def compose(self) -> ComposeResult:
        """Lay out the fields, the command and the buttons."""
        form = self.form
        described = " -described" if form.has_description else ""
        with Vertical(classes=f"box -form{described}" if self._fields else "box"):
            yield Static(Text(one_line(form.title, 300)), classes="heading", markup=False)
            with VerticalScroll(can_focus=False):
                for field in self._fields:
                    with Horizontal(classes=f"field -{field.kind}"):
                        yield Label(Text(field.label), classes="label")
                        yield self._widget(field)
                    yield self._hint(field)
            yield Static(id="dialog-command", markup=False)
            yield Static(id="form-description", markup=False)
            yield Static(id="form-remark", markup=False)
            yield Static(id="form-problem", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(self.labelled(form.verb, "form.done"), id="done", variant="primary", compact=True)
                yield from self.compose_buttons()
                yield Button(self.labelled("Close", "form.close"), id="close", compact=True)
                if form.has_command:
                    yield Button(self.labelled("Copy", "form.copy"), id="copy", compact=True)

    @staticmethod
    def _hint(field: Field) -> Static:
        hint = Static(Text(field.help), id=f"help-{field.name}", classes="hint", markup=False)
        hint.display = bool(field.help)
        return hint

    @staticmethod
    def _widget(field: Field) -> Input | TextArea | Select[str] | Checkbox:
        identity = f"field-{field.name}"
        match field.kind:
            case "text":
                return Input(field.value, id=identity, compact=True)
            case "path":
                return PathInput(field.value, id=identity)
            case "lines":
                return TextArea(field.value, id=identity, compact=True, tab_behavior="focus")
            case "switch":
                return _Switch(field.value == "yes", id=identity)
            case "choice":
                options = [(Text(one_line(label, 80)), value) for label, value in field.options]
                values = {value for _, value in field.options}
                chosen = field.value if field.value in values else field.options[0][1]
                return DropDown(options, value=chosen, allow_blank=False, id=identity, compact=True)

    @property
    def values(self) -> dict[str, str]:
        """The current value of each field."""
        values = {}
        for field in self._fields:
            widget: Any = self.query_one(f"#field-{field.name}")
            match field.kind:
                case "lines":
                    values[field.name] = widget.text
                case "switch":
                    values[field.name] = "yes" if widget.value else ""
                case _:
                    values[field.name] = str(widget.value)
        return values

    # What subclasses override

    def initial_fields(self) -> Sequence[Field]:
        """Return the fields with the values that the dialog opens with."""
        return self.form.fields

    def compose_buttons(self) -> ComposeResult:
        """Lay out further buttons."""
        yield from ()

    def remark_on(self, values: Mapping[str, str], parsed: Parsed | None) -> str:  # noqa: ARG002
        """Return a remark on these values that is no problem; empty for none."""
        return ("" if parsed is None else self.form.remark(parsed)) or self._follow_up_remark

    def warning_on(self, values: Mapping[str, str]) -> str:  # noqa: ARG002
        """Return a problem with these values that does not keep the user from accepting the form."""
        return ""

    def accept(self, parsed: Parsed, values: dict[str, str]) -> None:  # noqa: ARG002
        """Close the dialog with its result."""
        self.dismiss(parsed)

    @property
    def is_locked(self) -> bool:
        """Whether the fields are read-only."""
        return False

    # How the dialog follows its fields

    def _read(self, values: Mapping[str, str]) -> tuple[Parsed | None, str | None]:
        """Return the parsed values, if they can be read, and why the form cannot be accepted."""
        try:
            parsed = self.form.parse(values)
        except (KdtuiError, StoreError) as error:
            return None, str(error)
        return parsed, self.form.problem(parsed)

    def _enable_fields(self, values: Mapping[str, str]) -> None:
        """Disable the fields that have no effect, and show the reason in place of their hint."""
        unused = self.form.unused(values)
        reason_before = None
        for field in self._fields:
            widget: Any = self.query_one(f"#field-{field.name}")
            reason = unused.get(field.name)
            # A field that the user types into keeps the cursor.
            widget.disabled = self.is_locked or (reason is not None and not widget.has_focus_within)
            # Neighbouring fields with the same reason show it once.
            hint = field.help if reason is None else "" if reason == reason_before else reason
            reason_before = reason
            if hint != self._hints.get(field.name, field.help):
                widget_of_hint = self.query_one(f"#help-{field.name}", Static)
                widget_of_hint.update(Text(one_line(hint, 300)))
                widget_of_hint.display = bool(hint)
            self._hints[field.name] = hint

    def _values_after_follow_up(self) -> dict[str, str]:
        """Change the fields that follow others; return all values."""
        values = self.values
        follow_up = self.form.follow(self._values_before, values)
        if follow_up is not None:
            self._follow_up_remark = follow_up.remark
            for field in self._fields:
                if field.name in follow_up.changes:
                    widget: Any = self.query_one(f"#field-{field.name}")
                    value = follow_up.changes[field.name]
                    widget.value = value == "yes" if field.kind == "switch" else value
            values = self.values
        self._values_before = values
        return values

    def on_mount(self) -> None:
        """Focus the first field."""
        self._values_before = self.values
        self.query_one("#form-description").display = self.form.has_description
        self.show()
        if self._fields:
            self.set_focus(self.query_one(f"#field-{self._fields[0].name}"))

    @on(Input.Changed)
    @on(TextArea.Changed)
    @on(Select.Changed)
    @on(Checkbox.Changed)
    def show(self) -> None:
        """Show the command, the remarks and the problems of the current values."""
        values = self._values_after_follow_up()
        self._enable_fields(values)
        parsed, problem = self._read(values)
        text = self.remark_on(values, parsed)
        remark = self.query_one("#form-remark", Static)
        remark.update(Text(one_line(text, 300)))
        remark.display = bool(text)
        warning = problem or self.warning_on(values)
        self.query_one("#form-problem", Static).update(Text(one_line(warning, 300)))
        self.query_one("#done", Button).disabled = problem is not None
        if self.form.has_command:
            self.command = "" if parsed is None else self.form.command(parsed)
            self.show_command()
        if self.form.has_description:
            self._describe(values, parsed if problem is None else None)

    def _describe(self, values: dict[str, str], parsed: Parsed | None) -> None:
        """Start to describe the values, if they have changed; None for values that cannot be accepted."""
        values = {} if parsed is None else values
        if values == self._described_values:
            return
        self._described_values = values
        # The old description is of other values.
        self.query_one("#form-description", Static).update(Text("" if parsed is None else "…"))
        self.run_worker(partial(self._describe_in_thread, parsed), thread=True, exclusive=True, group="description")

    def _describe_in_thread(self, parsed: Parsed | None) -> None:
        worker = get_current_worker()
        sleep(_TYPING)
        if worker.is_cancelled or parsed is None:
            return
        try:
            text = self.form.describe(parsed)
        except Unwanted:
            return
        except Exception as error:
            text = sentence_of(error)[0]
        if not worker.is_cancelled:
            self.post_message(self.Described(text))

    def on_form_dialog_described(self, message: Described) -> None:
        """Show the description of the values."""
        text = "\n".join(one_line(line, 300) for line in message.text.splitlines())
        self.query_one("#form-description", Static).update(Text(text))

    @on(PathInput.Completed)
    def list_paths(self, event: PathInput.Completed) -> None:
        """List the possible completions of a path in place of its hint."""
        [field] = [each for each in self._fields if event.line.id == f"field-{each.name}"]
        if event.value != event.line.value or not field.help:
            return
        names = [PurePath(path).name + "/" * path.endswith("/") for path in event.paths[:_LISTED]]
        more = f", and {len(event.paths) - _LISTED:,} more" if len(event.paths) > _LISTED else ""
        listed = one_line(", ".join(names), 300) + more
        self.query_one(f"#help-{field.name}", Static).update(Text(listed or field.help))

    @on(Input.Submitted)
    @on(Button.Pressed, "#done")
    def action_done(self) -> None:
        """Accept the form, or say why it cannot be accepted."""
        # On a busy machine, a key can arrive before the fields are mounted.
        if not self.is_mounted:
            return
        values = self._values_after_follow_up()
        parsed, problem = self._read(values)
        if problem is not None:
            self.app.notify(one_line(problem, 300), severity="error", markup=False)
        else:
            assert parsed is not None
            self.accept(parsed, values)

    @on(Button.Pressed, "#copy")
    def copy_by_button(self) -> None:
        """Copy the command for the current values."""
        self.action_copy_command()

    @on(Button.Pressed, "#close")
    def close_by_button(self) -> None:
        """Close the dialog without a result."""
        self.dismiss(None)


def whole_number(text: str, name: str, least: int, most: int | None = None) -> int | None:
    """Read a whole number from a field; None for an empty field, which stands for the default.

    Raises:
        KdtuiError: the text is not a number, or out of bounds.
    """
    if not text.strip():
        return None
    bounds = f"between {least:,} and {most:,}" if most is not None else f"from {least:,} on"
    with suppress(ValueError):
        # SQLite cannot store longer numbers.
        number = int(text) if len(text) < 10 else -1
        if least <= number and (most is None or number <= most):
            return number
    raise KdtuiError(f"{name}: a whole number {bounds}, or nothing for the default")


def seed_number(text: str) -> int:
    """Read a seed from a field.

    Raises:
        KdtuiError: the text is not a number, or longer than SQLite can store.
    """
    if re.fullmatch(r"-?[0-9]{1,18}", text.strip()) is None:
        raise KdtuiError("a seed is a whole number of at most 18 digits")
    return int(text)


class _Switch(Checkbox):
    """A checkbox that says yes or no. Textual's own shows a cross in both states and differs only by colour."""

    BUTTON_LEFT = BUTTON_INNER = BUTTON_RIGHT = ""

    def __init__(self, value: bool, *, id: str) -> None:
        super().__init__(self._text(value), value, id=id, compact=True)

    @staticmethod
    def _text(value: bool) -> Content:
        return Content("[x] yes" if value else "[ ] no")

    def watch_value(self) -> None:
        """Show the other word."""
        self.label = self._text(self.value)
        super().watch_value()
