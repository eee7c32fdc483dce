"""Dialogs over another screen: a text to read, and a question to confirm."""

from typing import TypeVar

from rich.console import RenderableType
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.finders import Finder, RowFinder
from kdtui.tui.core.screen import ActionScreen
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.readable import Readable

Result = TypeVar("Result")


class Dialog(ModalScreen[Result], ActionScreen[Result]):
    """A screen over another, which stays visible around it; `escape` closes it without a result."""

    VERTICAL_BREAKPOINTS = [(0, "-short"), (36, "-tall"), (50, "-tallest")]  # noqa: RUF012

    command = ""
    """The command that does the same as the dialog; empty for none."""

    def action_close(self) -> None:
        """Close the dialog without a result."""
        self.dismiss(None)

    def action_scroll(self, direction: str) -> None:
        """Scroll the text."""
        for text in self.query(VerticalScroll):
            scroll(text, direction)

    def finder(self) -> Finder:
        """Return a finder for the text."""
        return RowFinder(self.query_one(Readable))

    def show_command(self) -> None:
        """Show the command after a prompt, or clear the line if there is none."""
        text = Text("$ " if self.command else "", style="dim")
        text.append(one_line(self.command, 600), style="not dim")
        self.query_one("#dialog-command", Static).update(text)

    def why_not(self, action: str) -> str | None:
        """Return why an action is not possible now."""
        if action == "copy_command" and not self.command:
            return "there is no command to copy"
        return super().why_not(action)

    def action_copy_command(self) -> None:
        self.app.copy_to_clipboard(self.command)
        self.kdtui.say(f"copied: {self.command}", error=False)

    def labelled(self, label: str, action: str) -> str:
        """Return the label of a button with the key of its action."""
        return f"{label} ({self.kdtui.key_of(action)})"


def scroll(text: VerticalScroll, direction: str) -> None:
    """Scroll without animation; the directions are the names of `scroll_actions`."""
    {
        "down": text.scroll_down,
        "up": text.scroll_up,
        "page_down": text.scroll_page_down,
        "page_up": text.scroll_page_up,
        "home": text.scroll_home,
        "end": text.scroll_end,
    }[direction](animate=False)


class TextDialog(Dialog[None]):
    """A text to read.

    Args:
        content: a `str` is shown as it is, never as markup.
        copies: the text that the copy key copies; by default the content, if it is a `str`.
    """

    BINDINGS = bindings("text")

    def __init__(self, title: str, content: str | RenderableType, *, copies: str | None = None) -> None:
        super().__init__()
        self._title = title
        self._text = Readable(Text(content) if isinstance(content, str) else content, markup=False)
        self._copies = copies if copies is not None else (content if isinstance(content, str) else "")

    def compose(self) -> ComposeResult:
        """Lay out the title and the text."""
        with Vertical(classes="box -large"):
            yield Static(Text(one_line(self._title, 300)), classes="heading", markup=False)
            with VerticalScroll():
                yield self._text
            yield Footer()

    def on_mount(self) -> None:
        """Focus the text."""
        self.set_focus(self.query_one(VerticalScroll))

    def action_copy(self) -> None:
        """Copy the text, or what was given to copy in its place."""
        self.app.copy_to_clipboard(self._copies)
        self.app.notify("copied", markup=False, timeout=3)


class ConfirmDialog(Dialog[bool]):
    """A question before something that cannot be undone.

    Args:
        question: what will be done.
        consequence: what will be lost.
        verb: the label of the button that confirms.
        command: the command that does the same; empty for none.
    """

    BINDINGS = bindings("confirm")

    def __init__(self, question: str, consequence: str, verb: str, command: str = "") -> None:
        super().__init__()
        self._question, self._consequence, self._verb, self.command = question, consequence, verb, command

    def compose(self) -> ComposeResult:
        """Lay out the question and the buttons."""
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
        """Focus the button that does no harm."""
        self.show_command()
        self.set_focus(self.query_one("#no"))

    @on(Button.Pressed, "#yes")
    @on(Button.Pressed, "#no")
    def answer(self, event: Button.Pressed) -> None:
        """Answer by a button."""
        self.dismiss(event.button.id == "yes")

    @on(Button.Pressed, "#copy")
    def copy_by_button(self) -> None:
        """Copy the command by the button."""
        self.action_copy_command()

    def action_answer(self, yes: bool) -> None:
        """Answer by a key."""
        self.dismiss(yes)
