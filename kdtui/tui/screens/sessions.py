"""The sessions of a dataset."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import DataTable, Footer, Input, Label, Select, Static

from kdtui.bundling.text import one_line
from kdtui.tui.background import named_database
from kdtui.tui.choice import Choice
from kdtui.tui.commands import command_line
from kdtui.tui.generation import GenerationThread
from kdtui.tui.screens.base import COPY, PAGE, TYPING, Failed, KdtuiScreen, first_steps
from kdtui.tui.screens.session import SessionScreen
from kdtui.tui.widgets.flex_table import FlexColumn, FlexTable
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from sqlite_utils import Database

    from store.datasets import SessionRow

_COLUMNS = (
    FlexColumn("Session", 12, share=1),
    FlexColumn("Split", 5),
    FlexColumn("Items", 5, right=True),
    FlexColumn("Bundles", 7, right=True),
    FlexColumn("First product", 20, share=4),
)


_NO_DATASET = [("none yet", "")]


class SessionsTable(FlexTable):
    """A table of sessions, where `enter` opens one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Open", tooltip="Open the session: its products and bundles"),
    ]


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for, and the row from which on."""

    dataset: str
    text: str
    offset: int = 0


class DatasetsFound(Message):
    """The names of all datasets, and how a command has to name the store."""

    def __init__(self, found: tuple[list[str], Path | None]) -> None:
        super().__init__()
        self.names, self.named_database = found


class SessionsFound(Message):
    """A page of sessions."""

    def __init__(self, query: Query, rows: "list[SessionRow]") -> None:
        super().__init__()
        self.query, self.rows = query, rows


class SessionsScreen(KdtuiScreen[None]):
    """A dataset's sessions, to look through and to open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", tooltip="Find sessions by id, or by words of titles and categories"),
        COPY,
        Binding("d", "choose_dataset", "Dataset", tooltip="Choose another dataset"),
        Binding("r", "reload", "Reload", tooltip="Look again, for what other commands have changed"),
        Binding("escape,down", "leave_filter", "To the list", show=False),
    ]
    AUTO_FOCUS = "#sessions"

    def __init__(self, database: Path, generation: GenerationThread, choice: Choice) -> None:
        super().__init__(database)
        self._generation = generation
        self._choice = choice
        self._named_database: Path | None = None
        self._query: Query | None = None

    def compose(self) -> ComposeResult:
        """The dataset and the filter, the sessions, and what to say when there are none."""
        yield TopBar("sessions")
        with Horizontal(id="find"):
            yield Label("Dataset")
            yield Select[str](_NO_DATASET, id="dataset", allow_blank=False, compact=True)
            yield Label("Filter")
            yield Input(placeholder="id, or words of products", id="filter", compact=True)
        yield SessionsTable(_COLUMNS, id="sessions")
        yield Static("Looking for sessions…", id="notice", markup=False)
        yield Static(id="command", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Load the datasets, after the first paint."""
        self.call_after_refresh(self.action_reload)

    def action_reload(self) -> None:
        """Look for datasets, then for sessions."""

        def question(db: "Database") -> tuple[list[str], Path | None]:
            from store.datasets import dataset_names

            return dataset_names(db), named_database(self.database)

        self.ask(question, DatasetsFound, group="datasets")

    def on_datasets_found(self, message: DatasetsFound) -> None:
        """Offer the datasets; keep the chosen one if it is still there."""
        self._named_database = message.named_database
        select: Select[str] = self.query_one("#dataset", Select)
        chosen = self._dataset if self._dataset in message.names else None
        with self.prevent(Select.Changed):
            select.set_options([(Content(one_line(name, 60)), name) for name in message.names] or _NO_DATASET)
            if message.names:
                select.value = chosen or message.names[0]
        if message.names:
            self._find()
        else:
            self._query = None
            self._show_notice(first_steps(self._named_database))

    @property
    def _dataset(self) -> str | None:
        value = self.query_one("#dataset", Select).value
        return value if isinstance(value, str) and value else None

    @on(Select.Changed, "#dataset")
    def show_dataset(self) -> None:
        """Show the sessions of the dataset that was chosen."""
        self._find()
        self.query_one(FlexTable).focus()

    @on(Input.Changed, "#filter")
    def find_while_typing(self) -> None:
        """Search when the typing pauses."""
        self._find(after=TYPING)

    @on(Input.Submitted, "#filter")
    def action_leave_filter(self) -> None:
        """Go from the filter to the list."""
        table = self.query_one(FlexTable)
        # A notice in its place takes no focus.
        self.set_focus(table if table.display else None)

    def _find(self, *, after: float = 0.0) -> None:
        dataset = self._dataset
        if dataset is not None:
            self._load(Query(dataset, self.query_one("#filter", Input).value), after=after)

    def _load(self, query: Query, *, after: float = 0.0) -> None:
        self._query = query

        def question(db: "Database") -> "list[SessionRow]":
            from store.datasets import find_sessions

            return find_sessions(db, query.dataset, query.text, limit=PAGE, offset=query.offset)

        self.ask(question, lambda rows: SessionsFound(query, rows), group="sessions", after=after)

    def on_sessions_found(self, message: SessionsFound) -> None:
        """Show the sessions, unless something else has been asked for meanwhile."""
        query = message.query
        if query != self._query:
            return
        table = self.query_one(FlexTable)
        if not query.offset:
            table.clear()
        if not message.rows and not query.offset:
            sought = one_line(query.text, 60)
            self._show_notice(f"No session of this dataset matches “{sought}”." if sought else "No session is here.")
            return
        self.query_one("#notice").display = False
        table.display = True
        table.add_page(
            (
                (
                    row.session,
                    (row.session, row.split or "–", f"{row.items:,}", f"{row.bundles:,}", row.first_title or "–"),
                )
                for row in message.rows
            ),
            more=len(message.rows) == PAGE,
        )
        if self.focused is None:
            table.focus()
        self.refresh_bindings()

    def on_flex_table_near_end(self) -> None:
        """Load the next page."""
        if self._query is not None:
            query = self._query
            self._load(Query(query.dataset, query.text, self.query_one(FlexTable).row_count))

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong, for good where there is nothing else to see."""
        super().on_failed(message)
        if not self.query_one(FlexTable).row_count:
            self._show_notice(one_line(message.sentence))

    def _show_notice(self, sentence: str) -> None:
        """Show a sentence in place of the table. It must be fit to be shown."""
        table = self.query_one(FlexTable)
        table.clear()
        table.display = False
        notice = self.query_one("#notice", Static)
        notice.update(Text(sentence))
        notice.display = True
        self.show_command("")

    @on(DataTable.RowHighlighted, "#sessions")
    def show_command_of_row(self, event: DataTable.RowHighlighted) -> None:
        """Show the command for the session under the cursor."""
        if event.row_key.value is not None and self._query is not None:
            self.show_command(
                command_line(
                    ("data", "show"),
                    event.row_key.value,
                    {"--dataset": self._query.dataset},
                    database=self._named_database,
                )
            )

    @on(DataTable.RowSelected, "#sessions")
    def open_session(self) -> None:
        """Open the session under the cursor."""
        table = self.query_one(FlexTable)
        if self._query is None or not table.row_count:
            return
        screen = SessionScreen(
            self.database,
            self._generation,
            self._choice,
            dataset=self._query.dataset,
            sessions=[str(row.key.value) for row in table.ordered_rows],
            at=table.cursor_row,
            named_database=self._named_database,
        )
        self.app.push_screen(screen, self._come_back)

    def _come_back(self, result: tuple[int, Choice] | None) -> None:
        if result is not None:
            row, self._choice = result
            self.query_one(FlexTable).move_cursor(row=row)

    def action_filter(self) -> None:
        """Go to the filter."""
        self.query_one("#filter", Input).focus()

    def action_choose_dataset(self) -> None:
        """Open the list of datasets."""
        select = self.query_one("#dataset", Select)
        select.focus()
        select.action_show_overlay()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done now."""
        if action == "leave_filter":
            return isinstance(self.focused, Input | Select)
        if action in ("filter", "choose_dataset"):
            return self._dataset is not None
        return super().check_action(action, parameters)
