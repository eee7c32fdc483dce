"""What all screens have in common."""

from collections.abc import Callable, MutableMapping, Sequence
from functools import partial
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from rich.text import Text
from textual import on
from textual.await_complete import AwaitComplete
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import get_current_worker

from kdtui.text import one_line
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.finders import Finder, RowFinder
from kdtui.tui.core.services import Services
from kdtui.tui.core.store_worker import ask_store, named_database, sentence_of
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from store.sqlite import Database

Answer = TypeVar("Answer")
Result = TypeVar("Result")

TYPING = 0.01
"""Seconds without a key after which a search begins: the next one stops it at once."""


class Failed(Message):
    """A worker could not do what it was to do; the sentence is for the user."""

    def __init__(self, sentence: str, details: str = "") -> None:
        super().__init__()
        self.sentence, self.details = sentence, details


class ImportsFound(Message):
    """What there is to know before a dataset is imported."""

    def __init__(self, datasets: list[str], named_database: Path | None) -> None:
        super().__init__()
        self.datasets, self.named_database = datasets, named_database


class ActionScreen(Screen[Result]):
    """What places and dialogs have in common.

    Where an action cannot be done just now, the footer shows it dim, and its key says why.
    """

    @property
    def kdtui(self) -> Services:
        """The app."""
        return cast("Services", self.app)

    looked_for = ""
    """What was looked for last in what there is to read here."""

    def finder(self) -> Finder:
        """What there is to read here, to have words looked for in it."""
        raise NotImplementedError

    def action_find(self) -> None:
        """Find words in what there is to read."""
        self.kdtui.open_find(self.finder(), self._keep_words)

    def _keep_words(self, words: str) -> None:
        if words:
            self.looked_for = words
            self.refresh_bindings()

    def action_find_next(self) -> None:
        """Go to the next place that has what was looked for last."""
        self._find_on(1)

    def action_find_previous(self) -> None:
        """Go to the previous place that has it."""
        self._find_on(-1)

    def _find_on(self, way: Literal[-1, 1]) -> None:
        finder = self.finder()

        def told(is_found: bool) -> None:
            if not is_found:
                self.notify(finder.nowhere, severity="warning", timeout=5, markup=False)

        finder.find(self.looked_for, way, told)

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now, as a sentence without a full stop; None where it can."""
        if action in ("find_next", "find_previous") and not self.looked_for:
            return "nothing was looked for here yet"
        return None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Show what cannot be done now, but dim; its key says why."""
        return super().check_action(action, parameters) if self.why_not(action) is None else None

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Leave it, once: Textual takes away what is on top, and a key or click may come twice before it is gone."""
        return super().dismiss(result) if self.is_active else AwaitComplete()


class StoreScreen(ActionScreen[Result]):
    """A screen that asks the store in threads, and shows the command that does the same.

    A screen has a `Static` with the id `command`, if it has a command at all.
    """

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (16, "-tall")]  # noqa: RUF012

    def __init__(self, database: Path) -> None:
        super().__init__()
        self.database = database
        self.command = ""

    def on_mount(self) -> None:
        """Hear of what is at work, and of other data, whatever else a screen does when it comes."""
        self.kdtui.task_changed.subscribe(self, self._show_tasks)
        self.kdtui.data_changed.subscribe(self, self._see_other_data)
        self._show_tasks()

    def _show_tasks(self, _: object = None) -> None:
        for bar in self.query(TopBar):
            bar.work = " · ".join(task.state for task in self.kdtui.tasks_at_work)

    def _see_other_data(self, _: None) -> None:
        self.see_other_data()

    def see_other_data(self) -> None:
        """Look again: there are other datasets, or there is other knowledge, than there was."""

    def remembered(self, place: str) -> MutableMapping[str, Any]:
        """What a place remembers between two starts of the program; it may have been edited by anyone."""
        return self.kdtui.memory.of(place)

    # The dataset that the user is at

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The datasets that the row under the cursor is about, where it is about some."""
        return ()

    @on(RowTable.RowPointed)
    def be_at_row(self) -> None:
        """Forms begin with the datasets of the row that the user points at."""
        if datasets := self.datasets_under_cursor:
            self.kdtui.datasets_here = tuple(datasets)

    def datasets_to_begin_with(self, there: Sequence[str], last: object = None) -> list[str]:
        """The datasets that a form begins with: those that the user chose or pointed at last, in whatever place.

        Args:
            there: those that there are to choose from.
            last: the dataset that the form was used with last; it counts only where the user is at none.

        Returns:
            One or more of them; none where there is none to choose from.
        """
        workbench = self.remembered("workbench").get("dataset")
        # What is remembered may have been edited by anyone.
        for wanted in (self.kdtui.datasets_here, [workbench], self.datasets_under_cursor, [last], there[:1]):
            if found := [name for name in there if name in wanted]:
                return found
        return []

    # Asking the store

    def ask(
        self,
        question: "Callable[[Database], Answer]",
        message: Callable[[Answer], Message],
        *,
        group: str,
        after: float = 0.0,
    ) -> None:
        """Ask the store in a thread, and post the answer as a message. A later question of the group takes over.

        Args:
            after: seconds to wait first, for a later question that makes this one needless.
        """
        self.run_worker(
            partial(self._ask, question, message, after), thread=True, exclusive=True, group=group, name=group
        )

    def _ask(
        self, question: "Callable[[Database], Answer]", message: Callable[[Answer], Message], after: float
    ) -> None:
        worker = get_current_worker()
        if after:
            sleep(after)
        if worker.is_cancelled:
            return
        try:
            answer = ask_store(self.database, question)
        except Exception as error:
            if worker.is_cancelled:
                return
            self.post_message(Failed(*sentence_of(error)))
            return
        if not worker.is_cancelled:
            self.post_message(message(answer))

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong."""
        self.say(message.sentence, details=message.details)

    def say(self, sentence: str, *, error: bool = True, details: str = "") -> None:
        """Show a sentence for some seconds; it can be read again, with the details, by a key."""
        self.kdtui.say(sentence, error=error, details=details)

    def first_steps(self, named_database: Path | None) -> str:
        """What to do where there is no dataset; the path is that of a store that commands do not find by themselves."""
        demo = command_line(("demo", "--data-only"), database=named_database)
        own = command_line(("data", "import"), "PATH", {"--dataset": "NAME"}, database=named_database)
        return (
            f"There is no dataset yet. Press {self.kdtui.key_of('screen.import_demo')} for the demo, two small "
            f"datasets of invented products, or {self.kdtui.key_of('screen.import_dataset')} to import your own "
            "sessions. In a shell:\n\n"
            f"    {one_line(demo)}\n    {one_line(own)}\n\n{self.look_again()}"
        )

    @property
    def no_dataset(self) -> str:
        """Why nothing can be done that needs a dataset, and what to do."""
        key = self.kdtui.key_of
        return (
            f"there is no dataset yet; {key('screen.import_demo')} imports the demo, and "
            f"{key('screen.import_dataset')} your own sessions"
        )

    # Datasets that are imported

    def action_import_dataset(self) -> None:
        """Look for what there is already; the form follows."""

        def question(db: "Database") -> tuple[list[str], Path | None]:
            from store.datasets import dataset_names

            return dataset_names(db), named_database(self.database)

        self.ask(question, lambda found: ImportsFound(*found), group="imports")

    def on_imports_found(self, message: ImportsFound) -> None:
        """Ask what to import, or show how far an import is."""
        if self.is_current:
            self.kdtui.open_import(message.datasets, message.named_database)

    def action_import_demo(self) -> None:
        """Import the demo, and show how far that is."""
        self.kdtui.open_demo_import()

    def look_again(self) -> str:
        """That the screen does not notice by itself what is done elsewhere."""
        return f"Then press {self.kdtui.key_of('screen.reload')} to look again."

    def show_content(self, content: Widget, *, unless: str, focus: Widget) -> bool:
        """Show the content of the screen, unless there is a sentence to be shown in its place, in `#notice`.

        Args:
            unless: the sentence, fit to be shown; empty where there is content.
            focus: what of the content takes the keys when it comes to be shown, where nothing else takes them.

        Returns:
            Whether the content was hidden and is shown now, or the other way round.
        """
        notice = self.query_one("#notice", Static)
        if unless:
            notice.update(Text(unless))
        before = content.display, notice.display
        content.display, notice.display = not unless, bool(unless)
        # Textual lets what is hidden keep the keys, or takes them away later, when it may be shown again.
        if unless and self.focused is not None and content in self.focused.ancestors_with_self:
            self.set_focus(None)
        elif not unless and self.focused is None:
            self.set_focus(focus)
        return before != (content.display, notice.display)

    def show_command(self, command: str) -> None:
        """Show the command that does the same as this screen."""
        there_was, self.command = bool(self.command), command
        shown = Text("$ " if command else "", style="dim", no_wrap=True, overflow="ellipsis")
        shown.append(one_line(command, 1000), style="not dim")
        self.query_one("#command", Static).update(shown, layout=False)
        # The footer is made anew by this, so not at every step of a cursor.
        if there_was != bool(command):
            self.refresh_bindings()

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now, as a sentence without a full stop; None where it can."""
        if action == "find_row" and not self._lists:
            return "there are no rows to find one in"
        if action == "copy_command" and not self.command:
            return "there is no command to copy"
        return super().why_not(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A footer asks before the other parts of the screen are there."""
        return super().check_action(action, parameters) if self.is_mounted else False

    def action_find_row(self) -> None:
        """Find a row of the list that has the focus, or else of the first one."""
        self.kdtui.open_find(RowFinder(self._lists[0]))

    @property
    def _lists(self) -> "list[RowTable]":
        """The lists that are shown and have rows, the one that has the focus first."""
        shown = [table for table in self.query(RowTable) if table.allow_focus() and table.row_count]
        return sorted(shown, key=lambda table: table is not self.focused)

    def action_copy_command(self) -> None:
        """Copy the command."""
        self.app.copy_to_clipboard(self.command)
        self.say(f"copied: {self.command}", error=False)
