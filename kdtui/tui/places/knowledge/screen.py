"""What is known, to search through, and to do something with."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label, Static

from kdtui.text import counted, one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.core.screen import TYPING, Failed, StoreScreen
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.knowledge import tasks
from kdtui.tui.places.knowledge.facet_list import FacetList
from kdtui.tui.places.knowledge.forms import ExportForm, ExportRequest, SampleForm, SampleRequest
from kdtui.tui.places.knowledge.marks import Marks
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import Column, RowTable
from kdtui.tui.widgets.steady import Pane
from kdtui.tui.widgets.top_bar import TopBar
from kdtui.workflows.knowledge.query import BadQuery, parse_query, toggled, write_query
from kdtui.workflows.number_ranges import write_numbers
from store.records import KNOWLEDGE_SORTS, KnowledgeQuery, KnowledgeSort

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.about_piece import PieceDetails
    from store.calls import CallInFull
    from store.knowledge_removal import Dependents, Removed
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
"""The place of its cell in a row."""

_PAUSE = 0.05
"""Seconds that the cursor has to rest on a piece before it is looked into."""

_BEFORE_COUNTING = 0.15
"""Seconds without another search before facets are counted: that takes longer than the search."""

_COUNTED = 30
"""Searches whose counts are kept."""

_UNDONE = 20_000
"""Pieces that are kept when they are deleted, so that they can come back: they are in memory until the app ends."""

_MARKED_AT_ONCE = 50_000
"""Rows that are marked before the screen has its turn again."""

Facet = Literal["format", "dataset", "status", "teacher", "sample"]


class StoreLookedAt(Message):
    """The names of all datasets, and how a command has to name the store."""

    def __init__(self, found: tuple[list[str], Path | None]) -> None:
        super().__init__()
        self.datasets, self.named_database = found


class FacetsCounted(Message):
    """How many hits of a search have each value."""

    def __init__(self, key: tuple[object, ...], facets: "Facets") -> None:
        super().__init__()
        self.key, self.facets = key, facets


class PieceFound(Message):
    """All that is known of the piece under the cursor."""

    def __init__(self, about: "PieceDetails") -> None:
        super().__init__()
        self.about = about


class PieceOpened(PieceFound):
    """A piece that is to be opened in full has come from the store."""


class CallFound(Message):
    """What the teacher of a piece was asked, and what it answered."""

    def __init__(self, call: "CallInFull") -> None:
        super().__init__()
        self.call = call


class DependentsFound(Message):
    """What hangs on the pieces that are to be deleted."""

    def __init__(self, numbers: list[int], found: "Dependents", consequence: str) -> None:
        super().__init__()
        self.numbers, self.found, self.consequence = numbers, found, consequence


class KnowledgeScreen(StoreScreen[None]):
    """All knowledge, searched while one types, with counts by which to narrow it down, and one piece in full."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("knowledge", "screen", "search")
    AUTO_FOCUS = "#knowledge"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._datasets: list[str] = []
        self._named_database: Path | None = None
        self._sort: KnowledgeSort | None = None
        self._reverse = False
        # What was asked for last, what of that is shown, and why the last search could not be.
        self._asked: tasks.PieceSearch | None = None
        self._shown: tasks.PieceSearch | None = None
        self._count, self._is_counted, self._order = 0, False, ""
        # Why what is typed means nothing, and why what was looked for last could not be.
        self._unread, self._problem = "", ""
        self._marks = Marks()
        # The search whose hits are all marked, and nothing else is.
        self._all_of: KnowledgeQuery | None = None
        # The search whose hits are to be marked as soon as all are known.
        self._to_mark: tasks.PieceSearch | None = None
        self._about: PieceDetails | None = None
        self._counted: dict[tuple[object, ...], Facets] = {}
        self._removed: list[Removed] = []
        self._is_changing = False

    def compose(self) -> ComposeResult:
        """The search, the facets, what is found, and one piece in full."""
        self._remember_again()
        yield TopBar("knowledge")
        with Horizontal(id="find"):
            yield Label("Search")
            yield Input(
                self._text_of_memory(),
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
        self._table.show_marks(self._marks)
        self._show_state()
        self.call_after_refresh(self.action_reload)

    @property
    def _table(self) -> HitsTable:
        return self.query_one("#knowledge", HitsTable)

    @property
    def _text(self) -> str:
        return self.query_one("#search", Input).value

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The dataset of the piece under the cursor."""
        row = self._table.row_at(self._table.cursor_row)
        return () if row is None else (str(row.cells[_DATASET]),)

    # What it remembers

    def _text_of_memory(self) -> str:
        text = self.remembered("knowledge").get("search")
        return text if isinstance(text, str) else ""

    def _remember_again(self) -> None:
        memory = self.remembered("knowledge")
        sort = memory.get("sort")
        self._sort = cast("KnowledgeSort", sort) if sort in KNOWLEDGE_SORTS else None
        self._reverse = memory.get("reverse") is True

    def _remember(self) -> None:
        self.remembered("knowledge").update(search=self._text, sort=self._sort, reverse=self._reverse)

    # Searching

    def action_reload(self) -> None:
        """Look again, for what other programs have changed too."""

        def question(db: "Database") -> tuple[list[str], Path | None]:
            from store.datasets import dataset_names

            return dataset_names(db), named_database(self.database)

        self.ask(question, StoreLookedAt, group="store")
        self._counted.clear()
        self._look(row=self._table.cursor_row)

    def see_other_data(self) -> None:
        """Search again."""
        self.action_reload()

    def on_store_looked_at(self, message: StoreLookedAt) -> None:
        """Know how commands name the store, and what to say where there is no knowledge."""
        self._datasets, self._named_database = message.datasets, message.named_database
        self._show_state()

    @on(Input.Changed, "#search")
    def search_while_typing(self) -> None:
        """Search when the typing pauses."""
        self._look(after=TYPING)

    def _look(self, *, row: int = 0, after: float = 0.0) -> None:
        """Have the hits of what is typed shown; where it means nothing, say so and leave those that are shown."""
        self._remember()
        try:
            query = parse_query(self._text)
        except BadQuery as error:
            self._unread = str(error)
            self._show_state()
            return
        self._unread = ""
        question = tasks.PieceSearch(query, self._sort_of(query), self._reverse)
        self._asked = question
        # What is counted for the last one would only hold this one up.
        self.workers.cancel_group(self, "facets")
        self._table.search(question, partial(tasks.find_pieces, question), tasks.read_rows, row=row, after=after)

    def _sort_of(self, query: KnowledgeQuery) -> KnowledgeSort:
        """The order that was chosen; else by the match, where words are looked for."""
        if self._sort is None or (self._sort == "match" and not query.words):
            return "match" if query.words else "support"
        return self._sort

    def on_hits_table_found(self, message: HitsTable.Found) -> None:
        """Say how many hits there are; with the first of them, count by what they could be narrowed down."""
        self._count, self._is_counted, self._order = message.count, message.counted, message.order
        if message.first:
            assert isinstance(message.question, tasks.PieceSearch)
            self._shown = message.question
            self._problem = ""
            self._count_facets(message.question)
            self._table.show_sorted(message.question.sort, descending=not message.question.reverse)
            if not message.count:
                self._about = None
        if message.done and self._to_mark is not None and self._to_mark == self._shown:
            self.run_worker(self._mark_all(self._to_mark.query), exclusive=True, group="mark")
        self._show_state()

    def on_hits_table_failed(self, message: HitsTable.Failed) -> None:
        """Say beside the search why there is no result; the last one is still shown."""
        self._problem = message.sentence
        self._show_state()

    def _show_state(self) -> None:
        """Show what there is, in what order, what is marked, or what is wrong; and the command."""
        state = Text(no_wrap=True, overflow="ellipsis")
        question = self._shown
        problem = self._unread or self._problem
        if problem:
            state.append(one_line(problem, 300))
        elif question is not None:
            state.append(
                counted(self._count, "piece") if self._is_counted else f"{self._count:,}… pieces", style="bold"
            )
            order = self._order or {"match": "best match first", "newest": "newest first"}.get(
                question.sort, f"by {question.sort}"
            )
            state.append(f" · {order}{', reversed' if question.reverse else ''}")
            if self._marks:
                state.append(f" · {len(self._marks):,} marked", style="bold")
        line = self.query_one("#state", Static)
        line.update(state, layout=False)
        line.set_class(bool(problem), "-problem")
        notice = self._notice()
        if self.show_content(self.query_one("#browse"), unless=notice, focus=self._table):
            # What can be done is another then.
            self.refresh_bindings()
        self.show_command("" if notice or question is None else self._search_command(question))

    def _notice(self) -> str:
        """What to show in place of the table, fit to be shown; empty where there are hits."""
        if self._shown is None:
            return one_line(self._unread or self._problem) or "Looking for knowledge…"
        if self._count or not self._is_counted:
            return ""
        if sought := one_line(write_query(self._shown.query), 60):
            key = self.kdtui.key_of("knowledge.clear_search")
            why = one_line(self._unread) or f"Nothing that is known matches “{sought}”."
            return f"{why}\n\n{key} shows all knowledge again."
        if self._datasets:
            [dataset, *_] = self.datasets_to_begin_with(self._datasets)
            mine = command_line(("knowledge", "mine"), options={"--dataset": dataset}, database=self._named_database)
            return (
                f"There is no knowledge yet. {self.kdtui.key_of('app.distill')} and then "
                f"{self.kdtui.key_of('distill.new')} have it distilled, or in a shell:\n\n"
                f"    {one_line(mine)}\n\n{self.look_again()}"
            )
        return self.first_steps(self._named_database)

    def _search_command(self, question: tasks.PieceSearch) -> str:
        text = write_query(question.query)
        sort = "support" if question.sort == "match" and self._order else question.sort
        usual = "match" if question.query.words else "support"
        flags = ["--all"] * (not question.query.statuses) + ["--reverse"] * question.reverse
        return command_line(
            ("knowledge", "search" if text else "ls", *flags),
            text or None,
            {"--sort": None if sort == usual else sort},
            database=self._named_database,
        )

    def action_search(self) -> None:
        """Go to the search."""
        self.set_focus(self.query_one("#search", Input))

    def action_leave_search(self) -> None:
        """Go from the search to the list; where nothing has been found, by showing everything again."""
        if not self._count and self._shown == self._asked and not self._unread and not self._problem:
            self.action_clear_search()
        self._go_to_list()

    @on(Input.Submitted, "#search")
    def _go_to_list(self) -> None:
        # A notice in its place takes no focus.
        self.set_focus(self._table if self.query_one("#browse").display else None)

    def action_clear_search(self) -> None:
        """Look for nothing more."""
        self.query_one("#search", Input).value = ""

    # The order

    @on(RowTable.SortWanted, "#knowledge")
    def sort_by_title(self, event: RowTable.SortWanted) -> None:
        """Sort by the column whose title was clicked, or the other way round."""
        question = self._asked
        if question is not None and question.sort == event.sort:
            self.action_reverse()
        else:
            self._sort_by(cast("KnowledgeSort", event.sort))

    def action_sort(self) -> None:
        """Sort by the next measure."""
        if self._asked is not None:
            sorts = [sort for sort in KNOWLEDGE_SORTS if sort != "match" or self._asked.query.words]
            self._sort_by(sorts[(sorts.index(self._asked.sort) + 1) % len(sorts)])

    def _sort_by(self, sort: KnowledgeSort) -> None:
        self._sort, self._reverse = sort, False
        self._look()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self._reverse = not self._reverse
        self._look()

    # Facets

    def _count_facets(self, question: tasks.PieceSearch) -> None:
        key = (question.query, *tasks.version_of(self.database))
        if key in self._counted:
            self._show_facets(question.query, self._counted[key])
            return

        self.ask(
            partial(tasks.count_facets, question.query),
            partial(FacetsCounted, key),
            group="facets",
            after=_BEFORE_COUNTING,
        )

    def on_facets_counted(self, message: FacetsCounted) -> None:
        """Show the counts, and keep them until the store changes."""
        self._counted[message.key] = message.facets
        while len(self._counted) > _COUNTED:
            del self._counted[next(iter(self._counted))]
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
        """Put the filter into the search, or take it out."""
        if self._shown is not None:
            self.query_one("#search", Input).value = toggled(
                self._shown.query, cast("Facet", message.facet), message.value
            )

    # One piece

    @on(RowTable.RowHighlighted, "#knowledge")
    def look_into(self, event: RowTable.RowHighlighted) -> None:
        """Look into the piece under the cursor, if it stays there."""
        self.ask(partial(tasks.look_into, int(event.key)), PieceFound, group="piece", after=_PAUSE)

    def on_piece_found(self, message: PieceFound) -> None:
        """Show the piece."""
        from kdtui.tui.places.knowledge.piece import piece_text

        about = message.about
        if self._table.cursor_key != str(about.piece.id):
            return
        # The keys that this decides about are shown anew only then.
        changes = self._about is None or (self._about.piece.call_id is None) != (about.piece.call_id is None)
        self._about = about
        self.query_one(Pane).show(piece_text(about))
        if changes:
            self.refresh_bindings()

    @on(RowTable.RowSelected, "#knowledge")
    def open_piece(self, event: RowTable.RowSelected) -> None:
        """Open the piece in full."""
        if self._about is not None and str(self._about.piece.id) == event.key:
            self._open(self._about)
        else:
            self.ask(partial(tasks.look_into, int(event.key)), PieceOpened, group="open")

    def on_piece_opened(self, message: PieceOpened) -> None:
        """Open it."""
        self._open(message.about)

    def _open(self, about: "PieceDetails") -> None:
        from kdtui.tui.places.knowledge.piece import PieceDialog

        def go(session: str | None) -> None:
            if session is not None:
                self.kdtui.open_session(about.piece.dataset, session)

        self.app.push_screen(PieceDialog(self.database, about), go)

    def action_call(self) -> None:
        """Show what the teacher was asked, and what it answered."""
        assert self._about is not None
        assert self._about.piece.call_id is not None
        self.ask(partial(tasks.find_call, self._about.piece.call_id), CallFound, group="call")

    def on_call_found(self, message: CallFound) -> None:
        """Show the call."""
        from kdtui.workflows.calls.call_report import call_text

        call = message.call.call
        self.app.push_screen(TextDialog(f"Call {call.id} to {call.teacher}", call_text(message.call)))

    # Marks

    def action_mark(self) -> None:
        """Mark the piece under the cursor, or take its mark away, and go on to the next."""
        key = self._table.cursor_key
        assert key is not None
        self._marks.toggle(int(key))
        self._all_of = None
        self._show_marks()
        self._table.action_down()

    def action_mark_all(self) -> None:
        """Mark all hits; where they are marked, take all marks away."""
        assert self._shown is not None
        if self._all_of == self._shown.query:
            self._marks.clear()
            self._all_of = None
            self._show_marks()
        elif self._table.is_whole:
            self.run_worker(self._mark_all(self._shown.query), exclusive=True, group="mark")
        else:
            self._to_mark = self._shown
            self._table.look_for_all()

    async def _mark_all(self, query: KnowledgeQuery) -> None:
        from asyncio import sleep

        self._to_mark = None
        ids = self._table.ids
        is_only = not self._marks
        for first in range(0, len(ids), _MARKED_AT_ONCE):
            self._marks.add(ids[first : first + _MARKED_AT_ONCE])
            await sleep(0)
        self._all_of = query if is_only or len(self._marks) == len(ids) else None
        self._show_marks()

    def _show_marks(self) -> None:
        self._table.show_marks(self._marks)
        self._show_state()
        self.refresh_bindings()

    @property
    def _chosen(self) -> list[int]:
        """The pieces that something is to be done with: those that are marked, or the one under the cursor."""
        if self._marks:
            return self._marks.numbers
        key = self._table.cursor_key
        return [] if key is None else [int(key)]

    def _chosen_options(self, numbers: list[int]) -> dict[str, str | None]:
        """How a command names them."""
        if self._all_of is not None:
            return {"--query": write_query(self._all_of)}
        return {"--pieces": write_numbers(numbers)}

    # What is done with pieces

    def action_sample(self) -> None:
        """Make a sample of the pieces."""
        numbers = self._chosen

        def create(request: SampleRequest | None) -> None:
            if request is not None:
                self._change(partial(tasks.make_sample, numbers, request.name, request.with_rejected, request.replace))

        asks_for_rejected = self._all_of is not None and "rejected" in self._all_of.statuses
        form = SampleForm(
            len(numbers), self._chosen_options(numbers), self._named_database, with_rejected=asks_for_rejected
        )
        self.app.push_screen(FormDialog(form), create)

    def action_export(self) -> None:
        """Export the pieces."""
        numbers = self._chosen

        def export(request: ExportRequest | None) -> None:
            if request is not None:
                assert request.folder is not None
                self._change(
                    partial(
                        tasks.export_pieces, numbers, request.folder, request.kind, request.licence, request.replace
                    )
                )

        form = ExportForm(len(numbers), self._chosen_options(numbers), self._named_database)
        self.app.push_screen(FormDialog(form), export)

    def action_delete(self) -> None:
        """Look what hangs on the pieces, and ask whether to delete them."""
        self.ask(
            partial(tasks.what_depends_on, self._chosen), lambda found: DependentsFound(*found), group="dependents"
        )

    def on_dependents_found(self, message: DependentsFound) -> None:
        """Ask."""
        numbers, count = message.numbers, message.found.pieces
        can_undo = count <= _UNDONE
        again = f"{self.kdtui.key_of('knowledge.undo')} puts them back, until the program is left."
        # What is under the cursor can be seen; of what is marked, as much may be elsewhere.
        row = self._table.row_at(self._table.cursor_row)
        said = f"“{row.cells[2]}” " if row is not None and numbers == [int(row.key)] else ""
        consequence = f"{said}{message.consequence} {again if can_undo else 'So many cannot be put back.'}"

        def delete(yes: bool | None) -> None:
            if yes:
                self._change(partial(tasks.remove, numbers, can_undo))

        self.app.push_screen(
            ConfirmDialog(f"Delete {tasks.pieces_in_words(count)}?", consequence, "Delete", self._removal(numbers)),
            delete,
        )

    def _removal(self, numbers: list[int]) -> str:
        """The command that deletes these pieces."""
        if self._all_of is not None:
            query = {"--query": write_query(self._all_of)}
            return command_line(("knowledge", "rm"), None, query, database=self._named_database)
        ranges = write_numbers(numbers).split(",")
        return command_line(("knowledge", "rm"), ranges, database=self._named_database)

    def action_undo(self) -> None:
        """Put back what was deleted last."""
        self._change(partial(tasks.restore, self._removed[-1]))

    def _change(self, what: "Callable[[Database], tasks.KnowledgeChanged]") -> None:
        """Do something with pieces; nothing else is done with any until it is done."""
        self._is_changing = True
        self.refresh_bindings()
        self.ask(what, lambda changed: changed, group="change")

    def on_knowledge_changed(self, message: tasks.KnowledgeChanged) -> None:
        """Say what was done, and show what is there now."""
        self._is_changing = False
        self.say(message.sentence, error=False)
        if message.restored:
            self._removed.pop()
        if message.removed is not None:
            if message.removed.knowledge:
                self._removed.append(message.removed)
            self._marks.clear()
            self._all_of = None
            self._table.show_marks(self._marks)
        self.action_reload()
        self.refresh_bindings()

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong."""
        super().on_failed(message)
        if self._is_changing:
            self._is_changing = False
            self.refresh_bindings()

    # What can be done now

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        has_rows = self.query_one("#browse").display and self._count > 0
        match action:
            case "mark" | "sample" | "export" | "delete" if not has_rows or not self._chosen:
                return "there is no piece here to do it with"
            case "sample" | "export" | "delete" | "undo" if self._is_changing:
                return "something is being done with pieces already"
            case "mark_all" if not has_rows:
                return "there is no piece here to mark"
            case "undo" if not self._removed:
                return "nothing was deleted here since the program began"
            case "call" if self._about is None or self._about.piece.call_id is None:
                return "no model was asked for this piece"
            case "facets" | "sort" | "reverse" if not has_rows:
                return "there is no knowledge to be seen"
            case "clear_search" if not self._text:
                return "nothing is searched for"
        return super().why_not(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Of the two actions of `escape`, the one that there is a reason for."""
        is_typing = isinstance(self.focused, Input)
        if action == "leave_search":
            return is_typing
        if action == "clear_search":
            return not is_typing and bool(self._text)
        return super().check_action(action, parameters)
