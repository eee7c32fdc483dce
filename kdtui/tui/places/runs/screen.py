"""Runs: how well students have done, beside the floors, and evaluations to start, to go on with and to compare."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, Label, Static

from kdtui.text import counted, one_line
from kdtui.tui.actions import ACTIONS, bindings
from kdtui.tui.core.activity import Ended, Happened
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import ConfirmDialog
from kdtui.tui.core.screen import Failed, StoreScreen
from kdtui.tui.core.services import RowWanted
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.runs.evaluation import EvaluationActivity
from kdtui.tui.places.runs.form import EvaluationForm, Wanted
from kdtui.tui.places.runs.note import keep_note, note_form
from kdtui.tui.places.runs.rows import COLUMNS, SORTS, Entry, begins_with_the_largest, in_order, matches, row_of
from kdtui.tui.places.runs.run_list import COMING, KnownRuns, Listing
from kdtui.tui.places.runs.run_plot import PLOTS, RunPlot
from kdtui.tui.places.runs.scoring import FloorsFound, RunNumbers, RunScored, TokensFound
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.rows import Row
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from kdtui.tui.places.runs.run import RunScreen
    from kdtui.workflows.student.options import StudentOptions
    from store.runs import Run, RunSummary
    from store.sqlite import Database

_REDRAW = 0.2
"""Seconds between two looks of the table while numbers come in."""

_OFFERED = tuple(action.name for action in ACTIONS if action.place == "runs")
"""Actions that the footer shows as possible, or not."""


class RunsFound(Message):
    """The runs have come from the store."""

    def __init__(self, listing: Listing) -> None:
        super().__init__()
        self.listing = listing


class OffersFound(Message):
    """What an evaluation can be made of, by dataset."""

    def __init__(self, there: "dict[str, StudentOptions]") -> None:
        super().__init__()
        self.there = there


class RunDeleted(Message):
    """A run is gone."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class RunNoted(Message):
    """The tags and the note of a run are kept."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class RunsScreen(StoreScreen[None]):
    """All runs and floors as one table, and plots of what quality costs."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("runs", "screen", "search")
    AUTO_FOCUS = "#runs"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._known = KnownRuns()
        self._entries: dict[str, Entry] = {}
        self._rows: dict[str, tuple[Entry, Row]] = {}
        self._marks: list[str] = []
        self._opened: RunScreen | None = None
        self._work: EvaluationActivity | None = None
        self._numbers: RunNumbers | None = None
        self._redraw: Timer | None = None
        self._replot: Timer | None = None
        self._offered: dict[str, bool] = {}
        self._problem = ""
        # The run that another place has asked to be opened.
        self._wanted: str | None = None
        self._by, self._descending = "number", True
        self._with_floors = True
        self._plot = ""

    def compose(self) -> ComposeResult:
        """The filter, the table, the plot beside it, and what to say where there are no runs."""
        yield TopBar("runs")
        with Horizontal(id="find"):
            yield Label("Filter")
            yield Input(placeholder="words of names, datasets, splits, tags, notes", id="filter", compact=True)
        with Container(id="halves"):
            yield RowTable(COLUMNS, id="runs")
            yield RunPlot(id="plot")
        yield Static(id="notice", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Take up what was chosen last, and load the runs after the first paint."""
        memory = self.remembered("runs")
        if memory.get("sort") in SORTS:
            self._by, self._descending = memory["sort"], memory.get("descending") is not False
        self._with_floors = memory.get("floors") is not False
        if memory.get("plot") in tuple(PLOTS):
            self._plot = memory["plot"]
        if isinstance(text := memory.get("filter"), str):
            self.query_one("#filter", Input).value = text[:200]
        self._show_filter()
        self.show_content(self.query_one("#halves"), unless="Looking for runs…", focus=self.query_one(RowTable))
        self.call_after_refresh(self._load)
        if self._plot:
            self.call_after_refresh(self._show_plot)

    def on_screen_resume(self, _: events.ScreenResume) -> None:
        """Look again when the place is come back to: runs may have been made elsewhere."""
        if self._entries:
            self._load()

    def on_row_wanted(self, message: RowWanted) -> None:
        """Open a run as soon as it is known."""
        self._wanted = message.key
        self.action_clear_search()
        self._load()

    def see_other_data(self) -> None:
        """Look again."""
        self._load()

    # What there is

    def action_reload(self) -> None:
        """Look again, and compute all numbers again."""
        if self._numbers is not None:
            self._numbers.cancel()
            self._numbers = None
        self._known.forget_numbers()
        self._load()

    def _load(self) -> None:
        def question(db: "Database") -> Listing:
            # Here, though it is needed later too: importing it takes longer than the screen may stand still.
            from kdtui.workflows.runs.scored import Scored
            from store.datasets import dataset_names
            from store.runs import list_runs

            summaries = list_runs(db)
            scored = {summary.run.id: Scored.by(summary) for summary in summaries}
            return Listing(summaries, scored, dataset_names(db), named_database(self.database))

        self.ask(question, RunsFound, group="runs")

    def on_runs_found(self, message: RunsFound) -> None:
        """Show the runs with what is known of them, and have the rest computed."""
        self._known.listing, self._problem = message.listing, ""
        there = {f"run {summary.run.id}" for summary in self._known.listing.summaries}
        self._marks = [key for key in self._marks if key in there]
        self._show()
        self._compute()
        wanted, self._wanted = self._wanted, None
        if wanted in self._entries:
            self.query_one(RowTable).move_to(list(self._entries).index(wanted))
            if self.is_current:
                self.open_run()
        elif wanted is not None:
            self.say(f"there is no {wanted} any more")

    @on(RowTable.ColumnsShown)
    def _compute(self) -> None:
        """Compute what is not known yet; the size of prompts only where somebody looks at it."""
        missing = self._known.missing(tokens=self._plot == "tokens" or "tokens" in self.query_one(RowTable).sorts)
        if missing is None:
            return
        if self._numbers is not None:
            if self._numbers.missing.includes(missing):
                # It is on its way.
                return
            self._numbers.cancel()
        self._numbers = RunNumbers(self.database, missing, self.post_message)
        self.kdtui.begin(self._numbers)

    def on_run_scored(self, message: RunScored) -> None:
        """Show the scores of a run."""
        self._known.add_scores(message.row)
        self._show_soon()

    def on_floors_found(self, message: FloorsFound) -> None:
        """Show floors."""
        self._known.add_floors(message.scored, message.rows)
        if self._opened is not None and self._known.listing.scored.get(self._opened.number) == message.scored:
            self._opened.show_floors(message.rows)
        self._show_soon()

    def on_tokens_found(self, message: TokensFound) -> None:
        """Show what a run reads."""
        self._known.add_tokens(message.run, message.tokens)
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
        resume = self.kdtui.key_of("runs.resume")
        entries = self._known.entries(self._work, with_floors=self._with_floors, resume=resume)
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
            key = self.kdtui.key_of("runs.clear_search")
            return f"No run matches “{one_line(text, 60)}”.\n\n{key} shows all runs again."
        if self._problem:
            return one_line(self._problem)
        if not self._known.listing.datasets:
            return self.first_steps(self._known.listing.named_database)
        [dataset, *_] = self.datasets_to_begin_with(self._known.listing.datasets)
        first = command_line(
            ("evaluate",),
            options={"--dataset": dataset, "--limit": "20"},
            database=self._known.listing.named_database,
        )
        return (
            f"No student has been evaluated yet. Press {self.kdtui.key_of('runs.new')} to evaluate one, or in a "
            "shell:\n\n"
            f"    {one_line(first)}\n\n{self.look_again()}"
        )

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The dataset of the run, or floor, under the cursor."""
        entry = self._selected
        return () if entry is None else (entry.scored.dataset,)

    @property
    def _selected(self) -> Entry | None:
        """The row under the cursor."""
        return self._entries.get(self.query_one(RowTable).cursor_key or "")

    @on(RowTable.RowHighlighted, "#runs")
    def _show_selection(self) -> None:
        """Show the command for the row under the cursor, and the plot that it belongs to."""
        self.show_command(self._command())
        # The footer is made anew by this, so not at every step of the cursor.
        student_options = {action: self.why_not(action) is None for action in _OFFERED}
        if student_options != self._offered:
            self._offered = student_options
            self.refresh_bindings()
        if self._plot and self._replot is None:
            # A plot is slow to draw, and the cursor may be on its way.
            self._replot = self.set_timer(_REDRAW, self._draw_plot)

    def _command(self) -> str:
        """What does the same in a shell: to compare the two marked runs, or to show what is under the cursor."""
        database = self._known.listing.named_database
        entry = self._selected
        if self._marked_pair is not None and len(self._marks) == 2:
            words, numbers = ("run", "compare"), [str(run.id) for run in self._marked_pair]
            return command_line(words, numbers, database=database)
        if entry is None:
            return command_line(("run", "ls"), database=database) if self._known.listing.summaries else ""
        if entry.summary is not None:
            return command_line(("run", "show"), str(entry.number), database=database)
        if entry.key == COMING and self._work is not None:
            return command_line(self._work.wanted.arguments, database=database)
        scored = entry.scored
        if scored.are_the_first:
            # No command takes these sessions any more; a run over them shows their floors.
            run = next(number for number, each in self._known.listing.scored.items() if each == scored)
            return command_line(("run", "show"), str(run), database=database)
        options = {
            "--dataset": scored.dataset,
            "--split": scored.split,
            "--limit": None if scored.limit is None else str(scored.limit),
            "--seed": str(scored.seed) if scored.seed else None,
        }
        return command_line(("evaluate", "--floors-only"), options=options, database=database)

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

    def action_leave_search(self) -> None:
        """Go from the filter to the list; where nothing has been found, by showing everything again."""
        if not self._entries and self._redraw is None:
            self.action_clear_search()
        self._go_to_list()

    @on(Input.Submitted, "#filter")
    def _go_to_list(self) -> None:
        # A notice in its place takes no focus.
        self.set_focus(self.query_one(RowTable) if self.query_one("#halves").display else None)
        self._show_filter()

    def action_clear_search(self) -> None:
        """Have all runs listed."""
        self.query_one("#filter", Input).value = ""
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
        plots = list(PLOTS)
        self._plot = plots[(plots.index(self._plot) + 1) % len(plots)]
        self.remembered("runs")["plot"] = self._plot
        self._show_plot()
        if self._plot == "tokens":
            self._compute()

    def _show_plot(self) -> None:
        self.query_one(RunPlot).plot_against(self._plot)
        self._draw_plot()

    def _draw_plot(self) -> None:
        """Plot those that are in the table, as the one under the cursor has it."""
        if self._replot is not None:
            self._replot.stop()
            self._replot = None
        entry = self._selected
        floors = self._known.floors_over(entry.scored) if entry is not None else None
        self.query_one(RunPlot).show_runs(self._entries.values(), entry, floors or [])

    # One run, and two

    @on(RowTable.RowSelected, "#runs")
    def open_run(self) -> None:
        """Show the run in full."""
        entry = self._selected
        if entry is None or entry.key == COMING:
            return
        from kdtui.tui.places.runs.run import FloorsDialog, RunScreen

        floors = self._known.floors_over(entry.scored)
        if entry.summary is None:
            if floors is None:
                self.say("these floors are still being computed", error=False)
            else:
                self.app.push_screen(FloorsDialog(entry.scored, floors))
            return
        opened = RunScreen(self.database, entry.summary, floors, self._work)

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
        runs = {f"run {summary.run.id}": summary.run for summary in self._known.listing.summaries}
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
        from kdtui.tui.places.runs.compared import ComparedRunsScreen

        self.app.push_screen(ComparedRunsScreen(self.database, *pair))

    # To evaluate

    def action_new(self) -> None:
        """Look for what an evaluation can be made of; the form follows."""

        names = self._known.listing.datasets

        def question(db: "Database") -> "dict[str, StudentOptions]":
            from kdtui.workflows.student.options import student_options

            # Adapters are the same for all of them.
            return {name: student_options(db, name, as_trained=name == names[0]) for name in names}

        self.ask(question, OffersFound, group="offers")

    def on_offers_found(self, message: OffersFound) -> None:
        """Ask what to evaluate."""
        memory = self.remembered("runs")
        before = memory.get("form")
        last = before.get("dataset") if isinstance(before, dict) else None
        [dataset, *_] = self.datasets_to_begin_with(list(message.there), last)
        form = EvaluationForm(message.there, dataset, before, self._known.listing.named_database)

        def then(values: dict[str, str] | None) -> None:
            if values is not None:
                wanted = form.wanted(values)
                memory["form"] = wanted.to_memory()
                self._begin(wanted)

        self.app.push_screen(form.dialog(), then)

    def action_resume(self) -> None:
        """Go on with the run under the cursor."""
        entry = self._selected
        if entry is not None and entry.number is not None:
            self._resume(entry.number)

    def _resume(self, number: int) -> None:
        summary = next((each for each in self._known.listing.summaries if each.run.id == number), None)
        if summary is not None:
            run = summary.run
            self._begin(Wanted(run.dataset, run.split, run.settings), summary)

    def _begin(self, wanted: Wanted, before: "RunSummary | None" = None) -> None:
        """Begin an evaluation, or go on with the run `before`; there is one at a time."""
        if self._work is not None:
            return
        self._work = EvaluationActivity(self.database, wanted, self.post_message, before=before)
        self.kdtui.begin(self._work)
        self._show()

    def on_happened(self, message: Happened) -> None:
        """Show how far the evaluation is."""
        from kdtui.workflows.runs.evaluate import RunBegun
        from models.student_protocol import Noted

        work = self._work
        if work is None or message.activity is not work:
            return
        if isinstance(message.event, str | Noted):
            self.say(message.event if isinstance(message.event, str) else message.event.text, error=False)
        if isinstance(message.event, RunBegun):
            self._load()
        else:
            self._show_soon()

    def on_ended(self, message: Ended) -> None:
        """Say how the evaluation ended, and show its scores; or that all is computed."""
        work = self._work
        if message.activity is self._numbers:
            self._numbers = None
            if message.problem is not None:
                self.post_message(Failed(message.problem, message.details))
        if work is None or message.activity is not work:
            return
        self._work = None
        if self._opened is not None:
            self._opened.end_work()
        if message.problem is not None:
            self.say(message.problem, details=message.details)
        else:
            self.say(work.outcome, error=False)
        self._load()

    def action_cancel(self) -> None:
        """Stop the evaluation."""
        if self._work is not None:
            self._work.cancel()
            self._show()

    # To note, and to delete

    def action_note(self) -> None:
        """Ask for the tags and the note of the run under the cursor."""
        entry = self._selected
        if entry is None or entry.summary is None:
            return
        run = entry.summary.run

        def then(values: dict[str, str] | None) -> None:
            def question(db: "Database") -> int:
                keep_note(db, run, values or {})
                return run.id

            if values is not None:
                self.ask(question, RunNoted, group="note")

        self.app.push_screen(note_form(run, self._known.listing.named_database), then)

    def on_run_noted(self, message: RunNoted) -> None:
        """Say so, and look again."""
        self.say(f"tags and note of run {message.number} are kept", error=False)
        self._load()

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
                f"Its {counted(answered, 'answer')}, and the time spent, are lost.",
                "Delete",
                command_line(("run", "rm"), str(number), database=self._known.listing.named_database),
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
            case "new" if not self._known.listing.datasets:
                return self.no_dataset
            case "cancel" if self._work is None:
                return "no evaluation is at work"
            case "cancel" if self._work is not None and self._work.is_cancelled:
                return "it is being stopped already"
            case "mark" if entry is not None and entry.is_floor:
                return self._why_no_floor()
            case "mark" | "note" | "delete" | "resume" if entry is None or entry.summary is None:
                return "the cursor is on no run"
            case "resume" if self._work is not None:
                return f"an evaluation is at work; {self.kdtui.key_of('runs.cancel')} stops it"
            case "resume" if entry is not None and entry.summary is not None and entry.summary.is_over:
                return "the run is finished"
            case "delete" if self._work is not None and entry is not None and entry.number == self._work.run:
                return f"the run is at work; {self.kdtui.key_of('runs.cancel')} stops it"
            case "compare" if (problem := self._why_not_compared()) is not None:
                return problem
            case "sort" | "reverse" | "plot" | "floors" | "search" if not self._known.listing.summaries:
                return "there are no runs yet"
        return super().why_not(action)

    def _why_not_compared(self) -> str | None:
        """Why there are no two runs to be compared."""
        pair = self._marked_pair if self.is_mounted else None
        if pair is None:
            if self._marks and self._selected is not None and self._selected.is_floor:
                return self._why_no_floor()
            return f"mark two runs first, with {self.kdtui.key_of('runs.mark')}"
        # By now, the runs have been listed by it.
        from kdtui.workflows.runs.runs import why_incomparable

        return why_incomparable(*pair)

    def _why_no_floor(self) -> str:
        """Why a floor cannot be compared with a run session by session, and where the two stand side by side."""
        shows = self.kdtui.key_of("table.select")
        return (
            f"the answers of a floor are not kept, to be compared; {shows} on a run shows its scores beside the floors"
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Of the two actions of `escape`, the one that there is a reason for."""
        is_typing = isinstance(self.focused, Input)
        if action == "leave_search":
            return is_typing
        if action == "clear_search":
            return self.is_mounted and not is_typing and bool(self.query_one("#filter", Input).value)
        return super().check_action(action, parameters)
