"""Small screens over another: a text to read, a question to confirm, a form to fill in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from time import sleep
from typing import Any, Literal, TypeVar

from rich.console import RenderableType
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Label, Select, Static, TextArea
from textual.worker import get_current_worker

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.finders import Finder, RowFinder
from kdtui.tui.core.screen import ActionScreen
from kdtui.tui.core.store_worker import Unwanted, sentence_of
from kdtui.tui.widgets.drop_down import DropDown
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.path_input import PathInput
from kdtui.tui.widgets.readable import Readable

Result = TypeVar("Result")

_LISTED = 12
"""Paths that are listed of those that one can become."""


_TYPING = 0.3
"""Seconds without a change after which a form has something found out."""


class Told(Message):
    """What was found out about the values of a form."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class Dialog(ModalScreen[Result], ActionScreen[Result]):
    """A screen over another, which shows through; `escape` leaves it without a result."""

    VERTICAL_BREAKPOINTS = [(0, "-short"), (36, "-tall"), (50, "-tallest")]  # noqa: RUF012

    command = ""
    """The command that does what the dialog is about; empty where there is none."""

    def action_close(self) -> None:
        """Leave it."""
        self.dismiss(None)

    def action_scroll(self, way: str) -> None:
        """Scroll what there is to read."""
        for text in self.query(VerticalScroll):
            scroll(text, way)

    def finder(self) -> Finder:
        """What there is to read."""
        return RowFinder(self.query_one(Readable))

    def show_command(self) -> None:
        """Show the command in the part of the dialog that is there for it."""
        text = Text("$ " if self.command else "", style="dim")
        text.append(one_line(self.command, 600), style="not dim")
        self.query_one("#dialog-command", Static).update(text)

    def why_not(self, action: str) -> str | None:
        """Why there is no command to copy."""
        if action == "copy_command" and not self.command:
            return "there is no command to copy"
        return super().why_not(action)

    def action_copy_command(self) -> None:
        """Copy the command."""
        self.app.copy_to_clipboard(self.command)
        self.kdtui.say(f"copied: {self.command}", error=False)

    def labelled(self, label: str, action: str) -> str:
        """What stands on a button, with the key that does the same."""
        return f"{label} ({self.kdtui.key_of(action)})"


def scroll(text: VerticalScroll, way: str) -> None:
    """Scroll at once, in one of the ways that the actions for scrolling name."""
    {
        "down": text.scroll_down,
        "up": text.scroll_up,
        "page_down": text.scroll_page_down,
        "page_up": text.scroll_page_up,
        "home": text.scroll_home,
        "end": text.scroll_end,
    }[way](animate=False)


class TextDialog(Dialog[None]):
    """Something to read.

    Args:
        content: what is given as `str` is shown as it is, never as markup.
        copies: what the key for copying copies; the content, if that is a text, by default.
    """

    BINDINGS = bindings("text")

    def __init__(self, title: str, content: str | RenderableType, *, copies: str | None = None) -> None:
        super().__init__()
        self._title, self._content = title, content
        self._copies = copies if copies is not None else (content if isinstance(content, str) else "")

    def compose(self) -> ComposeResult:
        """The title, and what there is to read."""
        with Vertical(classes="box -large"):
            yield Static(Text(one_line(self._title, 300)), classes="heading", markup=False)
            with VerticalScroll():
                content = Text(self._content) if isinstance(self._content, str) else self._content
                yield Readable(content, markup=False)
            yield Footer()

    def on_mount(self) -> None:
        """The text is what keys are for."""
        self.set_focus(self.query_one(VerticalScroll))

    def action_copy(self) -> None:
        """Copy it."""
        self.app.copy_to_clipboard(self._copies)
        self.app.notify("copied", markup=False, timeout=3)


class ConfirmDialog(Dialog[bool]):
    """A question about something that cannot be undone.

    Args:
        question: what would be done.
        consequence: what is lost by it.
        verb: what the button says that does it.
        command: does the same.
    """

    BINDINGS = bindings("confirm")

    def __init__(self, question: str, consequence: str, verb: str, command: str = "") -> None:
        super().__init__()
        self._question, self._consequence, self._verb, self.command = question, consequence, verb, command

    def compose(self) -> ComposeResult:
        """The question and two buttons."""
        with Vertical(classes="box"):
            yield Static(Text(one_line(self._question, 300)), classes="heading", markup=False)
            yield Static(Text(one_line(self._consequence, 600)), markup=False)
            yield Static(id="dialog-command", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(self.labelled(self._verb, "confirm.yes"), id="yes", variant="error", compact=True)
                yield Button(self.labelled("Leave it", "confirm.no"), id="no", compact=True)
                if self.command:
                    yield Button(self.labelled("Copy", "confirm.copy"), id="copy", compact=True)

    def on_mount(self) -> None:
        """What does no harm has the focus."""
        self.show_command()
        self.set_focus(self.query_one("#no"))

    @on(Button.Pressed, "#yes")
    @on(Button.Pressed, "#no")
    def answer(self, event: Button.Pressed) -> None:
        """Answer by a button."""
        self.dismiss(event.button.id == "yes")

    @on(Button.Pressed, "#copy")
    def copy_by_button(self) -> None:
        """Copy the command."""
        self.action_copy_command()

    def action_answer(self, yes: bool) -> None:
        """Answer by a key."""
        self.dismiss(yes)


@dataclass(frozen=True, slots=True)
class Field:
    """Something that a form asks for.

    Attributes:
        kind: a line of text, a text of many lines, one of `options`, yes and no, or the path of a file or folder.
        value: at first; "yes" or "" for yes and no.
        help: what it means, for who does not know.
        options: pairs of what is shown and what it stands for.
    """

    name: str
    label: str
    kind: Literal["text", "lines", "choice", "switch", "path"] = "text"
    value: str = ""
    help: str = ""
    options: Sequence[tuple[str, str]] = ()


class _Switch(Checkbox):
    """Yes or no, in words and with a box: that of Textual has its cross always, and tells by colour alone."""

    BUTTON_LEFT = BUTTON_INNER = BUTTON_RIGHT = ""

    def __init__(self, value: bool, *, id: str) -> None:
        super().__init__(self._said(value), value, id=id, compact=True)

    @staticmethod
    def _said(value: bool) -> Content:
        return Content("[x] yes" if value else "[ ] no")

    def watch_value(self) -> None:
        """Say the other word."""
        self.label = self._said(self.value)
        super().watch_value()


class FormDialog(Dialog[dict[str, str]]):
    """A form. The result has the value of each field by its name; a switch that is on has "yes", one that is off "".

    Args:
        check: given the values, why they will not do, or None.
        command: given the values, the command that does the same; shown below, while the form is filled in.
        follow: given the values before and after somebody has changed some, those of other fields that change with
            them, and a sentence that says so.
        verb: what the button says that ends it.
        tell: given values that will do, something about them, which is found out in a thread and shown below.
        refuse: given the values, the fields that are of no use with them, each with the reason. They are disabled.
    """

    BINDINGS = bindings("form")

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        *,
        verb: str,
        check: Callable[[Mapping[str, str]], str | None] = lambda values: None,  # noqa: ARG005
        command: Callable[[Mapping[str, str]], str] | None = None,
        follow: Callable[[Mapping[str, str], Mapping[str, str]], tuple[Mapping[str, str], str] | None] | None = None,
        tell: Callable[[Mapping[str, str]], str] | None = None,
        refuse: Callable[[Mapping[str, str]], Mapping[str, str]] = lambda values: {},  # noqa: ARG005
    ) -> None:
        super().__init__()
        # The hints that fields have now.
        self._refuse, self._hints = refuse, dict[str, str]()
        self._tell, self._told_of = tell, dict[str, str]()
        self._title, self._fields, self._verb, self._check, self._to_command = title, fields, verb, check, command
        self._follow, self._before, self._note = follow, dict[str, str](), ""

    def compose(self) -> ComposeResult:
        """A line for each field, the command, and two buttons."""
        telling = " -telling" if self._tell is not None else ""
        with Vertical(classes=f"box -form{telling}" if self._fields else "box"):
            yield Static(Text(one_line(self._title, 300)), classes="heading", markup=False)
            with VerticalScroll(can_focus=False):
                for field in self._fields:
                    with Horizontal(classes=f"field -{field.kind}"):
                        yield Label(Text(field.label), classes="label")
                        yield self._widget(field)
                    yield self._hint(field)
            yield Static(id="dialog-command", markup=False)
            yield Static(id="form-told", markup=False)
            yield Static(id="form-note", markup=False)
            yield Static(id="form-problem", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(self.labelled(self._verb, "form.done"), id="done", variant="primary", compact=True)
                yield from self.compose_buttons()
                yield Button(self.labelled("Close", "form.close"), id="close", compact=True)
                if self._to_command is not None:
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
        """What is in the form now."""
        found = {}
        for field in self._fields:
            widget: Any = self.query_one(f"#field-{field.name}")
            match field.kind:
                case "lines":
                    found[field.name] = widget.text
                case "switch":
                    found[field.name] = "yes" if widget.value else ""
                case _:
                    found[field.name] = str(widget.value)
        return found

    # What other forms do otherwise

    def compose_buttons(self) -> ComposeResult:
        """Further buttons."""
        yield from ()

    def problem_with(self, values: Mapping[str, str]) -> str | None:
        """Why the form cannot be ended with these values, or None."""
        return self._check(values)

    def note_on(self, values: Mapping[str, str]) -> str:  # noqa: ARG002
        """What there is to say of these values that is no problem."""
        return self._note

    def remark_on(self, values: Mapping[str, str]) -> str:  # noqa: ARG002
        """What is wrong, and yet does not keep the form from being ended."""
        return ""

    def finish(self, values: dict[str, str]) -> None:
        """End the form with these values."""
        self.dismiss(values)

    @property
    def is_locked(self) -> bool:
        """Whether the form is only to be looked at."""
        return False

    # What happens in it

    def _enable_fields(self, values: Mapping[str, str]) -> None:
        """Disable the fields that are of no use, and show why in place of their help."""
        refused = dict(self._refuse(values))
        before = None
        for field in self._fields:
            widget: Any = self.query_one(f"#field-{field.name}")
            reason = refused.get(field.name)
            # Nobody loses the cursor while typing.
            widget.disabled = self.is_locked or (reason is not None and not widget.has_focus_within)
            # Of fields that stand together, it is said once.
            shown = field.help if reason is None else "" if reason == before else reason
            before = reason
            if shown != self._hints.get(field.name, field.help):
                hint = self.query_one(f"#help-{field.name}", Static)
                hint.update(Text(one_line(shown, 300)))
                hint.display = bool(shown)
            self._hints[field.name] = shown

    def _followed(self) -> dict[str, str]:
        """What is in the form, once the fields are changed that change with others."""
        values = self.values
        if self._follow is not None and (found := self._follow(self._before, values)) is not None:
            follows, self._note = found
            for field in self._fields:
                if field.name in follows:
                    widget: Any = self.query_one(f"#field-{field.name}")
                    value = follows[field.name]
                    widget.value = value == "yes" if field.kind == "switch" else value
            values = self.values
        self._before = values
        return values

    def on_mount(self) -> None:
        """Begin with the first field."""
        self._before = self.values
        self.query_one("#form-told").display = self._tell is not None
        self.show()
        if self._fields:
            self.set_focus(self.query_one(f"#field-{self._fields[0].name}"))

    @on(Input.Changed)
    @on(TextArea.Changed)
    @on(Select.Changed)
    @on(Checkbox.Changed)
    def show(self) -> None:
        """Show the command, and what is wrong with the values."""
        values = self._followed()
        self._enable_fields(values)
        problem = self.problem_with(values)
        said = self.note_on(values)
        note = self.query_one("#form-note", Static)
        note.update(Text(one_line(said, 300)))
        note.display = bool(said)
        wrong = problem or self.remark_on(values)
        self.query_one("#form-problem", Static).update(Text(one_line(wrong, 300)))
        self.query_one("#done", Button).disabled = problem is not None
        if self._to_command is not None:
            self.command = self._to_command(values)
            self.show_command()
        if self._tell is not None:
            self._find_out(values, problem)

    def _find_out(self, values: dict[str, str], problem: str | None) -> None:
        """Have found out what there is to tell of values, if they are others than before."""
        wanted = {} if problem is not None else values
        if wanted == self._told_of:
            return
        self._told_of = wanted
        # What is shown is of other values, until the answer comes.
        self.query_one("#form-told", Static).update(Text("…" if wanted else ""))
        self.run_worker(partial(self._answer, wanted), thread=True, exclusive=True, group="tell")

    def _answer(self, values: dict[str, str]) -> None:
        worker = get_current_worker()
        sleep(_TYPING)
        if worker.is_cancelled or not values or self._tell is None:
            return
        try:
            text = self._tell(values)
        except Unwanted:
            return
        except Exception as error:
            text = sentence_of(error)[0]
        if not worker.is_cancelled:
            self.post_message(Told(text))

    @on(Told)
    def show_told(self, message: Told) -> None:
        """Show what was found out."""
        text = "\n".join(one_line(line, 300) for line in message.text.splitlines())
        self.query_one("#form-told", Static).update(Text(text))

    @on(PathInput.Completed)
    def list_paths(self, event: PathInput.Completed) -> None:
        """Show below a path, in place of what it is for, what it can become."""
        [field] = [each for each in self._fields if event.line.id == f"field-{each.name}"]
        if event.value != event.line.value or not field.help:
            return
        names = [PurePath(path).name + "/" * path.endswith("/") for path in event.found[:_LISTED]]
        more = f", and {len(event.found) - _LISTED:,} more" if len(event.found) > _LISTED else ""
        listed = one_line(", ".join(names), 300) + more
        self.query_one(f"#help-{field.name}", Static).update(Text(listed or field.help))

    @on(Input.Submitted)
    @on(Button.Pressed, "#done")
    def action_done(self) -> None:
        """End the form, if it can be."""
        # On a busy machine, a key may come before the fields do.
        if not self.is_mounted:
            return
        values = self._followed()
        if (problem := self.problem_with(values)) is None:
            self.finish(values)
        else:
            self.app.notify(one_line(problem, 300), severity="error", markup=False)

    @on(Button.Pressed, "#copy")
    def copy_by_button(self) -> None:
        """Copy the command, of what is in the form now."""
        self.action_copy_command()

    @on(Button.Pressed, "#close")
    def close_by_button(self) -> None:
        """Leave it."""
        self.dismiss(None)
