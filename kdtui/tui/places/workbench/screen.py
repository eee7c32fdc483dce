"""The workbench: the sessions of a dataset, and those that were typed, to open and to have bundles generated for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label, Select, Static

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.core.screen import TYPING, Failed, StoreScreen
from kdtui.tui.core.services import RowWanted
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.workbench.session import SessionList, SessionScreen
from kdtui.tui.places.workbench.typed_form import TypedSessionsForm, TypedText
from kdtui.tui.places.workbench.typed_sessions import TypedSessions, generate_command
from kdtui.tui.widgets.drop_down import DropDown
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import Column, Row, RowTable
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


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for. Typed sessions are counted, so that a new one makes it another query."""

    dataset: str | None
    text: str
    typed: int


@dataclass(frozen=True, slots=True)
class Datasets:
    """What there is.

    Attributes:
        names: of all datasets.
        named_database: how a command has to name the store.
        place: of the session that is wanted, its dataset, its row number, and how many sessions come before it.
        problem: why there is no place.
    """

    names: list[str]
    named_database: Path | None
    place: tuple[str, int, int] | None = None
    problem: str = ""


class DatasetsFound(Message):
    """The datasets have come."""

    def __init__(self, found: Datasets) -> None:
        super().__init__()
        self.found = found


class SessionWanted(Message):
    """A session is to be opened that some other place knows of."""

    def __init__(self, dataset: str, session: str, came_from: str) -> None:
        super().__init__()
        self.dataset, self.session, self.came_from = dataset, session, came_from


class WorkbenchScreen(StoreScreen[None]):
    """A dataset's sessions, to look through and to open. Typed ones come first, whatever the dataset."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("workbench", "screen", "search", shown=("screen.import_dataset",))
    AUTO_FOCUS = "#sessions"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._named_database: Path | None = None
        self._typed = TypedSessions()
        self._query: Query | None = None
        # The last of which it is known that nothing matches it.
        self._in_vain: Query | None = None
        # The session that another place knows of, and its number: it is opened as soon as the list is there.
        self._wanted: SessionWanted | None = None
        self._to_open: int | None = None
        # The dataset that is to be listed as soon as it is known that it is there.
        self._dataset_wanted: str | None = None
        # The place that has had a session opened.
        self._came_from: str | None = None
        self._session_screen: SessionScreen | None = None

    def compose(self) -> ComposeResult:
        """The dataset and the filter, the sessions, and what to say when there are none."""
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
        self._show_notice("Looking for sessions…")
        self.call_after_refresh(self.action_reload)

    def action_reload(self) -> None:
        """Look for datasets, then for sessions."""
        wanted = self._wanted

        def question(db: "Database") -> Datasets:
            from store.datasets import dataset_names, session_place
            from store.errors import NotFound

            names, named = dataset_names(db), named_database(self.database)
            if wanted is None:
                return Datasets(names, named)
            try:
                place = wanted.dataset, *session_place(db, wanted.dataset, wanted.session)
                return Datasets(names, named, place)
            except NotFound as error:
                return Datasets(names, named, problem=str(error))

        self.ask(question, DatasetsFound, group="datasets")

    def on_session_wanted(self, message: SessionWanted) -> None:
        """Open a session that another place knows of."""
        # One that was open is not left by its key.
        if self._session_screen is not None:
            self._session_screen.drop_requests()
        self._wanted, self._came_from = message, message.came_from
        self.action_reload()

    def on_row_wanted(self, message: RowWanted) -> None:
        """List the sessions of a dataset."""
        if self._session_screen is not None:
            self._session_screen.drop_requests()
        self._dataset_wanted = message.key
        self.action_reload()

    def see_other_data(self) -> None:
        """Look for datasets again."""
        self.action_reload()

    def on_datasets_found(self, message: DatasetsFound) -> None:
        """Offer the datasets; keep the chosen one if it is still there."""
        found = message.found
        self._named_database = found.named_database
        row = self._table.cursor_row
        wanted = [self._dataset, self.remembered(_PLACE).get("dataset"), *found.names[:1]]
        if found.place is not None:
            self._wanted = None
            dataset, number, before = found.place
            self._to_open = number
            row = len(self._typed) + before
            wanted.insert(0, dataset)
            self._clear_filter()
        elif found.problem:
            self._wanted = None
            self.say(found.problem)
        dataset_wanted, self._dataset_wanted = self._dataset_wanted, None
        if dataset_wanted in found.names:
            wanted.insert(0, dataset_wanted)
            self._clear_filter()
            row = 0
        elif dataset_wanted is not None:
            self.say(f"there is no dataset {dataset_wanted!r} any more")
        select = self.query_one("#dataset", DropDown)
        with self.prevent(Select.Changed):
            select.set_options([(Text(one_line(name, 60)), name) for name in found.names] or _NO_DATASET)
            if found.names:
                select.value = next(each for each in wanted if each in found.names)
        if found.place is not None or dataset_wanted in found.names:
            self._be_at_dataset()
        else:
            self.remembered(_PLACE)["dataset"] = self._dataset
        self._find(row=row)

    def _clear_filter(self) -> None:
        """Have nothing left out of the list."""
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
        """What is filtered by."""
        return self.query_one("#filter", Input).value

    @on(Select.Changed, "#dataset")
    def show_dataset(self) -> None:
        """Show the sessions of the dataset that was chosen."""
        # Textual tells of the first value too, which nobody has chosen.
        if self._query is None or self._dataset == self._query.dataset:
            return
        self._be_at_dataset()
        self._find()
        self.set_focus(self._table)

    def _be_at_dataset(self) -> None:
        """Forms begin with the dataset that is shown here."""
        self.remembered(_PLACE)["dataset"] = self._dataset
        self.kdtui.datasets_here = () if self._dataset is None else (self._dataset,)

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The dataset whose sessions are listed."""
        return () if self._dataset is None else (self._dataset,)

    @on(Input.Changed, "#filter")
    def find_while_typing(self) -> None:
        """Search when the typing pauses."""
        self._find(after=TYPING)

    def action_leave_search(self) -> None:
        """Go from the filter to the list; where nothing has been found, by showing everything again."""
        if self._in_vain is not None and self._in_vain == self._query:
            self.action_clear_search()
        self._go_to_list()

    @on(Input.Submitted, "#filter")
    def _go_to_list(self) -> None:
        # A notice in its place takes no focus.
        self.set_focus(self._table if self._table.display else None)

    def action_clear_search(self) -> None:
        """Have all sessions listed."""
        self.query_one("#filter", Input).value = ""

    def _find(self, *, row: int = 0, after: float = 0.0) -> None:
        """Look for the sessions of the dataset that match the filter."""
        self.remembered(_PLACE)["filter"] = self._text
        self._query = query = Query(self._dataset, self._text, len(self._typed))
        typed = self._typed

        def find(db: "Database") -> "Iterator[Hits]":
            from store.datasets import session_hits
            from store.hits import Hits

            first = typed.numbers(query.text)
            if query.dataset is None:
                yield Hits(0, first, len(first))
                return
            for hits in session_hits(db, query.dataset, query.text):
                if not hits.first:
                    yield Hits(0, first + hits.ids, None if hits.count is None else len(first) + hits.count)
                else:
                    count = None if hits.count is None else len(first) + hits.count
                    yield Hits(len(first) + hits.first, hits.ids, count)

        def read(db: "Database", numbers: Sequence[int]) -> list[Row]:
            from store.datasets import session_rows

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
    def show_found(self, message: HitsTable.Found) -> None:
        """Show the table, or say why there is nothing in it."""
        query = self._query
        if query is None or message.question != query:
            return
        self._in_vain = None
        if message.count:
            self._show_notice("")
        elif message.done:
            self._in_vain = query
            sought = one_line(query.text, 60)
            if query.dataset is None:
                key = self.kdtui.key_of("workbench.type_session")
                steps = self.first_steps(self._named_database)
                self._show_notice(f"{steps}\n\nOr press {key} and type the products of one.")
            else:
                key = self.kdtui.key_of("workbench.clear_search")
                self._show_notice(
                    f"No session of this dataset matches “{sought}”.\n\n{key} shows all sessions again."
                    if sought
                    else "No session is here."
                )
        if message.first:
            self.refresh_bindings()
        if message.done and self._to_open is not None:
            number, self._to_open = self._to_open, None
            if number in self._table.ids:
                self._open(self._table.ids.index(number))

    @on(HitsTable.Failed)
    def show_failure(self, message: HitsTable.Failed) -> None:
        """Say what went wrong."""
        self.on_failed(Failed(message.sentence))

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong, for good where there is nothing else to see."""
        super().on_failed(message)
        if not self._table.row_count:
            self._show_notice(one_line(message.sentence))

    def _show_notice(self, sentence: str) -> None:
        """Show a sentence in place of the table, or the table. It must be fit to be shown."""
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
        # What was pressed before another place was gone to may be read after it.
        if self._query is None or not self.is_current:
            return
        self._table.move_to(row)
        sessions = SessionList(self._query.dataset, self._table.ids, self._typed, self._named_database)
        if self._session_screen is None:
            self._session_screen = SessionScreen(self.database, sessions, row)
            self.app.install_screen(self._session_screen, "session")
        else:
            self._session_screen.show_list(sessions, row)
        self.app.push_screen(self._session_screen, self._come_back)

    def _come_back(self, row: int | None) -> None:
        if row is not None:
            self._table.move_to(row)
        if self._came_from is not None:
            self.kdtui.action_show(self._came_from)

    def action_search(self) -> None:
        """Go to the filter."""
        self.set_focus(self.query_one("#filter", Input))

    def action_choose_dataset(self) -> None:
        """Open the list of datasets."""
        select = self.query_one("#dataset", DropDown)
        self.set_focus(select)
        select.action_show_overlay()

    def action_type_session(self) -> None:
        """Have a session typed, and open it; one that was typed and is under the cursor can be typed on."""
        key = self._table.cursor_key if self._table.display else None
        text = self._typed.text(int(key)) if key is not None and int(key) < 0 else ""
        first_number = self._typed.next_number

        def add(typed: TypedText | None) -> None:
            if typed is not None:
                self._came_from = None
                self._to_open = self._typed.add(typed.sessions, typed.text)
                self._clear_filter()
                self._find()

        form = TypedSessionsForm(text, first_number, self._dataset, self.kdtui.choice, self._named_database)
        self.app.push_screen(FormDialog(form), add)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Of the two actions of `escape`, the one that there is a reason for."""
        is_searching = isinstance(self.focused, Input | Select)
        if action == "leave_search":
            return is_searching
        if action == "clear_search":
            return not is_searching and bool(self._text)
        return super().check_action(action, parameters)

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        if self._dataset is None and (action == "choose_dataset" or (action == "search" and not self._typed)):
            return self.no_dataset
        return super().why_not(action)
