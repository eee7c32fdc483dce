"""The screen of one study: a matrix that fills while the study runs, and details of a cell."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.message import Message
from textual.widgets import Static

from kdtui.text import one_line
from kdtui.tui.actions import bindings
from kdtui.tui.core.activity import Ended
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.screen import Failed
from kdtui.tui.places.runs.scoring import FloorsFound, NumbersActivity, RunScored
from kdtui.tui.places.studies.actions import StudyActions, StudyDeleted
from kdtui.tui.places.studies.cell_text import cell_details, study_title
from kdtui.tui.places.studies.matrix import METRIC_NAMES, Scale, matrix_cells
from kdtui.tui.places.studies.snapshot import CellScores, StudySnapshot, read_snapshot
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.matrix import Matrix
from kdtui.tui.widgets.steady import Pane
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from kdtui.tui.places.runs.run_screen import RunScreen
    from kdtui.workflows.studies.grid import Grid
    from kdtui.workflows.studies.overview import StudyRow
    from kdtui.workflows.studies.progress import CellProgress
    from store.runs import Run
    from store.sqlite import Database


class StudyRead(Message):
    """The study was read from the store."""

    def __init__(self, snapshot: StudySnapshot) -> None:
        super().__init__()
        self.snapshot = snapshot


class StudyScreen(StudyActions):
    """A study.

    Args:
        name: the name of a stored study.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("cell", "study", "screen")
    AUTO_FOCUS = "#matrix"

    def __init__(self, database: Path, name: str) -> None:
        super().__init__(database)
        self.study_name = name
        self.snapshot: StudySnapshot | None = None
        self.scores = CellScores()
        self._computing: NumbersActivity | None = None
        self._opened: RunScreen | None = None
        self._question = 0
        self._marks: list[str] = []
        self._metric = next(iter(METRIC_NAMES))

    def compose(self) -> ComposeResult:
        yield TopBar("studies")
        yield Static(Text(one_line(self.study_name, 200)), id="title", markup=False)
        with Container(id="halves"):
            yield Matrix(id="matrix")
            yield Pane(id="about")
        yield Static(id="notice", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Say that the study is being planned."""
        metric = self.remembered("studies").get("metric")
        if metric in METRIC_NAMES:
            self._metric = metric
        self.show_content(self.query_one("#halves"), unless="Planning the study…", focus=self.query_one(Matrix))

    def on_unmount(self) -> None:
        """Stop computing scores."""
        if self._computing is not None:
            self._computing.cancel()

    # The study and its scores

    def read(self) -> None:
        name, begun = self.study_name, frozenset[str]() if self.study_run is None else self.study_run.begun

        def look_up(db: "Database") -> StudySnapshot:
            # Opening a run needs these modules; importing them in this thread keeps the screen responsive.
            import kdtui.tui.places.runs.run_screen  # noqa: F401
            from kdtui.workflows.runs.runs import why_incomparable  # noqa: F401

            return read_snapshot(db, self.database, name, begun)

        self.ask(look_up, StudyRead, group="study")

    def on_study_read(self, message: StudyRead) -> None:
        """Show the study, and score its cells."""
        self.snapshot = message.snapshot
        self._question = min(self._question, len(self._grids) - 1)
        self._marks = [key for key in self._marks if key in message.snapshot.progress]
        self._show()
        self._compute(message.snapshot)

    def on_failed(self, message: Failed) -> None:
        """Keep the failure on the screen if nothing else is shown."""
        if self.snapshot is None:
            notice = one_line(message.sentence)
            self.show_content(self.query_one("#halves"), unless=notice, focus=self.query_one(Matrix))

    @property
    def is_computing(self) -> bool:
        """Whether scores are being computed."""
        return self._computing is not None

    def _compute(self, snapshot: StudySnapshot) -> None:
        """Compute the missing scores of finished cells, and the floors over their sessions."""
        missing = self.scores.missing(snapshot)
        activity = NumbersActivity.replacing(self._computing, self.database, missing, self.post_message)
        if activity is not None:
            self._computing = activity
            self.kdtui.begin(activity)

    def on_run_scored(self, message: RunScored) -> None:
        """Colour the cells of a run."""
        self.scores.add_scores(message.row)
        self._show()

    def on_floors_found(self, message: FloorsFound) -> None:
        """Show the floors in the open run."""
        from kdtui.workflows.runs.session_selection import SessionSelection

        self.scores.add_floors(message.selection, message.rows)
        opened = self._opened
        runs = {} if self.snapshot is None else self.snapshot.runs
        if (
            opened is not None
            and opened.number in runs
            and SessionSelection.by(runs[opened.number]) == message.selection
        ):
            opened.show_floors(message.rows)

    def on_ended(self, message: Ended) -> None:
        """Note that all scores are computed."""
        if message.activity is self._computing:
            self._computing = None
            if message.problem is not None:
                self.post_message(Failed(message.problem, message.details))

    # The matrix

    def show_loaded(self) -> None:
        if self.snapshot is not None:
            self._show()

    @property
    def study(self) -> "StudyRow | None":
        """The study, once it is loaded."""
        return None if self.snapshot is None else self.snapshot.row

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        return () if self.study is None else self.study.datasets

    @property
    def _grids(self) -> "list[Grid]":
        return [] if self.snapshot is None else self.snapshot.plan.grids

    @property
    def _is_running(self) -> bool:
        """Whether this app or another process runs the study, and it is not paused."""
        if self.study_run is not None and self.is_run_here:
            return not self.study_run.is_paused
        return self.study is not None and self.study.is_running

    @property
    def _progress(self) -> "dict[str, CellProgress]":
        """The progress of the cells in the store, updated by the study that this app runs."""
        if self.snapshot is None:
            return {}
        amounts = {} if self.study_run is None else self.study_run.amounts
        return {
            key: replace(each, amount=amounts[each.at.key]) if each.at is not None and each.at.key in amounts else each
            for key, each in self.snapshot.progress.items()
        }

    def _show(self) -> None:
        """Show the matrix of the current question."""
        snapshot = self.snapshot
        if snapshot is None:
            return
        matrix = self.query_one(Matrix)
        layout = snapshot.layouts[self._question]
        matrix.show_blocks(layout.corner, layout.blocks)
        keys = {key for block in layout.blocks for row in block.keys for key in row if key is not None}
        progress = {key: each for key, each in self._progress.items() if key in keys}
        values = self.scores.values(snapshot, list(progress), self._metric)
        matrix.show_cells(matrix_cells(progress, values, is_running=self._is_running))
        matrix.show_marks(self._marks)
        notice = "" if layout.blocks else "\n".join(map(one_line, self._grids[self._question].left_out))
        self.show_content(self.query_one("#halves"), unless=notice, focus=matrix)
        scale = Scale.over([value for value in values.values() if value is not None])
        title = study_title(snapshot, self._question, progress, self._metric, scale, self.study_run)
        self.query_one("#title", Static).update(title)
        self.show_cell()

    @on(Matrix.CellHighlighted)
    def show_cell(self) -> None:
        """Show the details of the selected cell, and its command."""
        key = self.query_one(Matrix).cursor_key
        progress, snapshot = self._progress, self.snapshot
        text = Text()
        if snapshot is not None and key is None:
            text.append("There is no cell here.\n", style="dim")
            for reason in self._grids[self._question].left_out:
                text.append(f"{one_line(reason, 300)}\n")
        elif snapshot is not None and key is not None and key in progress:
            scores, key_of = self.scores.of(snapshot, key), self.kdtui.key_of
            for part in cell_details(snapshot, key, progress[key], scores, key_of, is_running=self._is_running):
                text.append_text(part)
        for note in snapshot.plan.notes if snapshot is not None else ():
            text.append(f"\n{one_line(note, 300)}", style="dim")
        self.query_one("#about", Pane).show(text)
        self.show_command(self._command(None if key is None else progress.get(key)))
        self.show_availability()

    def _command(self, progress: "CellProgress | None") -> str:
        """Return the shell command that does the same as the marks or the selected cell."""
        named = None if self.snapshot is None else self.snapshot.named_database
        if (pair := self._pair) is not None and len(self._marks) == 2:
            return command_line(("run", "compare"), [str(run.id) for run in pair], database=named)
        if progress is not None and progress.run is not None:
            return command_line(("run", "show"), str(progress.run), database=named)
        if progress is not None and progress.state == "blocked" and progress.training is not None:
            return command_line(("sft", "logs"), progress.training, database=named)
        return command_line(("study", "show"), self.study_name, database=named)

    # Questions and metrics

    def action_next_question(self) -> None:
        """Show the next question, or the first after the last."""
        self._change_question(1)

    def action_previous_question(self) -> None:
        """Show the previous question, or the last before the first."""
        self._change_question(-1)

    def _change_question(self, by: int) -> None:
        self._question = (self._question + by) % len(self._grids)
        self._show()

    def action_metric(self) -> None:
        """Colour the cells by the next metric."""
        metrics = list(METRIC_NAMES)
        self._metric = metrics[(metrics.index(self._metric) + 1) % len(metrics)]
        self.remembered("studies")["metric"] = self._metric
        self._show()

    # A cell, and two

    @property
    def _cell(self) -> "CellProgress | None":
        """The progress of the selected cell."""
        key = self.query_one(Matrix).cursor_key
        return None if self.snapshot is None or key is None else self.snapshot.progress.get(key)

    @property
    def _unanswered(self) -> int:
        """Number of failed sessions of the selected cell that a retry can answer."""
        key = self.query_one(Matrix).cursor_key
        return 0 if self.snapshot is None or key is None else self.snapshot.plan.steps[key].unanswered

    @on(Matrix.CellSelected)
    def open_run(self) -> None:
        """Open the run of the cell."""
        cell, snapshot = self._cell, self.snapshot
        if cell is None or snapshot is None:
            return
        if cell.run is None:
            self.say(f"there is no run of this cell yet: {cell.in_words(is_running=self._is_running)}", error=False)
            return
        from kdtui.tui.places.runs.run_screen import RunScreen
        from kdtui.workflows.runs.session_selection import SessionSelection

        summary = snapshot.runs[cell.run]
        floors = self.scores.floors_over(SessionSelection.by(summary))
        opened = RunScreen(self.database, summary, floors, None, place="studies")

        def close(resume: bool | None) -> None:
            self._opened = None
            if resume:
                # The study resumes its runs in groups of sessions.
                self._resume_study()

        self._opened = opened
        self.app.push_screen(opened, close)

    def _resume_study(self) -> None:
        reason = self.why_not("run")
        if reason is None:
            self.action_run()
        else:
            self.say(reason, error=False)

    def action_training(self) -> None:
        """Open the training of the cell in the place Jobs."""
        if (cell := self._cell) is not None and cell.training is not None:
            self.kdtui.show_in_place("jobs", cell.training)

    def action_only(self) -> None:
        """Run only the selected cell, and retry its failures."""
        if (key := self.query_one(Matrix).cursor_key) is not None:
            self.run_only(key)

    def action_mark(self) -> None:
        """Mark or unmark the selected cell; a third mark replaces the first."""
        matrix = self.query_one(Matrix)
        if (key := matrix.cursor_key) is None:
            return
        if key in self._marks:
            self._marks.remove(key)
        else:
            self._marks = [*self._marks[-1:], key]
        matrix.show_marks(self._marks)
        self.show_cell()

    @property
    def _pair(self) -> "tuple[Run, Run] | None":
        """The runs of the two marked cells, or of the marked cell and the selected one."""
        snapshot = self.snapshot
        key = self.query_one(Matrix).cursor_key
        keys = [*self._marks, *([key] if key is not None and len(self._marks) == 1 else [])]
        if snapshot is None or len(keys) != 2:
            return None
        first, second = (snapshot.run_of(each) for each in keys)
        if first is None or second is None or first.run.id == second.run.id:
            return None
        return first.run, second.run

    def action_compare(self) -> None:
        """Compare the runs of two cells."""
        if (pair := self._pair) is not None:
            from kdtui.tui.places.runs.compared_screen import ComparedRunsScreen

            self.app.push_screen(ComparedRunsScreen(self.database, *pair, place="studies"))

    def action_back(self) -> None:
        self.dismiss(None)

    def on_study_deleted(self, message: StudyDeleted) -> None:
        """Report the deletion, and close the screen."""
        self.say(message.sentence, error=False)
        self.dismiss(None)

    # Availability of actions

    def why_not(self, action: str) -> str | None:
        is_loaded = self.is_mounted and self.snapshot is not None
        if action in ("metric", "mark", "compare", "training", "next_question", "previous_question"):
            return self._why_no_cell(action) if is_loaded else "it is being planned"
        if action == "only" and is_loaded:
            return self._why_no_cell(action) or super().why_not(action)
        return super().why_not(action)

    def _why_no_cell(self, action: str) -> str | None:
        cell = self._cell
        match action:
            case "next_question" | "previous_question" if len(self._grids) < 2:
                return "the study asks one question"
            case "mark" | "training" | "only" if cell is None:
                return "there is no cell here"
            case "only" if cell is not None and cell.state == "done" and not self._unanswered:
                return "the cell is done"
            case "mark" if cell is not None and cell.run is None:
                return "the cell has no run to compare yet"
            case "training" if cell is not None and cell.training is None:
                return "the cell has no training, or none yet"
            case "compare":
                return self._why_incomparable()
        return None

    def _why_incomparable(self) -> str | None:
        pair = self._pair
        if pair is None:
            return f"mark two cells first that have a run each, with {self.kdtui.key_of('cell.mark')}"
        # Already imported, since the study is loaded.
        from kdtui.workflows.runs.runs import why_incomparable

        return why_incomparable(*pair)
