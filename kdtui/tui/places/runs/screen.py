"""The place Runs: all evaluations next to the floors, and how to start, resume and compare them."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events, on
from textual.message import Message

from kdtui.text import counted
from kdtui.tui.core.activity import Ended, Happened
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import ConfirmDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.screen import Failed
from kdtui.tui.core.services import RowWanted
from kdtui.tui.core.store_worker import StoreChanged, named_database
from kdtui.tui.places.runs.evaluation import EvaluationActivity
from kdtui.tui.places.runs.form import EvaluationForm, EvaluationRequest
from kdtui.tui.places.runs.list_screen import RunListScreen
from kdtui.tui.places.runs.note import NoteForm, RunNote, save_note
from kdtui.tui.places.runs.run_list import UPCOMING, RunListing
from kdtui.tui.places.runs.scoring import FloorsFound, NumbersActivity, RunScored, TokensFound
from kdtui.tui.widgets.row_table import RowTable

if TYPE_CHECKING:
    from kdtui.tui.places.runs.run_screen import RunScreen
    from kdtui.workflows.student.options import StudentOptions
    from store.runs import Run, RunSummary
    from store.sqlite import Database


class RunsFound(Message):
    """The runs were read from the store."""

    def __init__(self, listing: RunListing) -> None:
        super().__init__()
        self.listing = listing


class StudentOptionsFound(Message):
    """The options of an evaluation were read, by dataset."""

    def __init__(self, options: "dict[str, StudentOptions]") -> None:
        super().__init__()
        self.options = options


class RunsChanged(StoreChanged):
    """A run was deleted, or its tags and its note were saved."""


class RunsScreen(RunListScreen):
    """The runs of the store, with numbers that are computed in the background."""

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._opened: RunScreen | None = None
        self._computing: NumbersActivity | None = None
        # The key of the run that another place wants to open.
        self._requested: str | None = None

    def on_mount(self) -> None:
        """Load the runs after the first paint."""
        self.call_after_refresh(self._load)

    def on_screen_resume(self, _: events.ScreenResume) -> None:
        """Load the runs again when the user returns, since other programs may have added some."""
        if self.entries:
            self._load()

    def on_row_wanted(self, message: RowWanted) -> None:
        """Open a run that another place wants to show, as soon as it is loaded."""
        self._requested = message.key
        self.action_clear_search()
        self._load()

    def see_other_data(self) -> None:
        """Load the runs again."""
        self._load()

    # The runs and their numbers

    def action_reload(self) -> None:
        """Load the runs, and compute all numbers again."""
        if self._computing is not None:
            self._computing.cancel()
            self._computing = None
        self.known.forget_numbers()
        self._load()

    def _load(self) -> None:
        def question(db: "Database") -> RunListing:
            # Imported in this thread, since importing it takes longer than the screen may stall.
            from kdtui.workflows.runs.session_selection import SessionSelection
            from store.datasets import dataset_names
            from store.runs import list_runs

            summaries = list_runs(db)
            selections = {summary.run.id: SessionSelection.by(summary) for summary in summaries}
            return RunListing(summaries, selections, dataset_names(db), named_database(self.database))

        self.ask(question, RunsFound, group="runs")

    def on_runs_found(self, message: RunsFound) -> None:
        """Show the runs with the known numbers, and compute the others."""
        self.known.listing, self.problem = message.listing, ""
        keys = {f"run {summary.run.id}" for summary in self.known.listing.summaries}
        self.marks = [key for key in self.marks if key in keys]
        self.show()
        self._compute()
        requested, self._requested = self._requested, None
        if requested in self.entries:
            self.query_one(RowTable).move_to(list(self.entries).index(requested))
            if self.is_current:
                self.open_run()
        elif requested is not None:
            self.say(f"there is no {requested} any more")

    @property
    def is_computing(self) -> bool:
        """Whether numbers are being computed."""
        return self._computing is not None

    @on(RowTable.ColumnsShown)
    def _compute(self) -> None:
        """Compute missing numbers; prompt sizes only if they are visible."""
        missing = self.known.missing(tokens=self.plotted == "tokens" or "tokens" in self.query_one(RowTable).sorts)
        activity = NumbersActivity.replacing(self._computing, self.database, missing, self.post_message)
        if activity is not None:
            self._computing = activity
            self.kdtui.begin(activity)

    def on_run_scored(self, message: RunScored) -> None:
        """Show the scores of a run."""
        self.known.add_scores(message.row)
        self.show_soon()

    def on_floors_found(self, message: FloorsFound) -> None:
        """Show floors in the list and in the open run."""
        self.known.add_floors(message.selection, message.rows)
        if self._opened is not None and self.known.listing.selections.get(self._opened.number) == message.selection:
            self._opened.show_floors(message.rows)
        self.show_soon()

    def on_tokens_found(self, message: TokensFound) -> None:
        """Show the prompt size of a run."""
        self.known.add_tokens(message.run, message.tokens)
        self.show_soon()

    def on_failed(self, message: Failed) -> None:
        """Keep the failure on the screen if nothing else is shown."""
        self.problem = message.sentence
        if not self.entries:
            self.show()

    def action_plot(self) -> None:
        """Plot against the next measure, and compute it if necessary."""
        super().action_plot()
        if self.plotted == "tokens":
            self._compute()

    # One run, and two

    def command_for_selection(self) -> str:
        """Return the command that compares the marked runs, or shows the selected entry."""
        database = self.known.listing.named_database
        entry = self.selected
        if self.pair is not None and len(self.marks) == 2:
            return command_line(("run", "compare"), [str(run.id) for run in self.pair], database=database)
        if entry is None:
            return command_line(("run", "ls"), database=database) if self.known.listing.summaries else ""
        if entry.summary is not None:
            return command_line(("run", "show"), str(entry.number), database=database)
        if entry.key == UPCOMING and self.evaluation is not None:
            return command_line(self.evaluation.request.arguments, database=database)
        selection = entry.selection
        if selection.are_the_first:
            # No command selects these sessions any more; a run over them shows their floors.
            run = next(number for number, each in self.known.listing.selections.items() if each == selection)
            return command_line(("run", "show"), str(run), database=database)
        options = {
            "--dataset": selection.dataset,
            "--split": selection.split,
            "--limit": None if selection.limit is None else str(selection.limit),
            "--seed": str(selection.seed) if selection.seed else None,
        }
        return command_line(("evaluate", "--floors-only"), options=options, database=database)

    @on(RowTable.RowSelected, "#runs")
    def open_run(self) -> None:
        """Show the selected run or floors in full."""
        entry = self.selected
        if entry is None or entry.key == UPCOMING:
            return
        from kdtui.tui.places.runs.run_screen import FloorsDialog, RunScreen

        floors = self.known.floors_over(entry.selection)
        if entry.summary is None:
            if floors is None:
                self.say("these floors are still being computed", error=False)
            else:
                self.app.push_screen(FloorsDialog(entry.selection, floors))
            return
        opened = RunScreen(self.database, entry.summary, floors, self.evaluation)

        def close(resume: bool | None) -> None:
            self._opened = None
            if resume:
                self._resume(opened.number)

        self._opened = opened
        self.app.push_screen(opened, close)

    def action_compare(self) -> None:
        """Compare two runs."""
        pair = self.pair
        if pair is None:
            return
        from kdtui.tui.places.runs.compared_screen import ComparedRunsScreen

        self.app.push_screen(ComparedRunsScreen(self.database, *pair))

    # Evaluations

    def action_new(self) -> None:
        """Read the options of an evaluation; the form follows."""
        names = self.known.listing.datasets

        def question(db: "Database") -> "dict[str, StudentOptions]":
            from kdtui.workflows.student.options import student_options

            # Adapters are the same for all datasets.
            return {name: student_options(db, name, as_trained=name == names[0]) for name in names}

        self.ask(question, StudentOptionsFound, group="offers")

    def on_student_options_found(self, message: StudentOptionsFound) -> None:
        """Ask what to evaluate."""
        memory = self.remembered("runs")
        before = memory.get("form")
        last = before.get("dataset") if isinstance(before, dict) else None
        [dataset, *_] = self.datasets_to_begin_with(list(message.options), last)
        form = EvaluationForm(message.options, dataset, before, self.known.listing.named_database)

        def begin(request: EvaluationRequest | None) -> None:
            if request is not None:
                memory["form"] = request.to_memory()
                self._begin(request)

        self.app.push_screen(FormDialog(form), begin)

    def action_resume(self) -> None:
        """Resume the selected run."""
        entry = self.selected
        if entry is not None and entry.number is not None:
            self._resume(entry.number)

    def _resume(self, number: int) -> None:
        summary = next((each for each in self.known.listing.summaries if each.run.id == number), None)
        if summary is not None:
            run = summary.run
            self._begin(EvaluationRequest(run.dataset, run.split, run.settings), summary)

    def _begin(self, request: EvaluationRequest, before: "RunSummary | None" = None) -> None:
        """Begin an evaluation, or resume the run `before`; only one runs at a time."""
        if self.evaluation is not None:
            return
        self.evaluation = EvaluationActivity(self.database, request, self.post_message, before=before)
        self.kdtui.begin(self.evaluation)
        self.show()

    def on_happened(self, message: Happened) -> None:
        """Show the progress of the evaluation."""
        from kdtui.workflows.runs.evaluate import RunBegun
        from models.student_protocol import Noted

        evaluation = self.evaluation
        if evaluation is None or message.activity is not evaluation:
            return
        if isinstance(message.event, str | Noted):
            self.say(message.event if isinstance(message.event, str) else message.event.text, error=False)
        if isinstance(message.event, RunBegun):
            self._load()
        else:
            self.show_soon()

    def on_ended(self, message: Ended) -> None:
        """Report the outcome of the evaluation and load its scores, or note that all numbers are computed."""
        evaluation = self.evaluation
        if message.activity is self._computing:
            self._computing = None
            if message.problem is not None:
                self.post_message(Failed(message.problem, message.details))
        if evaluation is None or message.activity is not evaluation:
            return
        self.evaluation = None
        if self._opened is not None:
            self._opened.end_evaluation()
        if message.problem is not None:
            self.say(message.problem, details=message.details)
        else:
            self.say(evaluation.outcome, error=False)
        self._load()

    def action_cancel(self) -> None:
        """Stop the evaluation."""
        if self.evaluation is not None:
            self.evaluation.cancel()
            self.show()

    # Notes and deletion

    def action_note(self) -> None:
        """Ask for the tags and the note of the selected run."""
        entry = self.selected
        if entry is None or entry.summary is None:
            return
        run = entry.summary.run

        def save(note: RunNote | None) -> None:
            if note is not None:
                self.write(partial(_save_note, run, note))

        self.app.push_screen(FormDialog(NoteForm(run, self.known.listing.named_database)), save)

    def on_runs_changed(self, message: RunsChanged) -> None:
        """Report the change, and load the runs again."""
        self.say(message.sentence, error=False)
        self._load()

    def action_delete(self) -> None:
        """Delete the selected run after confirmation."""
        entry = self.selected
        if entry is None or entry.summary is None:
            return
        number, answered = entry.summary.run.id, entry.summary.answered

        def change(db: "Database") -> RunsChanged:
            from store.runs import delete_run

            delete_run(db, number)
            return RunsChanged(f"run {number} is deleted")

        def delete(is_confirmed: bool | None) -> None:
            if is_confirmed:
                self.write(change)

        self.app.push_screen(
            ConfirmDialog(
                f"Delete run {number}, {entry.name} on {entry.selection.dataset} {entry.selection.split}?",
                f"Its {counted(answered, 'answer')}, and the time spent, are lost.",
                "Delete",
                command_line(("run", "rm"), str(number), database=self.known.listing.named_database),
            ),
            delete,
        )

    # Availability of actions

    def why_not(self, action: str) -> str | None:
        entry = self.selected if self.is_mounted else None
        evaluation = self.evaluation
        match action:
            case "new" if evaluation is not None:
                return f"an evaluation is running; {self.kdtui.key_of('runs.cancel')} stops it"
            case "new" if not self.known.listing.datasets:
                return self.no_dataset
            case "cancel" if evaluation is None:
                return "no evaluation is running"
            case "cancel" if evaluation is not None and evaluation.is_cancelled:
                return "it is being stopped already"
            case "mark" if entry is not None and entry.is_floor:
                return self._why_no_floor()
            case "mark" | "note" | "delete" | "resume" if entry is None or entry.summary is None:
                return "the cursor is not on a run"
            case "resume" if evaluation is not None:
                return f"an evaluation is running; {self.kdtui.key_of('runs.cancel')} stops it"
            case "resume" if entry is not None and entry.summary is not None and entry.summary.is_over:
                return "the run is finished"
            case "delete" if evaluation is not None and entry is not None and entry.number == evaluation.run:
                return f"the run is being evaluated; {self.kdtui.key_of('runs.cancel')} stops it"
            case "compare" if (problem := self._why_incomparable()) is not None:
                return problem
            case "sort" | "reverse" | "plot" | "floors" | "search" if not self.known.listing.summaries:
                return "there are no runs yet"
        return super().why_not(action)

    def _why_incomparable(self) -> str | None:
        """Return why there are no two runs to compare, or None."""
        pair = self.pair if self.is_mounted else None
        if pair is None:
            if self.marks and self.selected is not None and self.selected.is_floor:
                return self._why_no_floor()
            return f"mark two runs first, with {self.kdtui.key_of('runs.mark')}"
        # Already imported, since the runs are listed.
        from kdtui.workflows.runs.runs import why_incomparable

        return why_incomparable(*pair)

    def _why_no_floor(self) -> str:
        """Return why a floor cannot be compared session by session, and where its scores are."""
        key = self.kdtui.key_of("table.select")
        return f"the answers of a floor are not kept for comparison; {key} on a run shows its scores next to the floors"


def _save_note(run: "Run", note: RunNote, db: "Database") -> RunsChanged:
    save_note(db, run, note)
    return RunsChanged(f"tags and note of run {run.id} are saved")
