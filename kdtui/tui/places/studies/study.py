"""A study as a matrix that fills while it runs: a cell opens its run and its training, and two are compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.message import Message
from textual.widgets import Static

from kdtui.text import counted, one_line, short_number
from kdtui.tui.actions import bindings
from kdtui.tui.core.activity import Ended
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.screen import Failed
from kdtui.tui.core.store_version import store_version
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.runs.scoring import FloorsFound, Missing, RunNumbers, RunScored
from kdtui.tui.places.studies.actions import StudyActions, StudyDeleted
from kdtui.tui.places.studies.matrix import METRIC_NAMES, Layout, Scale, cells_of, lay_out
from kdtui.tui.places.studies.rows import state_of
from kdtui.tui.places.studies.study_run import StudyRun
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.matrix import LEVELS, Matrix
from kdtui.tui.widgets.steady import Pane
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from kdtui.bundling.metrics import Scores
    from kdtui.tui.places.runs.run import RunScreen
    from kdtui.workflows.runs.evaluate import ResultRow
    from kdtui.workflows.runs.runs import RunRow
    from kdtui.workflows.runs.scored import Scored
    from kdtui.workflows.studies.grid import Grid
    from kdtui.workflows.studies.overview import StudyRow
    from kdtui.workflows.studies.plan import StudyPlan
    from kdtui.workflows.studies.progress import CellProgress
    from store.runs import Run, RunSummary
    from store.sqlite import Database

_TICK = 1.0
"""Seconds between two looks whether another process has changed the store."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A study as the store has it.

    Attributes:
        layouts: of its questions.
        labels: what its cells are called, by key.
        runs: of its cells that have begun, by number.
    """

    row: "StudyRow"
    plan: "StudyPlan"
    progress: "Mapping[str, CellProgress]"
    layouts: Sequence[Layout]
    labels: Mapping[str, str]
    runs: "Mapping[int, RunSummary]"
    named_database: Path | None


class StudySeen(Message):
    """The study has come from the store."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen


class StudyScreen(StudyActions):
    """A study.

    Args:
        name: of a stored one.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("cell", "study", "screen")
    AUTO_FOCUS = "#matrix"

    def __init__(self, database: Path, name: str) -> None:
        super().__init__(database)
        self._study_name = name
        self._study: Seen | None = None
        self._scores: dict[tuple[int, int, int], RunRow] = {}
        self._floors: dict[Scored, list[ResultRow]] = {}
        self._numbers: RunNumbers | None = None
        self._opened: RunScreen | None = None
        self._question = 0
        self._marks: list[str] = []
        self._store: tuple[object, ...] = ()
        self._changes = 0
        self._metric = next(iter(METRIC_NAMES))

    def compose(self) -> ComposeResult:
        """What the study is, the matrix of a question, and the cell under the cursor."""
        yield TopBar("studies")
        yield Static(Text(one_line(self._study_name, 200)), id="title", markup=False)
        with Container(id="halves"):
            yield Matrix(id="matrix")
            yield Pane(id="about")
        yield Static(id="notice", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Load the study after the first paint, and again when the store has changed."""
        metric = self.remembered("studies").get("metric")
        if metric in METRIC_NAMES:
            self._metric = metric
        self.show_content(self.query_one("#halves"), unless="Planning the study…", focus=self.query_one(Matrix))
        self.call_after_refresh(self.look)
        self.set_interval(_TICK, self._tick)

    def on_unmount(self) -> None:
        """Compute nothing more."""
        if self._numbers is not None:
            self._numbers.cancel()

    def see_other_data(self) -> None:
        """Look again."""
        self.look()

    def action_reload(self) -> None:
        """Look again."""
        self.look()

    def _tick(self) -> None:
        # What is run here tells by itself.
        if self.is_current and self.work is None and store_version(self.database) != self._store:
            self.look()

    # What there is

    def look(self) -> None:
        """Look how far the study is."""
        self._store = store_version(self.database)
        name, begun = self._study_name, frozenset[str]() if self.work is None else self.work.begun

        def question(db: "Database") -> Seen:
            # What opening a run needs: no screen waits for its import.
            import kdtui.tui.places.runs.run  # noqa: F401
            from kdtui.workflows.runs.runs import why_incomparable  # noqa: F401
            from kdtui.workflows.studies.labels import cell_label
            from kdtui.workflows.studies.lock import runner_of
            from kdtui.workflows.studies.overview import open_study, study_row
            from kdtui.workflows.studies.progress import cell_progress
            from kdtui.workflows.studies.steps import EvaluationStep
            from store.runs import list_runs

            stored, plan = open_study(db, name)
            progress = cell_progress(db, plan, begun)
            wanted = {each.run for each in progress.values()}
            labels = {
                cell.key: f"{cell_label(cell.step)} on {cell.step.dataset}"
                for cell in plan.cells
                if isinstance(cell.step, EvaluationStep)
            }
            runs = {summary.run.id: summary for summary in list_runs(db) if summary.run.id in wanted}
            row = study_row(stored, plan, runner_of(db))
            layouts = [lay_out(grid) for grid in plan.grids]
            return Seen(row, plan, progress, layouts, labels, runs, named_database(self.database))

        self.ask(question, StudySeen, group="study")

    def on_study_seen(self, message: StudySeen) -> None:
        """Show it, and have its cells scored."""
        self._study = message.seen
        self._question = min(self._question, len(self._grids) - 1)
        self._marks = [key for key in self._marks if key in message.seen.progress]
        self._show()
        self._compute()

    def on_failed(self, message: Failed) -> None:
        """Say what went wrong, for good where there is nothing else to see."""
        super().on_failed(message)
        if self._study is None:
            notice = one_line(message.sentence)
            self.show_content(self.query_one("#halves"), unless=notice, focus=self.query_one(Matrix))

    def _compute(self) -> None:
        """Have those cells scored that are done, and the floors computed over their sessions."""
        from kdtui.workflows.runs.scored import Scored

        assert self._study is not None
        done = [
            self._study.runs[each.run]
            for each in self._study.progress.values()
            if each.state == "done" and each.run is not None and each.run in self._study.runs
        ]
        unscored = [each for each in dict.fromkeys(done) if each.version not in self._scores]
        floorless = [each for each in dict.fromkeys(Scored.by(run) for run in done) if each not in self._floors]
        missing = Missing(unscored, floorless, [])
        if not unscored and not floorless:
            return
        if self._numbers is not None:
            if self._numbers.missing.includes(missing):
                # It is on its way.
                return
            self._numbers.cancel()
        self._numbers = RunNumbers(self.database, missing, self.post_message)
        self.kdtui.begin(self._numbers)

    def on_run_scored(self, message: RunScored) -> None:
        """Colour the cells of a run."""
        self._scores[message.row.summary.version] = message.row
        self._show()

    def on_floors_found(self, message: FloorsFound) -> None:
        """Show the run that is open beside the floors."""
        from kdtui.workflows.runs.scored import Scored

        self._floors[message.scored] = message.rows
        opened = self._opened
        runs = {} if self._study is None else self._study.runs
        if opened is not None and opened.number in runs and Scored.by(runs[opened.number]) == message.scored:
            opened.show_floors(message.rows)

    def on_ended(self, message: Ended) -> None:
        """All is computed."""
        if message.activity is self._numbers:
            self._numbers = None
            if message.problem is not None:
                self.post_message(Failed(message.problem, message.details))

    # How it is shown

    def show_work(self, work: StudyRun) -> None:
        """Show how far the study is that is run here; it may have cells in common with this one."""
        if work.is_over or work.changes != self._changes:
            self._changes = work.changes
            self.look()
        elif self._study is not None:
            self._show()

    @property
    def study(self) -> "StudyRow | None":
        """The study."""
        return None if self._study is None else self._study.row

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The datasets of the study."""
        return () if self.study is None else self.study.datasets

    @property
    def _grids(self) -> "list[Grid]":
        return [] if self._study is None else self._study.plan.grids

    @property
    def _is_running(self) -> bool:
        """Whether somebody is at work on it, here or elsewhere, and not paused."""
        if self.work is not None and self.is_run_here:
            return not self.work.is_paused
        return self.study is not None and self.study.is_running

    @property
    def _progress(self) -> "dict[str, CellProgress]":
        """How far the cells are, with what the work here has told since the store was looked at."""
        if self._study is None:
            return {}
        amounts = {} if self.work is None else self.work.amounts
        return {
            key: replace(each, amount=amounts[each.at.key]) if each.at is not None and each.at.key in amounts else each
            for key, each in self._study.progress.items()
        }

    def _scores_of(self, key: str) -> "RunRow | None":
        """The scores of a cell; None where it has none, or they are not computed yet."""
        if self._study is None:
            return None
        summary = self._study.runs.get(self._study.progress[key].run or 0)
        return None if summary is None else self._scores.get(summary.version)

    def _values(self, keys: Sequence[str]) -> dict[str, float | None]:
        """The metric that is looked at, of the cells that are scored."""
        rows = {key: row for key in keys if (row := self._scores_of(key)) is not None}
        return {key: _metric(row.scores, self._metric) for key, row in rows.items()}

    def _show(self) -> None:
        """Show the matrix of the question that is looked at."""
        if self._study is None:
            return
        matrix = self.query_one(Matrix)
        grid = self._grids[self._question]
        layout = self._study.layouts[self._question]
        matrix.show_blocks(layout.corner, layout.blocks)
        keys = {key for block in layout.blocks for row in block.keys for key in row if key is not None}
        progress = {key: each for key, each in self._progress.items() if key in keys}
        values = self._values(list(progress))
        matrix.show_cells(cells_of(progress, values, is_running=self._is_running))
        matrix.show_marks(self._marks)
        unless = "" if layout.blocks else "\n".join(map(one_line, grid.left_out))
        self.show_content(self.query_one("#halves"), unless=unless, focus=matrix)
        self._show_title(progress, Scale.over([value for value in values.values() if value is not None]))
        self.show_cell()

    def _show_title(self, progress: "Mapping[str, CellProgress]", scale: Scale | None) -> None:
        assert self._study is not None
        row, question = self._study.row, self._grids[self._question].question
        title = Text(f"{one_line(row.name, 60)} ", style="bold", no_wrap=True, overflow="ellipsis")
        facts = [
            f"{state_of(row, self.work)}, {row.done} of {counted(row.cells, 'cell')}",
            *([f"{row.failed} failed"] if row.failed else []),
            f"{', '.join(row.datasets)} {row.split}",
        ]
        title.append(one_line(" · ".join(facts), 300), style="not bold")
        number = f"{self._question + 1}/{len(self._grids)} " if len(self._grids) > 1 else ""
        title.append(f"\n{number}{one_line(question.title, 200)}", style="not bold italic")
        done = sum(each.state == "done" for each in progress.values())
        title.append(f"\n{METRIC_NAMES[self._metric]}", style="not bold")
        if scale is not None:
            title.append(
                f" {LEVELS[0]} {short_number(scale.low)} to {short_number(scale.high)} {LEVELS[-1]}", style="not bold"
            )
        title.append(f" · {done} of {counted(len(progress), 'cell')} of this question", style="not bold dim")
        if self.is_run_here and self.work is not None and self.work.under_way:
            title.append(f"\n▶ {one_line('; '.join(self.work.under_way), 300)}", style="not bold")
        self.query_one("#title", Static).update(title)

    @on(Matrix.CellHighlighted)
    def show_cell(self) -> None:
        """Show all of the cell under the cursor, and its command."""
        key = self.query_one(Matrix).cursor_key
        progress = self._progress
        text = Text()
        if self._study is not None and key is None:
            text.append("There is no cell here.\n", style="dim")
            for reason in self._grids[self._question].left_out:
                text.append(f"{one_line(reason, 300)}\n")
        elif key is not None and key in progress:
            for part in self._about(key, progress[key]):
                text.append_text(part)
        for note in self._study.plan.notes if self._study is not None else ():
            text.append(f"\n{one_line(note, 300)}", style="dim")
        self.query_one("#about", Pane).show(text)
        self.show_command(self._command(None if key is None else progress.get(key)))
        self.show_availability()

    def _about(self, key: str, progress: "CellProgress") -> Iterator[Text]:
        assert self._study is not None
        yield Text(f"{one_line(self._study.labels[key], 200)}\n", style="bold")
        yield Text(f"{one_line(progress.in_words(is_running=self._is_running), 2000)}\n")
        if (row := self._scores_of(key)) is not None:
            if row.scores is None:
                yield Text(f"no scores: {one_line(row.problem or '', 300)}\n")
            else:
                values = (
                    f"{name} {short_number(getattr(row.scores, metric))}" for metric, name in METRIC_NAMES.items()
                )
                yield Text(f"{' · '.join(values)}\n")
            if (seconds := row.summary.seconds_per_session) is not None:
                yield Text(f"{seconds:.2f} s a session, {counted(row.summary.answered, 'session')}\n")
        if progress.run is not None:
            opens = self.kdtui.key_of("matrix.select")
            yield Text(f"run {progress.run} ({opens} opens it)\n")
        if progress.training is not None:
            opens = self.kdtui.key_of("cell.training")
            yield Text(f"training {one_line(progress.training, 100)} ({opens} opens it, with its log)\n")
        summary = None if progress.run is None else self._study.runs.get(progress.run)
        if summary is not None and (failed := summary.failed):
            again = self._study.plan.steps[key].unanswered
            told = f"; {self.kdtui.key_of('cell.only')} tries {again:,} of them again" if again else ""
            yield Text(f"no answer to {counted(failed, 'session')}{told}\n")
        if progress.state in ("failed", "blocked"):
            alone, every = self.kdtui.key_of("cell.only"), self.kdtui.key_of("study.retry")
            yield Text(f"{alone} tries it again, and {every} all that has failed\n")

    def _command(self, progress: "CellProgress | None") -> str:
        """What does the same in a shell."""
        assert self._study is not None or progress is None
        named = None if self._study is None else self._study.named_database
        if (pair := self._marked_pair) is not None and len(self._marks) == 2:
            return command_line(("run", "compare"), [str(run.id) for run in pair], database=named)
        if progress is not None and progress.run is not None:
            return command_line(("run", "show"), str(progress.run), database=named)
        if progress is not None and progress.state == "blocked" and progress.training is not None:
            return command_line(("sft", "logs"), progress.training, database=named)
        return command_line(("study", "show"), self._study_name, database=named)

    # Questions and metrics

    def action_next_question(self) -> None:
        """Show the next question; behind the last comes the first."""
        self._go_to_question(1)

    def action_previous_question(self) -> None:
        """Show the previous question."""
        self._go_to_question(-1)

    def _go_to_question(self, way: int) -> None:
        self._question = (self._question + way) % len(self._grids)
        self._show()

    def action_metric(self) -> None:
        """Show and colour the cells by the next metric."""
        metrics = list(METRIC_NAMES)
        self._metric = metrics[(metrics.index(self._metric) + 1) % len(metrics)]
        self.remembered("studies")["metric"] = self._metric
        self._show()

    # A cell, and two

    @property
    def _cell(self) -> "CellProgress | None":
        """How far the cell under the cursor is."""
        key = self.query_one(Matrix).cursor_key
        return None if self._study is None or key is None else self._study.progress.get(key)

    @property
    def _unanswered(self) -> int:
        """How many sessions of the cell under the cursor failed and may be answered by another try."""
        key = self.query_one(Matrix).cursor_key
        return 0 if self._study is None or key is None else self._study.plan.steps[key].unanswered

    @on(Matrix.CellSelected)
    def open_run(self) -> None:
        """Open the run of the cell."""
        cell, study = self._cell, self._study
        if cell is None or study is None:
            return
        if cell.run is None:
            self.say(f"there is no run of this cell yet: {cell.in_words(is_running=self._is_running)}", error=False)
            return
        from kdtui.tui.places.runs.run import RunScreen
        from kdtui.workflows.runs.scored import Scored

        summary = study.runs[cell.run]
        opened = RunScreen(self.database, summary, self._floors.get(Scored.by(summary)), None, place="studies")

        def then(go_on: bool | None) -> None:
            self._opened = None
            if go_on:
                # The study resumes its runs in groups of sessions.
                self._run_on()

        self._opened = opened
        self.app.push_screen(opened, then)

    def _run_on(self) -> None:
        why = self.why_not("run")
        if why is None:
            self.action_run()
        else:
            self.say(why, error=False)

    def action_training(self) -> None:
        """Open the training of the cell in the place Jobs."""
        if (cell := self._cell) is not None and cell.training is not None:
            self.kdtui.show_in_place("jobs", cell.training)

    def action_only(self) -> None:
        """Do what the cell has left to do, and try again what has failed of it."""
        if (key := self.query_one(Matrix).cursor_key) is not None:
            self.do_only(key)

    def action_mark(self) -> None:
        """Mark the cell, or take the mark away; a third one takes the place of the first."""
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
    def _marked_pair(self) -> "tuple[Run, Run] | None":
        """The runs of the marked cells, or of the marked one and the one under the cursor."""
        study = self._study
        key = self.query_one(Matrix).cursor_key
        keys = [*self._marks, *([key] if key is not None and len(self._marks) == 1 else [])]
        if study is None or len(keys) != 2:
            return None
        runs = [study.runs.get(study.progress[each].run or 0) for each in keys]
        first, second = runs
        if first is None or second is None or first.run.id == second.run.id:
            return None
        return first.run, second.run

    def action_compare(self) -> None:
        """Compare the runs of two cells."""
        if (pair := self._marked_pair) is not None:
            from kdtui.tui.places.runs.compared import ComparedRunsScreen

            self.app.push_screen(ComparedRunsScreen(self.database, *pair, place="studies"))

    def action_back(self) -> None:
        """Go back to the studies."""
        self.dismiss(None)

    def on_study_deleted(self, message: StudyDeleted) -> None:
        """Say so, and go back."""
        self.say(f"study {message.name} is deleted", error=False)
        self.dismiss(None)

    # What can be done

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        if action in ("metric", "mark", "compare", "training", "next_question", "previous_question"):
            return self._why_no_cell(action) if self.is_mounted and self._study is not None else "it is being planned"
        if action == "only" and self.is_mounted and self._study is not None:
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
                return "the cell has no run yet, to be compared"
            case "training" if cell is not None and cell.training is None:
                return "the cell has no training, or none yet"
            case "compare":
                return self._why_not_compared()
        return None

    def _why_not_compared(self) -> str | None:
        pair = self._marked_pair
        if pair is None:
            return f"mark two cells first that have a run each, with {self.kdtui.key_of('cell.mark')}"
        # By now, the study has been looked at by it.
        from kdtui.workflows.runs.runs import why_incomparable

        return why_incomparable(*pair)


def _metric(scores: "Scores | None", metric: str) -> float | None:
    value = None if scores is None else float(getattr(scores, metric))
    return value if value is not None and isfinite(value) else None
