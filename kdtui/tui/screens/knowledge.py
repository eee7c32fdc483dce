"""What is known, to search through."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, VerticalScroll
from textual.message import Message
from textual.widgets import DataTable, Footer, Input, Label, Static

from kdtui.bundling.text import one_line
from kdtui.tui.background import named_database
from kdtui.tui.commands import command_line
from kdtui.tui.screens.base import COPY, PAGE, TYPING, Failed, KdtuiScreen, first_steps
from kdtui.tui.widgets.flex_table import FlexColumn, FlexTable
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from sqlite_utils import Database

    from store.knowledge import Knowledge

_COLUMNS = (
    FlexColumn("Format", 7),
    FlexColumn("Dataset", 12, share=1),
    FlexColumn("Statement", 16, share=8),
    FlexColumn("Supp.", 5, right=True),
    FlexColumn("Conf.", 5, right=True),
    FlexColumn("Lift", 5, right=True),
    FlexColumn("Prec.", 5, right=True),
)
_MEASURES = ("support", "confidence", "lift", "precision")


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for, and the row from which on."""

    text: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A page of knowledge; `datasets` are those that there are, `named_database` how a command names the store."""

    query: Query
    pieces: "list[Knowledge]"
    datasets: list[str]
    named_database: Path | None


class KnowledgeFound(Message):
    """A page of knowledge has come from the store."""

    def __init__(self, found: Found) -> None:
        super().__init__()
        self.found = found


class KnowledgeScreen(KdtuiScreen[None]):
    """All knowledge, searched while one types, with the piece under the cursor in full."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", tooltip="Find knowledge by words of its statement"),
        COPY,
        Binding("r", "reload", "Reload", tooltip="Look again, for what other commands have changed"),
        Binding("escape,down", "leave_search", "To the list", show=False),
    ]
    AUTO_FOCUS = "#knowledge"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._query = Query("")
        self._pieces: dict[str, Knowledge] = {}

    def compose(self) -> ComposeResult:
        """The search, what it finds, and one piece in full."""
        yield TopBar("knowledge")
        with Horizontal(id="find"):
            yield Label("Search")
            yield Input(placeholder="words of statements", id="search", compact=True)
        with Container(id="body"):
            yield FlexTable(_COLUMNS, id="knowledge")
            with VerticalScroll(id="detail"):
                yield Static(id="piece", markup=False)
        yield Static("Looking for knowledge…", id="notice", markup=False)
        yield Static(id="command", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Load all knowledge, after the first paint."""
        self.call_after_refresh(self.action_reload)

    def action_reload(self) -> None:
        """Search again."""
        self._load(Query(self._text))

    @property
    def _text(self) -> str:
        return self.query_one("#search", Input).value

    @on(Input.Changed, "#search")
    def search_while_typing(self) -> None:
        """Search when the typing pauses."""
        self._load(Query(self._text), after=TYPING)

    def _load(self, query: Query, *, after: float = 0.0) -> None:
        self._query = query

        def question(db: "Database") -> Found:
            from store.datasets import dataset_names
            from store.knowledge import find_knowledge

            pieces = find_knowledge(db, query.text, limit=PAGE, offset=query.offset)
            return Found(query, pieces, dataset_names(db), named_database(self.database))

        self.ask(question, KnowledgeFound, group="knowledge", after=after)

    def on_knowledge_found(self, message: KnowledgeFound) -> None:
        """Show the knowledge, unless something else has been asked for meanwhile."""
        found = message.found
        if found.query != self._query:
            return
        table = self.query_one(FlexTable)
        if not found.query.offset:
            table.clear()
            self._pieces.clear()
        if not found.pieces and not found.query.offset:
            self._show_nothing(found)
            return
        self.query_one("#notice").display = False
        self.query_one("#body").display = True
        self._pieces.update((str(piece.id), piece) for piece in found.pieces)
        table.add_page(((str(piece.id), _cells(piece)) for piece in found.pieces), more=len(found.pieces) == PAGE)
        if self.focused is None:
            table.focus()
        text = found.query.text.strip()
        self.show_command(
            command_line(
                ("knowledge", "search") if text else ("knowledge", "ls"), text or None, database=found.named_database
            )
        )

    def _show_nothing(self, found: Found) -> None:
        if sought := one_line(found.query.text, 60):
            self._show_notice(f"Nothing that is known matches “{sought}”.")
        elif found.datasets:
            mine = command_line(
                ("knowledge", "mine"), options={"--dataset": found.datasets[0]}, database=found.named_database
            )
            self._show_notice(
                "There is no knowledge yet. In a shell, mine patterns of a dataset:\n\n"
                f"    {one_line(mine)}\n\nThen press r to look again."
            )
        else:
            self._show_notice(first_steps(found.named_database))

    def _show_notice(self, sentence: str) -> None:
        """Show a sentence in place of the table. It must be fit to be shown."""
        self.query_one("#body").display = False
        notice = self.query_one("#notice", Static)
        notice.update(Text(sentence))
        notice.display = True
        self.show_command("")

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong, for good where there is nothing else to see."""
        super().on_failed(message)
        if not self._pieces:
            self._show_notice(one_line(message.sentence))

    def on_flex_table_near_end(self) -> None:
        """Load the next page."""
        self._load(Query(self._query.text, self.query_one(FlexTable).row_count))

    @on(DataTable.RowHighlighted, "#knowledge")
    def show_piece(self, event: DataTable.RowHighlighted) -> None:
        """Show the piece under the cursor in full."""
        piece = self._pieces.get(event.row_key.value or "")
        if piece is not None:
            self.query_one("#piece", Static).update(_in_full(piece))

    def action_search(self) -> None:
        """Go to the search."""
        self.query_one("#search", Input).focus()

    @on(Input.Submitted, "#search")
    def action_leave_search(self) -> None:
        """Go from the search to the list."""
        table = self.query_one(FlexTable)
        # A notice in its place takes no focus.
        self.set_focus(table if self.query_one("#body").display else None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done now."""
        if action == "leave_search":
            return isinstance(self.focused, Input)
        return super().check_action(action, parameters)


def _cells(piece: "Knowledge") -> list[str]:
    measures = [getattr(piece, name) for name in _MEASURES]
    return [
        piece.format,
        piece.dataset,
        piece.statement,
        *("–" if each is None else f"{each:.2f}" for each in measures),
    ]


def _in_full(piece: "Knowledge") -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_row("statement", Text(one_line(piece.statement)))
    measures = ", ".join(f"{name} {value:.3f}" for name in _MEASURES if (value := getattr(piece, name)) is not None)
    grid.add_row("measures", Text(measures or "none"))
    about = f"{piece.format} of dataset {piece.dataset}, by teacher {piece.teacher}, number {piece.id}"
    grid.add_row("source", Text(one_line(about)))
    return grid
