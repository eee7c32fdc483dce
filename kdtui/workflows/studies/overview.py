"""An overview of studies: their progress, and their cells."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.workflows.studies.lock import Runner, runner_of
from kdtui.workflows.studies.plan import StudyPlan, make_plan, seconds_per_session
from kdtui.workflows.studies.progress import cell_progress
from kdtui.workflows.studies.spec_files import parsed_spec
from kdtui.workflows.studies.steps import EvaluationStep, prerequisites, step_key
from models.errors import ModelError
from store.errors import StoreError
from store.sqlite import Database
from store.studies import StoredStudy, get_study, list_studies


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study and its progress.

    Attributes:
        problem: why it cannot be planned any more, such as a deleted dataset.
        is_running: whether a process runs it at the moment.
        process: the id of that process.
        can_run: whether a step is left that needs no failed step.
        unanswered: failed sessions of finished cells that another try may answer.
    """

    name: str
    source: str
    created_at: str
    datasets: tuple[str, ...] = ()
    split: str = ""
    cells: int = 0
    done: int = 0
    failed: int = 0
    problem: str | None = None
    is_running: bool = False
    process: int | None = None
    can_run: bool = False
    unanswered: int = 0

    @property
    def state(self) -> str:
        """Whether it is complete, running or unfinished; or why it cannot be planned any more."""
        if self.problem is not None:
            return self.problem
        if self.is_running:
            return "running" if self.process is None else f"running (process {self.process})"
        return self.extent

    @property
    def extent(self) -> str:
        """Whether it is complete, regardless of whether it runs."""
        if self.done < self.cells:
            return "unfinished"
        return f"complete except {counted(self.unanswered, 'session')}" if self.unanswered else "complete"

    def to_json(self) -> dict[str, Any]:
        """Return a flat object."""
        return {**asdict(self), "state": self.state}


def study_rows(db: Database) -> list[StudyRow]:
    """Return all studies, the oldest first."""
    runner = runner_of(db)
    return [_row(db, study, runner) for study in list_studies(db)]


def _row(db: Database, study: StoredStudy, runner: Runner | None) -> StudyRow:
    try:
        plan = make_plan(db, parsed_spec(study.spec, f"study {study.name}"))
    except (KdtuiError, ModelError, StoreError) as problem:
        return StudyRow(study.name, study.source, study.created_at, problem=str(problem))
    return study_row(study, plan, runner)


def study_row(study: StoredStudy, plan: StudyPlan, runner: Runner | None) -> StudyRow:
    """Describe a study that can be planned.

    Args:
        runner: the process that runs a study on the store.
    """
    is_running = runner is not None and runner.study == study.name
    return StudyRow(
        study.name,
        study.source,
        study.created_at,
        plan.spec.datasets(),
        plan.spec.split,
        len(plan.cells),
        sum(cell.status == "done" for cell in plan.cells),
        plan.failed,
        is_running=is_running,
        process=runner.process if runner is not None and is_running else None,
        can_run=_can_run(plan),
        unanswered=plan.unanswered,
    )


def _can_run(plan: StudyPlan) -> bool:
    """Return whether a step is left that needs no failed step."""
    lost: set[str] = set()
    for step in plan.steps.values():
        if step.status == "failed" or any(step_key(need) in lost for need in prerequisites(step.step)):
            lost.add(step.key)
        elif step.status == "to do":
            return True
    return False


def open_study(db: Database, name: str) -> tuple[StoredStudy, StudyPlan]:
    """Return a study and its plan.

    Raises:
        NotFound: there is no study of that name, or its datasets are gone.
        KdtuiError: it cannot be planned any more.
    """
    study = get_study(db, name)
    return study, make_plan(db, parsed_spec(study.spec, f"study {name}"))


@dataclass(frozen=True, slots=True)
class CellRow:
    """A cell: its progress, and its scores if it is done."""

    label: str
    dataset: str
    state: str
    run: str | None
    strict_precision: float | None = None
    strict_recall: float | None = None
    pair_f1: float | None = None
    exact: float | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a flat object."""
        return asdict(self)


def cell_rows(db: Database, plan: StudyPlan) -> list[CellRow]:
    """Return the cells of a study, each with its scores if it is done."""
    return list(_cell_rows(db, plan))


def _cell_rows(db: Database, plan: StudyPlan) -> Iterator[CellRow]:
    from kdtui.workflows.runs.runs import score_runs
    from store.runs import summary_of

    runner = runner_of(db)
    is_running = runner is not None and runner.study == plan.spec.name
    progress = cell_progress(db, plan)
    names = plan.cell_names
    for cell in plan.cells:
        step = cell.step
        assert isinstance(step, EvaluationStep)
        label = names[cell.key]
        state = progress[cell.key].in_words(is_running=is_running)
        if cell.status != "done" or cell.stored is None:
            yield CellRow(label, step.dataset, state, None)
            continue
        summary = summary_of(db, int(cell.stored.made))
        if summary.failed:
            state += f", without an answer to {summary.failed:,} of {counted(summary.answered, 'session')}"
        [row] = score_runs(db, [summary])
        scores = row.scores
        yield CellRow(
            label,
            step.dataset,
            state,
            cell.stored.made,
            None if scores is None else scores.strict_precision,
            None if scores is None else scores.strict_recall,
            None if scores is None else scores.pair_f1,
            None if scores is None else scores.exact,
            seconds_per_session(cell, summary.answered),
        )
