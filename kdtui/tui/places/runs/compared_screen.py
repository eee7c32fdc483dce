"""Two runs compared session by session, with the answers of both."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.message import Message
from textual.widgets import Static

from kdtui.bundling.truth import minimal_bundles
from kdtui.text import counted, letter, one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.screen import Failed, StoreScreen
from kdtui.tui.core.store_worker import named_database, still_wanted
from kdtui.tui.places.runs.rows import short_seconds
from kdtui.tui.student.answer import SIDE_NAMES
from kdtui.tui.student.bundle_panel import BundleLine, BundlePanel
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.letters import badges
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.rows import Column, Row
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from kdtui.tui.places.workbench.session_list import SessionList
    from kdtui.workflows.runs.compared_sessions import ComparedSessions, SessionScores
    from kdtui.workflows.runs.runs import BothAnswers, RunComparison
    from store.predictions import PredictedBundle, Prediction
    from store.runs import Run
    from store.sqlite import Database

_COLUMNS = (
    Column("Session", 10, share=1, sort="session"),
    Column("Items", 6, right=True, sort="items"),
    Column("Bundles", 8, right=True, sort="bundles"),
    Column("F1 of 1st", 9, right=True, sort="first"),
    Column("of 2nd", 7, right=True, sort="second"),
    Column("2nd - 1st", 10, right=True, sort="difference"),
    Column("Exact 1st", 10, sort="first exact"),
    Column("2nd", 4, sort="second exact"),
)
_PAUSE = 0.05
"""Seconds that the cursor has to rest on a session before it is read."""


class RunsCompared(Message):
    def __init__(self, comparison: "RunComparison", named_database: Path | None) -> None:
        super().__init__()
        self.comparison, self.named_database = comparison, named_database


class SessionsSorted(Message):
    """The sessions were sorted."""

    def __init__(self, rows: "ComparedSessions") -> None:
        super().__init__()
        self.rows = rows


class AnswersRead(Message):
    """A session, and the answers of both runs to it, were read from the store."""

    def __init__(self, answers: "BothAnswers") -> None:
        super().__init__()
        self.answers = answers


class SessionLocated(Message):
    """The list of a session to open, and its position there, are known."""

    def __init__(self, sessions: "SessionList", position: int) -> None:
        super().__init__()
        self.sessions, self.position = sessions, position


class ComparedRunsScreen(StoreScreen[None]):
    """The scores of two runs for each session, and the session under the cursor with the bundles of both.

    Args:
        place: the place that opens the screen.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("compared", "rows", "screen")
    AUTO_FOCUS = "#compared"

    def __init__(self, database: Path, one: "Run", other: "Run", *, place: str = "runs") -> None:
        super().__init__(database)
        self._place = place
        self._runs = one, other
        self._comparison: RunComparison | None = None
        self._rows: ComparedSessions | list[SessionScores] = []
        self._sort_by, self._descending = "difference", False

    def compose(self) -> ComposeResult:
        yield TopBar(self._place)
        for name, run in zip(SIDE_NAMES, self._runs, strict=True):
            title = Text(f"{name} ", style="bold", no_wrap=True, overflow="ellipsis")
            title.append(one_line(f"run {run.id}: {run.name} on {run.dataset} {run.split}", 300), style="not bold")
            yield Static(title, classes="run", markup=False)
        yield Static("Comparing…", id="totals", markup=False)
        with Container(id="halves"):
            yield RowTable(_COLUMNS, id="compared")
            with Container(id="session"):
                with VerticalScroll(id="products"):
                    yield Static(id="product-lines", markup=False)
                with Container(id="answers"):
                    yield BundlePanel(id="true")
                    yield BundlePanel(id="of-1st", lower=True)
                    yield BundlePanel(id="of-2nd", lower=True)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Compare the runs after the first paint."""
        self.call_after_refresh(self.action_reload)

    def action_reload(self) -> None:
        """Compare the runs again."""
        one, other = self._runs

        def question(db: "Database") -> "tuple[RunComparison, Path | None]":
            from kdtui.workflows.runs.runs import compare_runs

            return compare_runs(db, one, other, check=still_wanted), named_database(self.database)

        self.ask(question, lambda answer: RunsCompared(*answer), group="compare")

    def on_runs_compared(self, message: RunsCompared) -> None:
        """Show the totals and the sorted sessions."""
        comparison = self._comparison = message.comparison
        self.refresh_bindings()
        first, second = comparison.means
        sessions = counted(len(comparison.rows), "session")
        won, lost, equal = comparison.won, comparison.lost, comparison.equal
        totals = Text(f"2nd wins {won:,}, loses {lost:,}, equals {equal:,} of {sessions}")
        totals.append(f" · pair F1 {first:.3f} and {second:.3f}")
        seconds = [row.cost.seconds for row in comparison.results]
        if all(each is not None for each in seconds):
            totals.append(f" · {short_seconds(seconds[0])} and {short_seconds(seconds[1])} s a session")
        if any(comparison.alone):
            first_only, second_only = comparison.alone
            totals.append(f" · left out: {first_only:,} only in 1st, {second_only:,} only in 2nd", style="dim")
        self.query_one("#totals", Static).update(totals)
        numbers = [str(run.id) for run in self._runs]
        self.show_command(command_line(("run", "compare"), numbers, database=message.named_database))
        self._sort(self._sort_by, descending=self._descending)

    def on_failed(self, message: Failed) -> None:
        """Keep the failure on the screen if nothing else is shown."""
        if self._comparison is None:
            self.query_one("#totals", Static).update(Text(one_line(message.sentence)))

    # The sessions

    @on(RowTable.RowsWanted, "#compared")
    def put_rows(self, event: RowTable.RowsWanted) -> None:
        """Supply the rows that become visible."""
        event.table.put_rows(event.first, map(_row, self._rows[event.first : event.first + event.limit]))

    @on(RowTable.SortWanted, "#compared")
    def sort_by_title(self, event: RowTable.SortWanted) -> None:
        """Sort by the clicked column, or reverse the order if it is the sorted one."""
        self._sort(event.sort, descending=not self._descending if event.sort == self._sort_by else False)

    def action_sort(self) -> None:
        """Sort by the next column."""
        sorts = [column.sort for column in _COLUMNS]
        self._sort(sorts[(sorts.index(self._sort_by) + 1) % len(sorts)], descending=False)

    def action_reverse(self) -> None:
        self._sort(self._sort_by, descending=not self._descending)

    def _sort(self, by: str, *, descending: bool) -> None:
        if self._comparison is None:
            return
        self._sort_by, self._descending = by, descending
        rows = self._comparison.rows

        def question(_: "Database") -> "ComparedSessions":
            # There can be a million sessions.
            return rows.in_order(lambda row: _sort_value(row, by), descending=descending)

        self.ask(question, SessionsSorted, group="sort")

    def on_sessions_sorted(self, message: SessionsSorted) -> None:
        """Show the sessions in the new order, from the first."""
        self._rows = message.rows
        table = self.query_one(RowTable)
        table.show_count(len(self._rows))
        table.show_sorted(self._sort_by, descending=self._descending)

    # The session under the cursor

    @on(RowTable.RowHighlighted, "#compared")
    def read_session(self) -> None:
        """Read the session under the cursor once the cursor rests."""
        session = self._session
        if session is None:
            return
        one, other = self._runs

        def question(db: "Database") -> "BothAnswers":
            from kdtui.workflows.runs.runs import read_both_answers

            return read_both_answers(db, one, other, session)

        self.ask(question, AnswersRead, group="session", after=_PAUSE)

    @property
    def _session(self) -> str | None:
        row = self.query_one(RowTable).cursor_row
        return self._rows[row].session if row < len(self._rows) else None

    def on_answers_read(self, message: AnswersRead) -> None:
        """Show the products of a session with the letters of bundles, and the bundles."""
        session, answers = message.answers.session, message.answers.answers
        truth = minimal_bundles(session.bundles)
        true = {frozenset(bundle.positions): number for number, bundle in enumerate(truth)}
        columns = [[bundle.positions for bundle in truth], *([b.positions for b in _bundles(each)] for each in answers)]
        grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
        for _ in ("number", "true", *SIDE_NAMES):
            grid.add_column(no_wrap=True)
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        heading = one_line(f"session {session.id}", 60)
        grid.add_row("", *(Text(title, style="bold") for title in ("true", *SIDE_NAMES, heading)))
        for position, item in enumerate(session.items, start=1):
            letters = [
                badges([number for number, each in enumerate(bundles) if position in each], lower=bool(column))
                for column, bundles in enumerate(columns)
            ]
            grid.add_row(str(position), *letters, Text(one_line(item.title or item.id, 300)))
        self.query_one("#product-lines", Static).update(grid)
        panel = self.query_one("#true", BundlePanel)
        panel.show_heading("True", counted(len(truth), "bundle"))
        panel.show_bundles([BundleLine(bundle.positions, bundle.intent) for bundle in truth], "none")
        for name, answer in zip(SIDE_NAMES, answers, strict=True):
            panel = self.query_one(f"#of-{name}", BundlePanel)
            right = sum(frozenset(bundle.positions) in true for bundle in _bundles(answer))
            panel.show_heading(name, f"{right} of {len(_bundles(answer))} are true")
            panel.show_bundles(
                [
                    BundleLine(
                        bundle.positions,
                        bundle.intent,
                        bundle.confidence,
                        Text(f"= {letter(true[frozenset(bundle.positions)])}")
                        if frozenset(bundle.positions) in true
                        else Text(),
                    )
                    for bundle in _bundles(answer)
                ],
                "the run was deleted" if answer is None else answer.error or "the student found none",
            )

    @on(RowTable.RowSelected, "#compared")
    def open_session(self) -> None:
        """Open the session in the workbench, with the settings of the first run."""
        if (session := self._session) is None:
            return
        dataset = self._runs[0].dataset

        def question(db: "Database") -> "tuple[SessionList, int]":
            from kdtui.tui.places.workbench.session_list import SessionList

            return SessionList.around(db, dataset, session, named_database(self.database))

        self.ask(question, lambda answer: SessionLocated(*answer), group="open")

    def on_session_located(self, message: SessionLocated) -> None:
        if self.is_current:
            from kdtui.tui.places.workbench.session_screen import open_session_over

            open_session_over(self.kdtui, message.sessions, message.position, StudentChoice.of(self._runs[0].settings))

    def action_back(self) -> None:
        self.dismiss(None)

    def why_not(self, action: str) -> str | None:
        if action in ("sort", "reverse") and self._comparison is None:
            return "the runs are not compared yet"
        return super().why_not(action)


def _bundles(answer: "Prediction | None") -> "tuple[PredictedBundle, ...]":
    return () if answer is None or answer.bundles is None else answer.bundles


def _sort_value(row: "SessionScores", by: str) -> float | str:
    match by:
        case "session":
            return row.session
        case "items":
            return row.products
        case "bundles":
            return row.bundles
        case "first":
            return row.f1[0]
        case "second":
            return row.f1[1]
        case "first exact":
            return row.exact[0]
        case "second exact":
            return row.exact[1]
    return row.difference


def _row(row: "SessionScores") -> Row:
    difference = "=" if not row.difference else f"{row.difference:+.3f}"
    exact = ["yes" if each else "no" for each in row.exact]
    counts = str(row.products), str(row.bundles)
    return Row(row.session, (row.session, *counts, f"{row.f1[0]:.3f}", f"{row.f1[1]:.3f}", difference, *exact))
