"""The place Workbench: lists the sessions of a dataset and the typed sessions, and opens them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Label, Select, Static

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.core.screen import TYPING, Failed, StoreScreen
from kdtui.tui.core.services import RowWanted
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.workbench.messages import (
    SessionQuery,
    SessionTarget,
    SessionWanted,
    WorkbenchData,
    WorkbenchDataLoaded,
)
from kdtui.tui.places.workbench.session_list import SessionList
from kdtui.tui.places.workbench.session_screen import SessionScreen
from kdtui.tui.places.workbench.typed_form import TypedSessionsForm, TypedText
from kdtui.tui.places.workbench.typed_sessions import TypedSessions, generate_command
from kdtui.tui.widgets.drop_down import DropDown
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.rows import Column, Row
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from store.hits import Hits
    from store.sqlite import Database

_COLUMNS = (
    Column("Session", 12, share=1),
    Column("Split", 5),
    Column("Items", 5, right=True),
    Column("Bundles", 7, right=True),
    Column("First product", 20, share=4),
)

_NO_DATASET = [("none yet", "")]

_PLACE = "workbench"


class WorkbenchScreen(StoreScreen[None]):
    """Lists the sessions of a dataset. Typed sessions come first, for any dataset."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("workbench", "screen", "search", shown=("screen.import_dataset",))
    AUTO_FOCUS = "#sessions"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._named_database: Path | None = None
        self._typed = TypedSessions()
        self._query: SessionQuery | None = None
        # The last query that matches nothing.
        self._empty_query: SessionQuery | None = None
        # The session that another place wants to open, and its number: it is opened when it is listed.
        self._requested_session: SessionWanted | None = None
        self._number_to_open: int | None = None
        # The dataset to list, after it is known to exist.
        self._requested_dataset: str | None = None
        # The place that has opened a session.
        self._came_from: str | None = None
        self._session_screen: SessionScreen | None = None

    def compose(self) -> ComposeResult:
        """Lay out the dataset and the filter, the list, and a notice in its place."""
        yield TopBar("workbench")
        with Horizontal(id="find"):
            yield Label("Dataset")
            yield DropDown(_NO_DATASET, id="dataset", allow_blank=False, compact=True)
            yield Label("Filter")
            text = self.remembered(_PLACE).get("filter")
            yield Input(
                text if isinstance(text, str) else "",
                placeholder="id, or words of products",
                id="filter",
                compact=True,
                select_on_focus=False,
            )
        yield HitsTable(_COLUMNS, id="sessions", database=self.database)
        yield Static(id="notice", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Load the datasets, after the first paint."""
        self._show_notice("Loading sessions…")
        self.call_after_refresh(self.action_reload)

    def action_reload(self) -> None:
        """Load the datasets, then the sessions."""
        requested = self._requested_session

        def question(db: "Database") -> WorkbenchData:
            from store.datasets import dataset_names
            from store.errors import NotFound
            from store.session_list import session_position

            names, named = dataset_names(db), named_database(self.database)
            if requested is None:
                return WorkbenchData(names, named)
            try:
                number, index = session_position(db, requested.dataset, requested.session)
            except NotFound as error:
                return WorkbenchData(names, named, problem=str(error))
            return WorkbenchData(names, named, SessionTarget(requested.dataset, number, index))

        self.ask(question, WorkbenchDataLoaded, group="datasets")

    def on_session_wanted(self, message: SessionWanted) -> None:
        """Open a session for another place."""
        # The user did not close the session that is open.
        if self._session_screen is not None:
            self._session_screen.drop_requests()
        self._requested_session, self._came_from = message, message.came_from
        self.action_reload()

    def on_row_wanted(self, message: RowWanted) -> None:
        """List the sessions of a dataset."""
        if self._session_screen is not None:
            self._session_screen.drop_requests()
        self._requested_dataset = message.key
        self.action_reload()

    def see_other_data(self) -> None:
        """Load the datasets again."""
        self.action_reload()

    def on_workbench_data_loaded(self, message: WorkbenchDataLoaded) -> None:
        """Offer the datasets; keep the chosen one if it still exists."""
        data = message.data
        self._named_database = data.named_database
        row = self._table.cursor_row
        candidates = [self._dataset, self.remembered(_PLACE).get("dataset"), *data.names[:1]]
        if data.target is not None:
            self._requested_session = None
            self._number_to_open = data.target.number
            row = len(self._typed) + data.target.index
            candidates.insert(0, data.target.dataset)
            self._clear_filter()
        elif data.problem:
            self._requested_session = None
            self.say(data.problem)
        requested, self._requested_dataset = self._requested_dataset, None
        if requested in data.names:
            candidates.insert(0, requested)
            self._clear_filter()
            row = 0
        elif requested is not None:
            self.say(f"there is no dataset {requested!r} any more")
        select = self.query_one("#dataset", DropDown)
        with self.prevent(Select.Changed):
            select.set_options([(Text(one_line(name, 60)), name) for name in data.names] or _NO_DATASET)
            if data.names:
                select.value = next(each for each in candidates if each in data.names)
        if data.target is not None or requested in data.names:
            self._use_dataset()
        else:
            self.remembered(_PLACE)["dataset"] = self._dataset
        self._find(row=row)

    def _clear_filter(self) -> None:
        """Clear the filter without a new search."""
        with self.prevent(Input.Changed):
            self.query_one("#filter", Input).value = ""

    @property
    def _table(self) -> HitsTable:
        return self.query_one("#sessions", HitsTable)

    @property
    def _dataset(self) -> str | None:
        value = self.query_one("#dataset", DropDown).value
        return value if isinstance(value, str) and value else None

    @property
    def _text(self) -> str:
        """The text of the filter."""
        return self.query_one("#filter", Input).value

    @on(Select.Changed, "#dataset")
    def show_dataset(self) -> None:
        """Show the sessions of the chosen dataset."""
        # Textual also posts the initial value.
        if self._query is None or self._dataset == self._query.dataset:
            return
        self._use_dataset()
        self._find()
        self.set_focus(self._table)

    def _use_dataset(self) -> None:
        """Make the listed dataset the initial one of forms."""
        self.remembered(_PLACE)["dataset"] = self._dataset
        self.kdtui.current_datasets = () if self._dataset is None else (self._dataset,)

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The listed dataset."""
        return () if self._dataset is None else (self._dataset,)

    @on(Input.Changed, "#filter")
    def find_while_typing(self) -> None:
        """Search when the user pauses."""
        self._find(after=TYPING)

    def action_leave_search(self) -> None:
        """Go from the filter to the list. If nothing matches, show all sessions again."""
        if self._empty_query is not None and self._empty_query == self._query:
            self.action_clear_search()
        self._go_to_list()

    @on(Input.Submitted, "#filter")
    def _go_to_list(self) -> None:
        # A notice in place of the list takes no focus.
        self.set_focus(self._table if self._table.display else None)

    def action_clear_search(self) -> None:
        """Clear the filter."""
        self.query_one("#filter", Input).value = ""

    def _find(self, *, row: int = 0, after: float = 0.0) -> None:
        """Search the dataset for sessions that match the filter."""
        self.remembered(_PLACE)["filter"] = self._text
        self._query = query = SessionQuery(self._dataset, self._text, len(self._typed))
        typed = self._typed

        def find(db: "Database") -> "Iterator[Hits]":
            from store.hits import Hits
            from store.session_list import session_hits

            typed_numbers = typed.numbers(query.text)
            offset = len(typed_numbers)
            if query.dataset is None:
                yield Hits(0, typed_numbers, offset)
                return
            for hits in session_hits(db, query.dataset, query.text):
                count = None if hits.count is None else offset + hits.count
                if not hits.first:
                    yield Hits(0, typed_numbers + hits.ids, count)
                else:
                    yield Hits(offset + hits.first, hits.ids, count)

        def read(db: "Database", numbers: Sequence[int]) -> list[Row]:
            from store.session_list import session_rows

            stored = session_rows(db, [number for number in numbers if number > 0])
            return [
                *(typed.row(number) for number in numbers if number < 0),
                *(
                    Row(
                        str(row.number),
                        (row.session, row.split or "–", f"{row.items:,}", f"{row.bundles:,}", row.first_title or "–"),
                    )
                    for row in stored
                ),
            ]

        self._table.search(query, find, read, row=row, after=after)

    @on(HitsTable.Found)
    def show_hits(self, message: HitsTable.Found) -> None:
        """Show the list, or why it is empty."""
        query = self._query
        if query is None or message.question != query:
            return
        self._empty_query = None
        if message.count:
            self._show_notice("")
        elif message.done:
            self._empty_query = query
            text = one_line(query.text, 60)
            if query.dataset is None:
                key = self.kdtui.key_of("workbench.type_session")
                steps = self.first_steps(self._named_database)
                self._show_notice(f"{steps}\n\nOr press {key} and type the products of a session.")
            else:
                key = self.kdtui.key_of("workbench.clear_search")
                self._show_notice(
                    f"No session of this dataset matches “{text}”.\n\n{key} shows all sessions again."
                    if text
                    else "The dataset has no sessions."
                )
        if message.first:
            self.refresh_bindings()
        if message.done and self._number_to_open is not None:
            number, self._number_to_open = self._number_to_open, None
            if number in self._table.ids:
                self._open(self._table.ids.index(number))

    @on(HitsTable.Failed)
    def show_failure(self, message: HitsTable.Failed) -> None:
        """Say what went wrong."""
        self.post_message(Failed(message.sentence))

    def on_failed(self, message: Failed) -> None:
        """Keep the failure on the screen if there is no list."""
        if not self._table.row_count:
            self._show_notice(one_line(message.sentence))

    def _show_notice(self, sentence: str) -> None:
        """Show a sentence in place of the list, or the list.

        Args:
            sentence: safe to display; empty to show the list.
        """
        self.show_content(self._table, unless=sentence, focus=self._table)
        if sentence:
            self.show_command("")

    @on(RowTable.RowHighlighted, "#sessions")
    def show_command_of_row(self, event: RowTable.RowHighlighted) -> None:
        """Show the command for the session under the cursor."""
        number = int(event.key)
        if self._query is None:
            return
        if number < 0:
            session = self._typed.session(number)
            self.show_command(generate_command(session, self._query.dataset, self.kdtui.choice, self._named_database))
            return
        row = self._table.row_at(event.row)
        assert row is not None
        self.show_command(
            command_line(
                ("data", "show"),
                str(row.cells[0]),
                {"--dataset": self._query.dataset},
                database=self._named_database,
            )
        )

    @on(RowTable.RowSelected, "#sessions")
    def open_session(self, event: RowTable.RowSelected) -> None:
        """Open the session under the cursor."""
        if self._table.ids and event.row < len(self._table.ids):
            self._came_from = None
            self._open(event.row)

    def _open(self, row: int) -> None:
        # A key from before the user left the place can arrive later.
        if self._query is None or not self.is_current:
            return
        self._table.move_to(row)
        sessions = SessionList(self._query.dataset, self._table.ids, self._typed, self._named_database)
        if self._session_screen is None:
            self._session_screen = SessionScreen(self.database, sessions, row)
            self.app.install_screen(self._session_screen, "session")
        else:
            self._session_screen.show_list(sessions, row)
        self.app.push_screen(self._session_screen, self._return_to_list)

    def _return_to_list(self, row: int | None) -> None:
        if row is not None:
            self._table.move_to(row)
        if self._came_from is not None:
            self.kdtui.action_show(self._came_from)

    def action_search(self) -> None:
        self.set_focus(self.query_one("#filter", Input))

    def action_choose_dataset(self) -> None:
        select = self.query_one("#dataset", DropDown)
        self.set_focus(select)
        select.action_show_overlay()

    def action_type_session(self) -> None:
        """Open the form for typed sessions; it starts with the typed session under the cursor."""
        key = self._table.cursor_key if self._table.display else None
        text = self._typed.text(int(key)) if key is not None and int(key) < 0 else ""
        first_number = self._typed.next_number

        def add(typed: TypedText | None) -> None:
            if typed is not None:
                self._came_from = None
                self._number_to_open = self._typed.add(typed.sessions, typed.text)
                self._clear_filter()
                self._find()

        form = TypedSessionsForm(text, first_number, self._dataset, self.kdtui.choice, self._named_database)
        self.app.push_screen(FormDialog(form), add)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Of the two actions on `escape`, offer the one that applies now."""
        is_searching = isinstance(self.focused, Input | Select)
        if action == "leave_search":
            return is_searching
        if action == "clear_search":
            return not is_searching and bool(self._text)
        return super().check_action(action, parameters)

    def why_not(self, action: str) -> str | None:
        """Return why an action is not possible now."""
        if self._dataset is None and (action == "choose_dataset" or (action == "search" and not self._typed)):
            return self.no_dataset
        return super().why_not(action)
