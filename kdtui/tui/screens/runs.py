"""Runs: how well students have done, beside the floors, and evaluations to start, to go on with and to compare."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, Label, Static

from kdtui.bundling.text import one_line
from kdtui.errors import KdtuiError
from kdtui.tui.actions import ACTIONS, bindings
from kdtui.tui.activity import Activity, Ended, Happened
from kdtui.tui.background import Unwanted, named_database
from kdtui.tui.commands import command_line
from kdtui.tui.run_form import EvaluationForm, Wanted
from kdtui.tui.run_rows import COLUMNS, SORTS, Entry, begins_with_the_largest, in_order, matches, row_of
from kdtui.tui.screens.base import Failed, KdtuiScreen
from kdtui.tui.screens.dialogs import ConfirmDialog
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import Row, RowTable
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from kdtui.tui.screens.run import RunScreen
    from kdtui.workflows.evaluate import ResultRow
    from kdtui.workflows.offered import Offered
    from kdtui.workflows.runs import RunRow, Scored
    from store.runs import Run, RunSummary
    from store.sqlite import Database

_REDRAW = 0.2
"""Seconds between two looks of the table while numbers come in."""

_PLOTS = {"": "", "seconds": "seconds a session", "tokens": "tokens a prompt, about"}
"""Against what quality can be plotted; nothing at first."""

_MOST_POINTS = 60
"""Runs in a plot; more of them could not be told apart."""

_OFFERED = tuple(action.name for action in ACTIONS if action.place == "runs")
"""Actions that the footer shows as possible, or not."""

_COMING = "coming"
"""The key of a run that has not begun."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The runs, the oldest first, and the sessions that each is about.

    Attributes:
        datasets: those that there are.
        named_database: how a command names the store.
    """

    summaries: "list[RunSummary]"
    scored: "dict[int, Scored]"
    datasets: list[str]
    named_database: Path | None


class RunsFound(Message):
    """The runs have come from the store."""

    def __init__(self, listing: Listing) -> None:
        super().__init__()
        self.listing = listing


class RunScored(Message):
    """The scores of a run are computed."""

    def __init__(self, row: "RunRow") -> None:
        super().__init__()
        self.row = row


class FloorsFound(Message):
    """The floors over some sessions are computed; none where they cannot be."""

    def __init__(self, scored: "Scored", rows: "list[ResultRow]") -> None:
        super().__init__()
        self.scored, self.rows = scored, rows


class TokensFound(Message):
    """The size of the prompts of a run is known, or that it cannot be."""

    def __init__(self, run: int, tokens: float | None) -> None:
        super().__init__()
        self.run, self.tokens = run, tokens


class OffersFound(Message):
    """What an evaluation can be made of, by dataset."""

    def __init__(self, there: "dict[str, Offered]") -> None:
        super().__init__()
        self.there = there


class RunDeleted(Message):
    """A run is gone."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@dataclass(slots=True)
class Work:
    """The evaluation that is at work; `run` is None until its student is ready."""

    activity: Activity
    wanted: Wanted
    run: int | None
    answered: int = 0
    sessions: int = 0


class RunsScreen(KdtuiScreen[None]):
    """All runs and floors as one table, and plots of what quality costs."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("runs", "screen", "search")
    AUTO_FOCUS = "#runs"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._listing = Listing([], {}, [], None)
        self._scores: dict[tuple[int, int], RunRow] = {}
        self._floors: dict[Scored, list[ResultRow]] = {}
        self._tokens: dict[int, float | None] = {}
        self._entries: dict[str, Entry] = {}
        self._made: dict[str, Entry] = {}
        self._rows: dict[str, tuple[Entry, Row]] = {}
        self._marks: list[str] = []
        self._opened: RunScreen | None = None
        self._work: Work | None = None
        self._numbers: Activity | None = None
        self._redraw: Timer | None = None
        self._replot: Timer | None = None
        self._offered: dict[str, bool] = {}
        self._problem = ""
        self._by, self._descending = "number", True
        self._with_floors = True
        self._plot = ""

    def compose(self) -> ComposeResult:
        """The filter, the table, the plot beside it, and what to say where there are no runs."""
        yield TopBar("runs")
        with Horizontal(id="find"):
            yield Label("Filter")
            yield Input(placeholder="words of names, datasets, splits", id="filter", compact=True)
        with Container(id="halves"):
            yield RowTable(COLUMNS, id="runs")
            yield Container(id="plot")
        yield Static(id="notice", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Take up what was chosen last, and load the runs after the first paint."""
        memory = self.remembered("runs")
        if memory.get("sort") in SORTS:
            self._by, self._descending = memory["sort"], memory.get("descending") is not False
        self._with_floors = memory.get("floors") is not False
        if memory.get("plot") in tuple(_PLOTS):
            self._plot = memory["plot"]
        if isinstance(text := memory.get("filter"), str):
            self.query_one("#filter", Input).value = text[:200]
        self._show_filter()
        self.show_content(self.query_one("#halves"), unless="Looking for runs…", focus=self.query_one(RowTable))
        self.call_after_refresh(self._load)
        if self._plot:
            self.call_after_refresh(self._show_plot)

    def on_resize(self, _: events.Resize) -> None:
        """Compute what there is room for now."""
        self.call_after_refresh(self._compute)

    def on_screen_resume(self, _: events.ScreenResume) -> None:
        """Look again when the place is come back to: runs may have been made elsewhere."""
        if self._entries:
            self._load()

    # What there is

    def action_reload(self) -> None:
        """Look again, and compute all numbers again."""
        self._scores.clear()
        self._floors.clear()
        self._tokens.clear()
        self._load()

    def _load(self) -> None:
        def question(db: "Database") -> Listing:
            # Here, though it is needed later too: importing it takes longer than the screen may stand still.
            from kdtui.workflows.runs import Scored
            from store.datasets import dataset_names
            from store.runs import list_runs

            summaries = list_runs(db)
            scored = {summary.run.id: Scored.by(summary) for summary in summaries}
            return Listing(summaries, scored, dataset_names(db), named_database(self.database))

        self.ask(question, RunsFound, group="runs")

    def on_runs_found(self, message: RunsFound) -> None:
        """Show the runs with what is known of them, and have the rest computed."""
        self._listing, self._problem = message.listing, ""
        there = {f"run {summary.run.id}" for summary in self._listing.summaries}
        self._marks = [key for key in self._marks if key in there]
        self._show()
        # What is computed depends on the columns that there is room for.
        self.call_after_refresh(self._compute)

    def _compute(self) -> None:
        """Compute what is not known yet, in this order: scores, floors, tokens."""
        summaries = self._listing.summaries
        unscored = [each for each in reversed(summaries) if each.answered and _key(each) not in self._scores]
        floorless = [
            each for each in dict.fromkeys(reversed(self._listing.scored.values())) if each not in self._floors
        ]
        unmeasured = [each.run for each in reversed(summaries) if each.run.id not in self._tokens]
        if self._plot != "tokens" and "tokens" not in self.query_one(RowTable).sorts:
            # They take the longest, and nobody looks at them.
            unmeasured = []
        if not (unscored or floorless or unmeasured):
            return

        stop = Event()

        def check() -> None:
            if stop.is_set():
                raise Unwanted

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.runs import floors_of, prompt_tokens, score_runs

            with suppress(Unwanted):
                for row in score_runs(db, unscored, check=check):
                    yield RunScored(row)
                for scored in floorless:
                    try:
                        yield FloorsFound(scored, floors_of(db, scored, check=check))
                    except KdtuiError:
                        # A split that has become empty has none.
                        yield FloorsFound(scored, [])
                for run in unmeasured:
                    check()
                    yield TokensFound(run.id, prompt_tokens(db, run))

        def post(message: Message) -> None:
            event = message.event if isinstance(message, Happened) else None
            self.post_message(event if isinstance(event, Message) else message)

        if self._numbers is not None:
            self._numbers.cancel()
        self._numbers = self.kdtui.begin(Activity("numbers", self.database, work, post, stop=stop.set))

    def on_run_scored(self, message: RunScored) -> None:
        """Show the scores of a run."""
        self._scores[_key(message.row.summary)] = message.row
        self._show_soon()

    def on_floors_found(self, message: FloorsFound) -> None:
        """Show floors."""
        self._floors[message.scored] = message.rows
        if self._opened is not None and self._listing.scored.get(self._opened.number) == message.scored:
            self._opened.show_floors(message.rows)
        self._show_soon()

    def on_tokens_found(self, message: TokensFound) -> None:
        """Show what a run reads."""
        self._tokens[message.run] = message.tokens
        self._show_soon()

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong, for good where there is nothing else to see."""
        super().on_failed(message)
        self._problem = message.sentence
        if not self._entries:
            self._show()

    # How it is shown

    def _show_soon(self) -> None:
        if self._redraw is None:
            self._redraw = self.set_timer(_REDRAW, self._show)

    def _show(self) -> None:
        """Show the rows, sorted, and those alone that are looked for."""
        if self._redraw is not None:
            self._redraw.stop()
            self._redraw = None
        entries = [*self._running_entries(), *self._run_entries()]
        if self._with_floors:
            entries += self._floor_entries()
        text = self.query_one("#filter", Input).value
        found = [entry for entry in entries if matches(entry, text)]
        found = in_order(found, self._by, descending=self._descending)
        self._entries = {entry.key: entry for entry in found}
        table = self.query_one(RowTable)
        table.show_rows(map(self._row, found), keep=True)
        table.show_sorted(self._by, descending=self._descending)
        table.show_marks(self._marks)
        notice = self._notice(text, anything=bool(entries))
        self.show_content(self.query_one("#halves"), unless=notice, focus=table)
        self._show_selection()

    def _row(self, entry: Entry) -> Row:
        """An entry as cells, which are made once."""
        before = self._rows.get(entry.key)
        if before is None or before[0] is not entry:
            before = self._rows[entry.key] = entry, row_of(entry)
        return before[1]

    def _notice(self, text: str, *, anything: bool) -> str:
        """What to say in place of the table; nothing where there are rows."""
        if self._entries:
            return ""
        if anything:
            return f"No run matches “{one_line(text, 60)}”."
        if self._problem:
            return one_line(self._problem)
        if not self._listing.datasets:
            return self.first_steps(self._listing.named_database)
        first = command_line(
            ("evaluate",),
            options={"--dataset": self._listing.datasets[0], "--limit": "20"},
            database=self._listing.named_database,
        )
        return (
            f"No student has been evaluated yet. Press {self.kdtui.key_of('runs.new')} to evaluate one, or in a "
            "shell:\n\n"
            f"    {one_line(first)}\n\n{self.look_again()}"
        )

    def _run_entries(self) -> Iterator[Entry]:
        """The runs, with what is known of them."""
        resume = self.kdtui.key_of("runs.resume")
        for summary in self._listing.summaries:
            number = summary.run.id
            key = f"run {number}"
            row, tokens = self._scores.get(_key(summary)), self._tokens.get(number)
            work = self._work if self._work is not None and self._work.run == number else None
            answered = summary.answered if work is None else work.answered
            if work is not None:
                state = "stopping" if work.activity.is_cancelled else "at work"
            else:
                state = "finished" if summary.is_over else f"{resume} goes on"
            if summary.failed:
                state += f", {summary.failed:,} failed"
            # There may be a thousand, and while numbers come in few of them change.
            before = self._made.get(key)
            known = (summary, row and row.scores, tokens, answered, state)
            if before is not None and known == (
                before.summary,
                before.scores,
                before.tokens,
                before.answered,
                before.state,
            ):
                yield before
                continue
            self._made[key] = Entry(
                key,
                summary.run.name,
                self._listing.scored[number],
                state,
                summary,
                answered,
                summary.sessions,
                None if row is None else row.scores,
                summary.seconds_per_session,
                tokens,
            )
            yield self._made[key]

    def _floor_entries(self) -> list[Entry]:
        """The floors over the sessions of runs."""
        wanted = set(self._listing.scored.values())
        found = []
        for number, (scored, rows) in enumerate(self._floors.items()):
            for place, row in enumerate(rows if scored in wanted else []):
                key = f"floor {number}/{place}"
                if key not in self._made or self._made[key].scores is not row.scores:
                    self._made[key] = Entry(key, row.name, scored, "floor", scores=row.scores)
                found.append(self._made[key])
        return found

    def _running_entries(self) -> list[Entry]:
        """The run that is about to begin."""
        from kdtui.workflows.runs import Scored
        from kdtui.workflows.students import student_name

        if self._work is None or self._work.run is not None:
            return []
        wanted = self._work.wanted
        scored = Scored(wanted.dataset, wanted.split, wanted.settings.limit)
        state = "stopping" if self._work.activity.is_cancelled else "loading…"
        return [Entry(_COMING, student_name(wanted.settings), scored, state, answered=0, sessions=0)]

    @property
    def _selected(self) -> Entry | None:
        """The row under the cursor."""
        return self._entries.get(self.query_one(RowTable).cursor_key or "")

    @on(RowTable.RowHighlighted, "#runs")
    def _show_selection(self) -> None:
        """Show the command for the row under the cursor, and the plot that it belongs to."""
        self.show_command(self._command())
        # The footer is made anew by this, so not at every step of the cursor.
        offered = {action: self.why_not(action) is None for action in _OFFERED}
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()
        if self._plot and self._replot is None:
            # A plot is slow to draw, and the cursor may be on its way.
            self._replot = self.set_timer(_REDRAW, self._draw_plot)

    def _command(self) -> str:
        """What does the same in a shell: to compare the two marked runs, or to show what is under the cursor."""
        database = self._listing.named_database
        entry = self._selected
        if self._marked_pair is not None and len(self._marks) == 2:
            words, numbers = ("run", "compare"), [str(run.id) for run in self._marked_pair]
            return command_line(words, numbers, database=database)
        if entry is None:
            return command_line(("run", "ls"), database=database) if self._listing.summaries else ""
        if entry.summary is not None:
            return command_line(("run", "show"), str(entry.number), database=database)
        if entry.key == _COMING and self._work is not None:
            return command_line(self._work.wanted.arguments, database=database)
        scored = entry.scored
        limit = None if scored.limit is None else str(scored.limit)
        return command_line(
            ("evaluate", "--floors-only"),
            options={"--dataset": scored.dataset, "--split": scored.split, "--limit": limit},
            database=database,
        )

    # Sorting, filtering, floors

    @on(RowTable.SortWanted, "#runs")
    def sort_by_title(self, event: RowTable.SortWanted) -> None:
        """Sort by the column whose title was clicked; the other way round where that is so already."""
        descending = not self._descending if event.sort == self._by else begins_with_the_largest(event.sort)
        self._sort(event.sort, descending=descending)

    def action_sort(self) -> None:
        """Sort by the next column that is in sight."""
        sorts = self.query_one(RowTable).sorts
        by = sorts[(sorts.index(self._by) + 1) % len(sorts)] if self._by in sorts else sorts[0]
        self._sort(by, descending=begins_with_the_largest(by))

    def action_reverse(self) -> None:
        """Sort in the other direction."""
        self._sort(self._by, descending=not self._descending)

    def _sort(self, by: str, *, descending: bool) -> None:
        self._by, self._descending = by, descending
        self.remembered("runs").update(sort=by, descending=descending)
        self._show()

    def action_search(self) -> None:
        """Go to the filter."""
        self.query_one("#find").display = True
        self.set_focus(self.query_one("#filter", Input))

    @on(Input.Changed, "#filter")
    def filter_while_typing(self, event: Input.Changed) -> None:
        """Show those alone that are looked for."""
        self.remembered("runs")["filter"] = event.value
        self._show_soon()

    @on(Input.Submitted, "#filter")
    def action_leave_search(self) -> None:
        """Go from the filter to the list."""
        # A notice in its place takes no focus.
        self.set_focus(self.query_one(RowTable) if self.query_one("#halves").display else None)
        self._show_filter()

    def _show_filter(self) -> None:
        """Have the line of the filter there only where something is filtered."""
        self.query_one("#find").display = bool(self.query_one("#filter", Input).value)

    def action_floors(self) -> None:
        """Show the floors, or not."""
        self._with_floors = not self._with_floors
        self.remembered("runs")["floors"] = self._with_floors
        self._show()

    # The plot

    def action_plot(self) -> None:
        """Plot against the next measure."""
        plots = list(_PLOTS)
        self._plot = plots[(plots.index(self._plot) + 1) % len(plots)]
        self.remembered("runs")["plot"] = self._plot
        self._show_plot()
        if self._plot == "tokens":
            self._compute()

    def _show_plot(self) -> None:
        from kdtui.tui.widgets.quality_plot import QualityPlot

        place = self.query_one("#plot")
        place.display = bool(self._plot)
        if self._plot and not place.query(QualityPlot):
            place.mount(QualityPlot())
        self._draw_plot()

    def _draw_plot(self) -> None:
        """Plot the runs over the same split as the one under the cursor, as far as they are in the table."""
        if self._replot is not None:
            self._replot.stop()
            self._replot = None
        if not self._plot:
            return
        from kdtui.tui.widgets.quality_plot import Point, QualityPlot

        entry = self._selected
        for plot in self.query(QualityPlot):
            if entry is None:
                plot.show_runs([], chosen=None, floor=None, title="pair F1", cost=_PLOTS[self._plot])
                continue
            alike = [
                each
                for each in self._entries.values()
                if (each.scored.dataset, each.scored.split) == (entry.scored.dataset, entry.scored.split)
            ]
            points = [
                Point(each.number, cost, each.f1)
                for each in alike
                if each.number is not None
                and each.f1 is not None
                and (cost := each.seconds if self._plot == "seconds" else each.tokens) is not None
            ]
            floors = [
                (row.name, row.scores.pair_f1) for row in self._floors.get(entry.scored, []) if row.name != "truth"
            ]
            best = sorted(points, key=lambda each: (each.number == entry.number, each.quality))[-_MOST_POINTS:]
            what = "numbers are runs" if len(best) == len(points) else f"the best {len(best)} runs, by number"
            plot.show_runs(
                best,
                chosen=entry.number,
                floor=max(floors, key=lambda each: each[1], default=None),
                title=f"pair F1 · {entry.scored.dataset} {entry.scored.split} · {what}",
                cost=_PLOTS[self._plot],
            )

    # One run, and two

    @on(RowTable.RowSelected, "#runs")
    def open_run(self) -> None:
        """Show the run in full."""
        entry = self._selected
        if entry is None or entry.key == _COMING:
            return
        from kdtui.tui.screens.run import FloorsDialog, RunScreen

        floors = self._floors.get(entry.scored)
        if entry.summary is None:
            self.app.push_screen(FloorsDialog(entry.scored, floors or []))
            return
        opened = RunScreen(self.database, entry.summary, floors, can_go_on=self._work is None)

        def then(go_on: bool | None) -> None:
            self._opened = None
            if go_on:
                self._resume(opened.number)

        self._opened = opened
        self.app.push_screen(opened, then)

    def action_mark(self) -> None:
        """Mark the run, or take the mark away; a third one takes the place of the first."""
        entry = self._selected
        if entry is None:
            return
        if entry.key in self._marks:
            self._marks.remove(entry.key)
        else:
            self._marks = [*self._marks[-1:], entry.key]
        table = self.query_one(RowTable)
        table.show_marks(self._marks)
        table.action_down()
        self._show_selection()

    @property
    def _marked_pair(self) -> "tuple[Run, Run] | None":
        """The two runs to compare: those that are marked, or the marked one and the one under the cursor."""
        runs = {f"run {summary.run.id}": summary.run for summary in self._listing.summaries}
        entry = self._selected
        keys = [*self._marks, *([entry.key] if entry is not None and len(self._marks) == 1 else [])]
        if len(keys) != 2 or keys[0] == keys[1] or not all(key in runs for key in keys):
            return None
        return runs[keys[0]], runs[keys[1]]

    def action_compare(self) -> None:
        """Compare two runs."""
        pair = self._marked_pair
        if pair is None:
            return
        from kdtui.tui.screens.compared_runs import ComparedRunsScreen

        self.app.push_screen(ComparedRunsScreen(self.database, *pair))

    # To evaluate

    def action_new(self) -> None:
        """Look for what an evaluation can be made of; the form follows."""

        names = self._listing.datasets

        def question(db: "Database") -> "dict[str, Offered]":
            from kdtui.workflows.offered import offered

            return {name: offered(db, name) for name in names}

        self.ask(question, OffersFound, group="offers")

    def on_offers_found(self, message: OffersFound) -> None:
        """Ask what to evaluate."""
        memory = self.remembered("runs")
        form = EvaluationForm(message.there, memory.get("form"), self._listing.named_database)

        def then(values: dict[str, str] | None) -> None:
            if values is not None:
                wanted = form.wanted(values)
                memory["form"] = wanted.to_memory()
                self._evaluate(wanted)

        self.app.push_screen(form.dialog(), then)

    def _evaluate(self, wanted: Wanted) -> None:
        if self._work is not None:
            return

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.evaluate import evaluate, split_to_score

            sessions = split_to_score(db, wanted.dataset, wanted.split, wanted.settings.limit)
            return evaluate(db, wanted.dataset, wanted.split, wanted.settings, sessions)

        self._work = Work(self._begin("evaluate", work), wanted, None)
        self._show()

    def action_resume(self) -> None:
        """Go on with the run under the cursor."""
        entry = self._selected
        if entry is not None and entry.number is not None:
            self._resume(entry.number)

    def _resume(self, number: int) -> None:
        summary = next((each for each in self._listing.summaries if each.run.id == number), None)
        if summary is None or self._work is not None:
            return
        run = summary.run

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.evaluate import resume, split_to_score

            return resume(db, run, split_to_score(db, run.dataset, run.split, run.settings.limit))

        wanted = Wanted(run.dataset, run.split, run.settings)
        self._work = Work(self._begin("resume", work), wanted, number, summary.answered, summary.sessions)
        self._show()

    def _begin(self, name: str, work: "Callable[[Database], Iterator[object]]") -> Activity:
        from kdtui.workflows.generate import BundleGrew

        def post(message: Message) -> None:
            # A student writes more often than anyone can see.
            if not (isinstance(message, Happened) and isinstance(message.event, BundleGrew)):
                self.post_message(message)

        return self.kdtui.begin(Activity(name, self.database, work, post))

    def on_happened(self, message: Happened) -> None:
        """Show how far the evaluation is."""
        from kdtui.workflows.evaluate import RunBegun
        from kdtui.workflows.generate import SessionAnswered

        work, event = self._work, message.event
        if work is None or message.activity is not work.activity:
            return
        if isinstance(event, RunBegun):
            work.run, work.answered, work.sessions = event.run.id, event.answered, event.sessions
            self._load()
        elif isinstance(event, SessionAnswered):
            work.answered += 1
            self._show_soon()

    def on_ended(self, message: Ended) -> None:
        """Say how the evaluation ended, and show its scores; or that all is computed."""
        work = self._work
        if message.activity is self._numbers:
            self._numbers = None
            if message.problem is not None:
                self.post_message(Failed(message.problem, message.details))
        if work is None or message.activity is not work.activity:
            return
        self._work = None
        name = "the evaluation" if work.run is None else f"run {work.run}"
        if message.problem is not None:
            self.say(message.problem, details=message.details)
        elif message.activity.is_cancelled and work.answered < work.sessions:
            self.say(f"{name} has been stopped; what was answered is kept", error=False)
        elif message.activity.is_cancelled:
            self.say(f"{name} has been stopped", error=False)
        else:
            self.say(f"{name} is finished", error=False)
        self._load()

    def action_cancel(self) -> None:
        """Stop the evaluation."""
        if self._work is not None:
            self._work.activity.cancel()
            self._show()

    # To delete

    def action_delete(self) -> None:
        """Delete the run under the cursor, once that is confirmed."""
        entry = self._selected
        if entry is None or entry.summary is None:
            return
        number, answered = entry.summary.run.id, entry.summary.answered

        def question(db: "Database") -> int:
            from store.runs import delete_run

            delete_run(db, number)
            return number

        def then(yes: bool | None) -> None:
            if yes:
                self.ask(question, RunDeleted, group="delete")

        self.app.push_screen(
            ConfirmDialog(
                f"Delete run {number}, {entry.name} on {entry.scored.dataset} {entry.scored.split}?",
                f"Its {answered:,} answers, and the time that they took, are lost.",
                "Delete",
                command_line(("run", "rm"), str(number), database=self._listing.named_database),
            ),
            then,
        )

    def on_run_deleted(self, message: RunDeleted) -> None:
        """Say so, and look again."""
        self.say(f"run {message.number} is deleted", error=False)
        self._load()

    # What can be done

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        entry = self._selected if self.is_mounted else None
        match action:
            case "new" if self._work is not None:
                return f"an evaluation is at work; {self.kdtui.key_of('runs.cancel')} stops it"
            case "new" if not self._listing.datasets:
                return "there is no dataset yet"
            case "cancel" if self._work is None:
                return "no evaluation is at work"
            case "cancel" if self._work is not None and self._work.activity.is_cancelled:
                return "it is being stopped already"
            case "mark" | "delete" | "resume" if entry is None or entry.summary is None:
                return "the cursor is on no run"
            case "resume" if self._work is not None:
                return f"an evaluation is at work; {self.kdtui.key_of('runs.cancel')} stops it"
            case "resume" if entry is not None and entry.summary is not None and entry.summary.is_over:
                return "the run is finished"
            case "delete" if self._work is not None and entry is not None and entry.number == self._work.run:
                return f"the run is at work; {self.kdtui.key_of('runs.cancel')} stops it"
            case "compare":
                pair = self._marked_pair if self.is_mounted else None
                if pair is None:
                    return f"mark two runs first, with {self.kdtui.key_of('runs.mark')}"
                if (pair[0].dataset, pair[0].split) != (pair[1].dataset, pair[1].split):
                    return "the two runs are not over the same split"
            case "sort" | "reverse" | "plot" | "floors" | "search" if not self._listing.summaries:
                return "there are no runs yet"
        return super().why_not(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done now."""
        if action == "leave_search":
            return isinstance(self.focused, Input)
        return super().check_action(action, parameters)


def _key(summary: "RunSummary") -> tuple[int, int]:
    """What the scores of a run depend on: they change with its answers only."""
    return summary.run.id, summary.answered
