"""The part of the place Knowledge that searches: the search line, the order, the facets and the list of matches."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Label, Static

from kdtui.text import counted, one_line
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.core.screen import TYPING, StoreScreen
from kdtui.tui.core.store_version import store_version
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.knowledge import store_queries
from kdtui.tui.places.knowledge.facet_list import FacetList
from kdtui.tui.places.knowledge.messages import FacetsLoaded, PieceSearch, StoreInspected
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.rows import Column
from kdtui.tui.widgets.steady import Pane
from kdtui.tui.widgets.top_bar import TopBar
from kdtui.workflows.knowledge.query import BadQuery, parse_query, toggled, write_query
from store.records import KNOWLEDGE_SORTS, KnowledgeQuery, KnowledgeSort

if TYPE_CHECKING:
    from store.knowledge_search import Facets
    from store.sqlite import Database

_COLUMNS = (
    Column("Format", 8),
    Column("Dataset", 9, share=1),
    Column("Statement", 16, share=9, middle=True),
    Column("Supp.", 6, right=True, sort="support"),
    Column("Conf.", 6, right=True, sort="confidence", wide=True),
    Column("Lift", 6, right=True, sort="lift", wide=True),
    Column("Prec.", 6, right=True, sort="precision"),
    Column("Status", 8),
    Column("Teacher", 13, share=1, wide=True),
    Column("When", 16, sort="newest", wide=True),
)

_DATASET = next(number for number, column in enumerate(_COLUMNS) if column.label == "Dataset")
"""The index of the dataset in a row."""

_BEFORE_COUNTING = 0.15
"""Seconds without another search before facets are counted: counting takes longer than the search."""

_FACETS_KEPT = 30
"""Searches whose facets are kept."""

_MEMORY = "knowledge"
"""The name of what the place remembers."""

Facet = Literal["format", "dataset", "status", "teacher", "sample"]


class KnowledgeSearchView(StoreScreen[None]):
    """Lists pieces of knowledge that match a search, which runs while the user types."""

    AUTO_FOCUS = "#knowledge"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._datasets: list[str] = []
        self._named_database: Path | None = None
        self._sort: KnowledgeSort | None = None
        self._reverse = False
        # The last search, and the one whose matches are shown.
        self._requested: PieceSearch | None = None
        self._shown: PieceSearch | None = None
        self._count, self._is_counted, self._order = 0, False, ""
        # Why the text in the search line is not a query, and why the last search failed.
        self._syntax_problem, self._search_problem = "", ""
        self._facets: dict[tuple[object, ...], Facets] = {}
        # The version of the store at the last search; None before the first one.
        self._searched_version: tuple[object, ...] | None = None

    def compose(self) -> ComposeResult:
        """Lay out the search line, the facets, the list and one piece."""
        self._recall_order()
        yield TopBar("knowledge")
        with Horizontal(id="find"):
            yield Label("Search")
            yield Input(
                self._remembered_text(),
                placeholder="words, and filters such as format:rule support:>0.02",
                id="search",
                compact=True,
            )
        yield Static(id="state", markup=False)
        with Horizontal(id="browse"):
            yield FacetList(id="facets")
            with Vertical(id="results"):
                yield HitsTable(_COLUMNS, id="knowledge", database=self.database)
                yield Pane(id="about")
        yield Static(id="notice", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Load all knowledge, after the first paint."""
        self._show_state()
        self.call_after_refresh(self.action_reload)

    def on_screen_resume(self) -> None:
        """Search again when the user returns, but only in a changed store: there can be a million pieces."""
        if self._searched_version not in (None, store_version(self.database)):
            self.action_reload()

    @property
    def _table(self) -> HitsTable:
        return self.query_one("#knowledge", HitsTable)

    @property
    def _text(self) -> str:
        return self.query_one("#search", Input).value

    @property
    def _has_rows(self) -> bool:
        return self.query_one("#browse").display and self._count > 0

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The dataset of the piece under the cursor."""
        row = self._table.row_at(self._table.cursor_row)
        return () if row is None else (str(row.cells[_DATASET]),)

    # What subclasses override

    def matches_shown(self, search: PieceSearch) -> None:
        """Continue after the first matches of a search are shown."""

    def all_matches_known(self) -> None:
        """Continue after all matches of the search are known."""

    def remark(self) -> str:
        """Return what the state line says about the list; empty for nothing."""
        return ""

    # Memory

    def _remembered_text(self) -> str:
        text = self.remembered(_MEMORY).get("search")
        return text if isinstance(text, str) else ""

    def _recall_order(self) -> None:
        memory = self.remembered(_MEMORY)
        sort = memory.get("sort")
        self._sort = cast("KnowledgeSort", sort) if sort in KNOWLEDGE_SORTS else None
        self._reverse = memory.get("reverse") is True

    def _remember(self) -> None:
        self.remembered(_MEMORY).update(search=self._text, sort=self._sort, reverse=self._reverse)

    # Searching

    def action_reload(self) -> None:
        """Search again, for what other programs have changed."""

        def question(db: "Database") -> StoreInspected:
            from store.datasets import dataset_names

            return StoreInspected(dataset_names(db), named_database(self.database))

        self.ask(question, lambda message: message, group="store")
        self._facets.clear()
        self._search(row=self._table.cursor_row)

    def see_other_data(self) -> None:
        """Search again."""
        self.action_reload()

    def on_store_inspected(self, message: StoreInspected) -> None:
        """Show what to do where there is no knowledge."""
        self._datasets, self._named_database = message.datasets, message.named_database
        self._show_state()

    @on(Input.Changed, "#search")
    def search_while_typing(self) -> None:
        """Search when the user pauses."""
        self._search(after=TYPING)

    def _search(self, *, row: int = 0, after: float = 0.0) -> None:
        """Search for the text in the search line. If it is not a query, say so and keep the list."""
        self._remember()
        try:
            query = parse_query(self._text)
        except BadQuery as error:
            self._syntax_problem = str(error)
            self._show_state()
            return
        self._syntax_problem = ""
        search = PieceSearch(query, self._sort_of(query), self._reverse)
        self._requested, self._searched_version = search, store_version(self.database)
        # Counting for the last search would only delay this one.
        self.workers.cancel_group(self, "facets")
        find = partial(store_queries.find_pieces, search)
        self._table.search(search, find, store_queries.read_piece_rows, row=row, after=after)

    def on_hits_table_found(self, message: HitsTable.Found) -> None:
        """Show the number of matches; with the first of them, count the facets."""
        self._count, self._is_counted, self._order = message.count, message.counted, message.order
        if message.first:
            assert isinstance(message.question, PieceSearch)
            self._shown = message.question
            self._search_problem = ""
            self._count_facets(message.question)
            self._table.show_sorted(message.question.sort, descending=not message.question.reverse)
            self.matches_shown(message.question)
        if message.done:
            self.all_matches_known()
        self._show_state()

    def on_hits_table_failed(self, message: HitsTable.Failed) -> None:
        """Show why the search failed; the last matches stay."""
        self._search_problem = message.sentence
        self._show_state()

    def _show_state(self) -> None:
        """Show the number of matches, their order, a remark and the command; or what is wrong."""
        state = Text(no_wrap=True, overflow="ellipsis")
        search = self._shown
        problem = self._syntax_problem or self._search_problem
        if problem:
            state.append(one_line(problem, 300))
        elif search is not None:
            count = counted(self._count, "piece") if self._is_counted else f"{self._count:,}… pieces"
            state.append(count, style="bold")
            orders = {"match": "best match first", "newest": "newest first"}
            order = self._order or orders.get(search.sort, f"by {search.sort}")
            state.append(f" · {order}{', reversed' if search.reverse else ''}")
            if remark := self.remark():
                state.append(f" · {remark}", style="bold")
        line = self.query_one("#state", Static)
        line.update(state, layout=False)
        line.set_class(bool(problem), "-problem")
        notice = self._notice()
        if self.show_content(self.query_one("#browse"), unless=notice, focus=self._table):
            # Without a list, other actions are possible.
            self.refresh_bindings()
        self.show_command("" if notice or search is None else self._search_command(search))

    def _notice(self) -> str:
        """Return what to show in place of the list; empty where there are matches."""
        if self._shown is None:
            return one_line(self._syntax_problem or self._search_problem) or "Loading knowledge…"
        if self._count or not self._is_counted:
            return ""
        if text := one_line(write_query(self._shown.query), 60):
            key = self.kdtui.key_of("knowledge.clear_search")
            why = one_line(self._syntax_problem) or f"No knowledge matches “{text}”."
            return f"{why}\n\n{key} shows all knowledge again."
        if self._datasets:
            [dataset, *_] = self.datasets_to_begin_with(self._datasets)
            mine = command_line(("knowledge", "mine"), options={"--dataset": dataset}, database=self._named_database)
            return (
                f"There is no knowledge yet. Press {self.kdtui.key_of('app.distill')} and then "
                f"{self.kdtui.key_of('distill.new')} to distil some, or in a shell:\n\n"
                f"    {one_line(mine)}\n\n{self.look_again()}"
            )
        return self.first_steps(self._named_database)

    def _search_command(self, search: PieceSearch) -> str:
        text = write_query(search.query)
        sort = "support" if search.sort == "match" and self._order else search.sort
        default = "match" if search.query.words else "support"
        flags = ["--all"] * (not search.query.statuses) + ["--reverse"] * search.reverse
        return command_line(
            ("knowledge", "search" if text else "ls", *flags),
            text or None,
            {"--sort": None if sort == default else sort},
            database=self._named_database,
        )

    def action_search(self) -> None:
        """Go to the search line."""
        self.set_focus(self.query_one("#search", Input))

    def action_leave_search(self) -> None:
        """Go from the search line to the list. If nothing matches, show everything again."""
        if not self._count and self._shown == self._requested and not self._syntax_problem and not self._search_problem:
            self.action_clear_search()
        self._go_to_list()

    @on(Input.Submitted, "#search")
    def _go_to_list(self) -> None:
        # A notice in place of the list takes no focus.
        self.set_focus(self._table if self.query_one("#browse").display else None)

    def action_clear_search(self) -> None:
        """Show all knowledge."""
        self.query_one("#search", Input).value = ""

    # The order

    def _sort_of(self, query: KnowledgeQuery) -> KnowledgeSort:
        """Return the order that the user chose, or else by match where the query has words."""
        if self._sort is None or (self._sort == "match" and not query.words):
            return "match" if query.words else "support"
        return self._sort

    @on(RowTable.SortWanted, "#knowledge")
    def sort_by_title(self, event: RowTable.SortWanted) -> None:
        """Sort by the column whose title was clicked; a second click reverses the order."""
        search = self._requested
        if search is not None and search.sort == event.sort:
            self.action_reverse()
        else:
            self._sort_by(cast("KnowledgeSort", event.sort))

    def action_sort(self) -> None:
        """Sort by the next measure."""
        if self._requested is not None:
            sorts = [sort for sort in KNOWLEDGE_SORTS if sort != "match" or self._requested.query.words]
            self._sort_by(sorts[(sorts.index(self._requested.sort) + 1) % len(sorts)])

    def _sort_by(self, sort: KnowledgeSort) -> None:
        self._sort, self._reverse = sort, False
        self._search()

    def action_reverse(self) -> None:
        """Reverse the order."""
        self._reverse = not self._reverse
        self._search()

    # Facets

    def _count_facets(self, search: PieceSearch) -> None:
        key = (search.query, *store_version(self.database))
        if key in self._facets:
            self._show_facets(search.query, self._facets[key])
            return
        self.ask(
            partial(store_queries.load_facets, search.query),
            partial(FacetsLoaded, key),
            group="facets",
            after=_BEFORE_COUNTING,
        )

    def on_facets_loaded(self, message: FacetsLoaded) -> None:
        """Show the counts, and keep them until the store changes."""
        self._facets[message.key] = message.facets
        while len(self._facets) > _FACETS_KEPT:
            del self._facets[next(iter(self._facets))]
        if self._shown is not None and message.key[0] == self._shown.query:
            self._show_facets(self._shown.query, message.facets)

    def _show_facets(self, query: KnowledgeQuery, facets: "Facets") -> None:
        counts: Mapping[Facet, Mapping[str, int]] = {
            "format": facets.format,
            "dataset": facets.dataset,
            "status": facets.status,
            "teacher": facets.teacher,
            "sample": facets.sample,
        }
        filters: Mapping[Facet, Sequence[str]] = {
            "format": query.formats,
            "dataset": query.datasets,
            "status": query.statuses,
            "teacher": query.teachers,
            "sample": query.samples,
        }
        self.query_one(FacetList).show_facets(
            cast("Mapping[str, Mapping[str, int]]", counts), cast("Mapping[str, Sequence[str]]", filters)
        )

    def action_facets(self) -> None:
        """Go to the facets, which a narrow screen shows only then."""
        self.add_class("-facets")
        self.set_focus(self.query_one(FacetList))

    def on_facet_list_left(self) -> None:
        """Go back to the list."""
        self.remove_class("-facets")
        self._go_to_list()

    def on_facet_list_chosen(self, message: FacetList.Chosen) -> None:
        """Add a filter to the search, or remove it."""
        if self._shown is not None:
            self.query_one("#search", Input).value = toggled(
                self._shown.query, cast("Facet", message.facet), message.value
            )
