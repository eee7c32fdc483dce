"""The progress of the cells of a study: done, answering, waiting for a step, or blocked."""

from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from kdtui.workflows.studies.labels import label
from kdtui.workflows.studies.plan import PlannedStep, StudyPlan
from kdtui.workflows.studies.steps import EvaluationStep, Step, TrainingStep, prerequisites, step_key
from store.jobs import StoredJob, list_jobs
from store.runs import list_runs
from store.sqlite import Database

CellState: TypeAlias = Literal["done", "answering", "waiting", "to do", "failed", "blocked"]
""""waiting": a step that the cell needs has begun. "blocked": such a step has failed."""

Amount: TypeAlias = tuple[int, int]
"""How much of a step is done, and its size: sessions, or steps of a training."""


@dataclass(frozen=True, slots=True)
class CellProgress:
    """The progress of a cell.

    Attributes:
        run: the number of its run; None if it has not begun.
        training: the name of the training of its adapter; None if there is none yet.
        at: the step that is running or has failed: the cell itself, or one that it needs.
        amount: of that step; None if unknown.
        why: why a step has failed, or why the cell has to be done again.
    """

    state: CellState
    run: int | None = None
    training: str | None = None
    at: PlannedStep | None = None
    amount: Amount | None = None
    why: str | None = None

    def in_words(self, *, is_running: bool) -> str:
        """Describe the progress in a line.

        Args:
            is_running: whether a process runs the study; otherwise, begun steps are paused.
        """
        amount = "" if self.amount is None else f", {self.amount[0]:,} of {self.amount[1]:,}"
        match self.state:
            case "answering":
                return f"{'answering' if is_running else 'begun'}{amount}"
            case "waiting" if self.at is not None:
                return f"waiting: {label(self.at.step)}{amount}"
            case "failed":
                return f"failed: {self.why}"
            case "blocked" if self.at is not None:
                return f"blocked: {label(self.at.step)} failed: {self.why}"
            case "to do" if self.why:
                return f"to do again: {self.why}"
        return self.state


def cell_progress(db: Database, plan: StudyPlan, begun: Container[str] = frozenset()) -> dict[str, CellProgress]:
    """Return the progress of each cell of a plan, by its key.

    Args:
        begun: keys of steps that have begun, even if the store does not say so yet.
    """
    reader = _ProgressReader(db, plan, begun)
    return {cell.key: reader.at_cell(cell) for cell in plan.cells}


class _ProgressReader:
    """Looked-up data that several cells share."""

    def __init__(self, db: Database, plan: StudyPlan, begun: Container[str]) -> None:
        self._db, self._plan, self._begun = db, plan, begun
        self._amounts: dict[str, Amount | None] = {}

    def at_cell(self, cell: PlannedStep) -> CellProgress:
        run, training = self._run_of(cell), self._training_of(cell)
        if cell.status == "done":
            return CellProgress("done", run, training)
        if cell.status == "failed":
            return CellProgress("failed", run, training, cell, None, cell.why)
        under_way: PlannedStep | None = None
        for step in self._all_needs(cell.step):
            planned = self._plan.steps[step_key(step)]
            if planned.status == "failed":
                return CellProgress("blocked", run, training, planned, None, planned.why)
            if planned.status == "to do" and self._is_begun(planned):
                under_way = planned
        if under_way is not None:
            return CellProgress("waiting", run, training, under_way, self._amount(under_way))
        if self._is_begun(cell):
            return CellProgress("answering", run, training, cell, self._amount(cell))
        return CellProgress("to do", None, training, None, None, cell.why)

    def _all_needs(self, step: Step) -> list[Step]:
        result: dict[Step, None] = {}
        stack = list(prerequisites(step))
        while stack:
            need = stack.pop()
            if need not in result:
                result[need] = None
                stack.extend(prerequisites(need))
        return list(result)

    def _run_of(self, cell: PlannedStep) -> int | None:
        if cell.stored is None or not cell.stored.made.isdecimal():
            return None
        number = int(cell.stored.made)
        return number if number in self._runs else None

    @cached_property
    def _runs(self) -> dict[int, Amount]:
        """Answered sessions and all sessions of runs, by number."""
        return {row.run.id: (row.answered, row.sessions) for row in list_runs(self._db)}

    def _training_of(self, cell: PlannedStep) -> str | None:
        assert isinstance(cell.step, EvaluationStep)
        if cell.step.training is None:
            return None
        stored = self._plan.steps[step_key(cell.step.training)].stored
        return stored.made if stored is not None and stored.made in self._jobs else None

    @cached_property
    def _jobs(self) -> dict[str, StoredJob]:
        return {job.name: job for job in list_jobs(self._db)}

    def _amount(self, step: PlannedStep) -> Amount | None:
        if step.key not in self._amounts:
            self._amounts[step.key] = self._look_up(step)
        return self._amounts[step.key]

    def _look_up(self, step: PlannedStep) -> Amount | None:
        if isinstance(step.step, EvaluationStep):
            run = self._run_of(step)
            return None if run is None else self._runs[run]
        if isinstance(step.step, TrainingStep) and step.stored is not None and step.stored.made in self._jobs:
            from kdtui.workflows.job_state import known_status

            status = known_status(self._jobs[step.stored.made])
            if status.step is not None and status.steps is not None:
                return status.step, status.steps
        return None

    def _is_begun(self, step: PlannedStep) -> bool:
        is_stored = step.stored is not None and step.stored.state == "begun"
        return step.status == "to do" and (is_stored or step.key in self._begun)
