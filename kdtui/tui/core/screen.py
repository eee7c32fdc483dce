"""The base classes of all screens."""

import asyncio
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
from kdtui.tui.core.store_worker import StoreChanged, ask_store, change_store, named_database, sentence_of
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from store.sqlite import Database

Answer = TypeVar("Answer")
Result = TypeVar("Result")

TYPING = 0.01
"""Seconds without a key after which a search starts; the next key cancels it."""


class Failed(Message):
    """A worker failed; the sentence is for the user."""

    def __init__(self, sentence: str, details: str = "") -> None:
        super().__init__()
        self.sentence, self.details = sentence, details


class ImportOptionsLoaded(Message):
    """The existing datasets are known, so that the import form can open."""

    def __init__(self, datasets: list[str], named_database: Path | None) -> None:
        super().__init__()
        self.datasets, self.named_database = datasets, named_database


class ActionScreen(Screen[Result]):
    """A screen with actions.

    The footer dims an action that is not possible now, and its key says why.
    """

    @property
    def kdtui(self) -> Services:
        """The app with what its screens use; for Textual, `app` is any app."""
        return cast("Services", self.app)

    last_words = ""
    """The words that were searched last on this screen."""

    def finder(self) -> Finder:
        """Return what the find line searches on this screen."""
        raise NotImplementedError

    def action_find(self) -> None:
        """Open the find line."""
        self.kdtui.open_find(self.finder(), self._keep_words)

    def _keep_words(self, words: str) -> None:
        if words:
            self.last_words = words
            self.refresh_bindings()

    def action_find_next(self) -> None:
        """Go to the next match of the last words."""
        self._find_again(1)

    def action_find_previous(self) -> None:
        """Go to the previous match of the last words."""
        self._find_again(-1)

    def _find_again(self, direction: Literal[-1, 1]) -> None:
        finder = self.finder()

        def report(is_found: bool) -> None:
            if not is_found:
                self.notify(finder.nowhere, severity="warning", timeout=5, markup=False)

        finder.find(self.last_words, direction, report)

    def why_not(self, action: str) -> str | None:
        """Return why an action is not possible now, as a sentence without a full stop; None if it is."""
        if action in ("find_next", "find_previous") and not self.last_words:
            return "nothing was searched here yet"
        return None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Dim actions that are not possible now."""
        return super().check_action(action, parameters) if self.why_not(action) is None else None

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Close this screen only once: Textual pops whatever is on top, and a key or click can come twice."""
        return super().dismiss(result) if self.is_active else AwaitComplete()


class StoreScreen(ActionScreen[Result]):
    """A screen that reads the store in threads, and shows the command that does the same.

    A subclass with a command lays out a `Static` with the id `command`.
    """

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (16, "-tall")]  # noqa: RUF012

    def __init__(self, database: Path) -> None:
        super().__init__()
        self.database = database
        self.command = ""

    def on_mount(self) -> None:
        """Follow tasks and changes of the data."""
        self.kdtui.task_changed.subscribe(self, self._show_tasks)
        self.kdtui.data_changed.subscribe(self, self._see_other_data)
        self._show_tasks()

    def _show_tasks(self, _: object = None) -> None:
        for bar in self.query(TopBar):
            bar.work = " · ".join(task.state for task in self.kdtui.running_tasks)

    def _see_other_data(self, _: None) -> None:
        self.see_other_data()

    def see_other_data(self) -> None:
        """Load again, because datasets or knowledge have changed."""

    def remembered(self, place: str) -> MutableMapping[str, Any]:
        """Return what a place remembers between two runs of the program; the user can have edited it."""
        return self.kdtui.memory.of(place)

    # The current dataset

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The datasets of the row under the cursor, if it has any."""
        return ()

    @on(RowTable.RowPointed)
    def be_at_row(self) -> None:
        """Make the datasets of the row the initial ones of forms."""
        if datasets := self.datasets_under_cursor:
            self.kdtui.current_datasets = tuple(datasets)

    def datasets_to_begin_with(self, existing: Sequence[str], last: object = None) -> list[str]:
        """Return the initial datasets of a form: those that the user chose or pointed at last, in any place.

        Args:
            existing: the datasets to choose from.
            last: the dataset that the form was used with last; it counts only if no other dataset is current.

        Returns:
            At least one existing dataset, or none if none exists.
        """
        workbench = self.remembered("workbench").get("dataset")
        # The user can have edited the memory.
        for candidates in (self.kdtui.current_datasets, [workbench], self.datasets_under_cursor, [last], existing[:1]):
            if datasets := [name for name in existing if name in candidates]:
                return datasets
        return []

    # Reading the store

    def ask(
        self,
        question: "Callable[[Database], Answer]",
        message: Callable[[Answer], Message] | None,
        *,
        group: str,
        after: float = 0.0,
    ) -> None:
        """Read the store in a thread, and post the answer as a message. A later question of the group cancels this one.

        Args:
            message: makes the message from the answer; None if the question posts messages itself.
            after: seconds to wait first, in case a later question follows.
        """
        self.run_worker(
            partial(self._ask, question, message, after), thread=True, exclusive=True, group=group, name=group
        )

    def _ask(
        self, question: "Callable[[Database], Answer]", message: Callable[[Answer], Message] | None, after: float
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
        if message is not None and not worker.is_cancelled:
            self.post_message(message(answer))

    def write(self, change: "Callable[[Database], StoreChanged]") -> None:
        """Change the store in a thread, and post the message that the change returns, or `Failed`.

        Changes are made one after the other, in the order of the calls. Neither a later call nor closing the screen
        cancels one.
        """
        # Not a worker, which would be cancelled when the app quits.
        task = asyncio.create_task(self._write(change), name="change")
        self.kdtui.changes.add(task)
        task.add_done_callback(self.kdtui.changes.discard)

    async def _write(self, change: "Callable[[Database], StoreChanged]") -> None:
        async with self.kdtui.changing:
            outcome = await asyncio.to_thread(self._outcome_of, change)
        # A closed screen takes no messages, and a closed app shows none.
        if not self.post_message(outcome) and self.app.is_running:
            details = outcome.details if isinstance(outcome, Failed) else ""
            self.say(outcome.sentence, error=isinstance(outcome, Failed), details=details)

    def _outcome_of(self, change: "Callable[[Database], StoreChanged]") -> StoreChanged | Failed:
        try:
            return change_store(self.database, change, self.app.post_message)
        except Exception as error:
            return Failed(*sentence_of(error))

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong. Textual calls this after the handler of a subclass."""
        self.say(message.sentence, details=message.details)

    def say(self, sentence: str, *, error: bool = True, details: str = "") -> None:
        """Show a sentence for some seconds; a key shows it again with the details."""
        self.kdtui.say(sentence, error=error, details=details)

    def first_steps(self, named_database: Path | None) -> str:
        """Return what to do without a dataset.

        Args:
            named_database: the store, if commands have to name it.
        """
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
        """Why an action without a dataset is not possible, and what to do."""
        key = self.kdtui.key_of
        return (
            f"there is no dataset yet; {key('screen.import_demo')} imports the demo, and "
            f"{key('screen.import_dataset')} your own sessions"
        )

    # Imports

    def action_import_dataset(self) -> None:
        """Load the existing datasets, then open the form."""

        def question(db: "Database") -> ImportOptionsLoaded:
            from store.datasets import dataset_names

            return ImportOptionsLoaded(dataset_names(db), named_database(self.database))

        self.ask(question, lambda message: message, group="imports")

    def on_import_options_loaded(self, message: ImportOptionsLoaded) -> None:
        """Open the form, or show the progress of a running import."""
        if self.is_current:
            self.kdtui.open_import(message.datasets, message.named_database)

    def action_import_demo(self) -> None:
        """Import the demo, and show the progress."""
        self.kdtui.open_demo_import()

    def look_again(self) -> str:
        """Return the hint to reload after a change by another program."""
        return f"Then press {self.kdtui.key_of('screen.reload')} to reload."

    def show_content(self, content: Widget, *, unless: str, focus: Widget) -> bool:
        """Show the content of the screen, or a notice in its place, in `#notice`.

        Args:
            unless: the notice, safe to display; empty to show the content.
            focus: the widget that gets the focus when the content appears and nothing else has it.

        Returns:
            Whether the content appeared or disappeared.
        """
        notice = self.query_one("#notice", Static)
        if unless:
            notice.update(Text(unless))
        before = content.display, notice.display
        content.display, notice.display = not unless, bool(unless)
        # Textual lets a hidden widget keep the focus, or moves it later, when the widget can be visible again.
        if unless and self.focused is not None and content in self.focused.ancestors_with_self:
            self.set_focus(None)
        elif not unless and self.focused is None:
            self.set_focus(focus)
        return before != (content.display, notice.display)

    def show_command(self, command: str) -> None:
        """Show the command that does the same as this screen."""
        had_command, self.command = bool(self.command), command
        shown = Text("$ " if command else "", style="dim", no_wrap=True, overflow="ellipsis")
        shown.append(one_line(command, 1000), style="not dim")
        self.query_one("#command", Static).update(shown, layout=False)
        # This rebuilds the footer, so it is not done at each step of a cursor.
        if had_command != bool(command):
            self.refresh_bindings()

    def why_not(self, action: str) -> str | None:
        """Return why an action is not possible now, as a sentence without a full stop; None if it is."""
        if action == "find_row" and not self._lists:
            return "there are no rows to search"
        if action == "copy_command" and not self.command:
            return "there is no command to copy"
        return super().why_not(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return False before the screen is mounted: the footer asks earlier."""
        return super().check_action(action, parameters) if self.is_mounted else False

    def action_find_row(self) -> None:
        """Find a row of the focused list, or else of the first list."""
        self.kdtui.open_find(RowFinder(self._lists[0]))

    @property
    def _lists(self) -> "list[RowTable]":
        """The visible lists with rows, the focused one first."""
        shown = [table for table in self.query(RowTable) if table.allow_focus() and table.row_count]
        return sorted(shown, key=lambda table: table is not self.focused)

    def action_copy_command(self) -> None:
        self.app.copy_to_clipboard(self.command)
        self.say(f"copied: {self.command}", error=False)
