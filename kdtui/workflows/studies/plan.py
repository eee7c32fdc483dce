"""The plan of a study: its cells, the steps that they need, and which steps are done."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal, TypeAlias

from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.workflows.model_names import is_endpoint
from kdtui.workflows.studies.grid import LEAST_TO_CALIBRATE, Grid, grids
from kdtui.workflows.studies.labels import cell_names, label
from kdtui.workflows.studies.spec import NOTHING, Spec
from kdtui.workflows.studies.steps import (
    EvaluationStep,
    Kind,
    Step,
    prerequisites,
    step_key,
    step_kind,
)
from kdtui.workflows.studies.store_contents import StoreContents
from models.errors import PromptTooLong
from store.hosts import get_host
from store.predictions import count_failures
from store.sessions import count_sessions_with_pairs, split_size
from store.similar import suggestion
from store.sqlite import Database
from store.studies import (
    StoredStep,
    steps_of,
)

LOCAL = "local"
"""The name of this machine among the hosts of a study."""

_MOST_NAMED = 12
"""Cells that a message names at most."""

Status: TypeAlias = Literal["done", "to do", "failed", "not needed"]
"""The status of a step. "not needed": nothing that still has to be done needs it."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step of a study.

    Attributes:
        stored: its stored record; None if it has never begun.
        why: why it failed, or why it has to be done again.
        unanswered: failed sessions of a finished cell that another try may answer.
    """

    step: Step
    key: str
    status: Status
    stored: StoredStep | None
    why: str | None = None
    unanswered: int = 0

    @property
    def kind(self) -> Kind:
        return step_kind(self.step)


def seconds_per_session(cell: PlannedStep, answered: int) -> float | None:
    """Return the wall-clock seconds of a cell per session; None if unknown. Several sessions are answered at a time."""
    return None if cell.stored is None or cell.stored.seconds is None else cell.stored.seconds / max(1, answered)


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """A study and its progress.

    Attributes:
        steps: by key, each after the steps that it needs.
        answered: the number of sessions that a cell answers, by dataset.
        notes: what the user should know before it begins.
        only: the keys of the cells that the plan is narrowed to; empty for all.
    """

    spec: Spec
    grids: list[Grid]
    steps: dict[str, PlannedStep]
    answered: dict[str, int]
    notes: list[str] = field(default_factory=list)
    only: tuple[str, ...] = ()

    @property
    def cells(self) -> list[PlannedStep]:
        """The cells of all questions. A cell that several questions share comes once."""
        keys = dict.fromkeys(step_key(arm.cell) for grid in self.grids for arm in grid.arms)
        return [self.steps[key] for key in keys]

    @property
    def cell_names(self) -> dict[str, str]:
        """The name of each cell in lists and commands, by its key."""
        steps = {cell.key: cell.step for cell in self.cells if isinstance(cell.step, EvaluationStep)}
        names = cell_names(list(steps.values()))
        return {key: names[step] for key, step in steps.items()}

    def count(self, kind: Kind) -> Counter[Status]:
        """Count the steps of a kind by status."""
        return Counter(step.status for step in self.steps.values() if step.kind == kind)

    def to_do(self, *, retry_failed: bool = False) -> list[PlannedStep]:
        """Return the steps that a run of the study does, each after the steps that it needs.

        Args:
            retry_failed: include failed steps, and cells with failed sessions.
        """
        return [
            step
            for step in self.steps.values()
            if step.status == "to do" or (retry_failed and (step.status == "failed" or step.unanswered))
        ]

    @property
    def unanswered(self) -> int:
        """The number of failed sessions of finished cells that another try may answer."""
        return sum(step.unanswered for step in self.steps.values())

    @property
    def failed(self) -> int:
        """The number of failed steps. They are tried again only on request."""
        return sum(step.status == "failed" for step in self.steps.values())


def make_plan(db: Database, spec: Spec) -> StudyPlan:
    """Plan a study. Nothing is written.

    Raises:
        NotFound: a dataset does not exist.
        KdtuiError: a dataset has no sessions to answer.
    """
    datasets = spec.datasets()
    answered = {dataset: _sessions(db, spec, dataset) for dataset in datasets}
    validation = {dataset: count_sessions_with_pairs(db, dataset, "valid") for dataset in datasets}
    study_grids = grids(spec, validation)
    if not any(grid.arms for grid in study_grids):
        raise KdtuiError("; ".join(reason for grid in study_grids for reason in grid.left_out))
    cells = [arm.cell for grid in study_grids for arm in grid.arms]
    ordered = list(steps_in_order(cells))
    known = steps_of(db, [step_key(step) for step in ordered])
    steps = _with_status(db, cells, ordered, known)
    failed = _failed_sessions(db, [steps[step_key(cell)] for cell in dict.fromkeys(cells)])
    notes = _notes(spec, study_grids, validation)
    for key, count in failed.items():
        step = steps[key]
        lost = [need for need in prerequisites(step.step) if steps[step_key(need)].status != "done"]
        if lost:
            # Making it again would make another student.
            notes.append(
                f"{label(step.step)}: {counted(count, 'session')} without an answer cannot be answered again, since "
                f"this no longer exists: {label(lost[0])}"
            )
        else:
            steps[key] = replace(step, unanswered=count)
    return StudyPlan(spec, study_grids, steps, answered, notes)


def cells_named(plan: StudyPlan, names: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of the cells of these names.

    Raises:
        KdtuiError: there is no cell of a name.
    """
    keys = {name: key for key, name in plan.cell_names.items()}
    for name in names:
        if name not in keys:
            there_are = f"its cells: {', '.join(keys)}" if len(keys) <= _MOST_NAMED else "study show lists its cells"
            raise KdtuiError(f"study {plan.spec.name} has no cell {name!r}; {suggestion(name, list(keys), there_are)}")
    return tuple(dict.fromkeys(keys[name] for name in names))


def narrowed_plan(plan: StudyPlan, cells: Sequence[str]) -> StudyPlan:
    """Narrow a plan to some cells and the steps that they need.

    Args:
        cells: their keys; empty for all cells.
    """
    if not cells:
        return plan
    wanted = _wanted([plan.steps[key].step for key in cells], plan.steps)
    steps = {}
    for key, each in plan.steps.items():
        status: Status = each.status if each.step in wanted or each.status == "done" else "not needed"
        steps[key] = replace(each, status=status, unanswered=each.unanswered if key in cells else 0)
    return replace(plan, steps=steps, only=tuple(cells))


def _sessions(db: Database, spec: Spec, dataset: str) -> int:
    size = split_size(db, dataset, spec.split)
    if not size:
        raise KdtuiError(f"dataset {dataset!r} has no sessions in its {spec.split} split; there is nothing to answer")
    return size if spec.sessions is None else min(spec.sessions, size)


def check_models(db: Database, spec: Spec) -> None:
    """Refuse a study whose models or hosts are missing. Its results can be shown without them.

    Raises:
        NotFound: a host does not exist.
        KdtuiError: a student does not exist, or cannot be part of a study.
    """
    for host in spec.hosts:
        if host != LOCAL:
            get_host(db, host)
    _check_sources(db, spec)
    from kdtui.workflows.model_names import located_model, why_uncalibrated

    for student in dict.fromkeys(name for question in spec.question for name in question.student):
        if is_endpoint(student):
            trained = any(
                use in ("sft", "sft+icl")
                for each in spec.question
                for use in each.utilization
                if student in each.student
            )
            if trained or any("pairs" in each.form for each in spec.question if student in each.student):
                raise KdtuiError(
                    f"{student}: an endpoint can be neither trained nor asked about pairs; give its question "
                    'utilization = ["zero-shot", "icl"], and the form "list"'
                )
        elif why_uncalibrated(student) is not None:
            raise KdtuiError(
                f"{student} is shown no knowledge and cannot be trained; name a base model, such as smollm2"
            )
        elif not (path := located_model(db, student)).is_file():
            raise KdtuiError(f"{path}: there is no such file")


def _check_sources(db: Database, spec: Spec) -> None:
    """Refuse adapters that no training can begin from: missing ones, and those of another form."""
    from kdtui.workflows.training.source_adapters import Terms, find_source, inherited_terms

    for question in spec.question:
        for name in question.from_:
            if name != NOTHING:
                source = find_source(db, name)
                for form, student in product(question.form, question.student):
                    inherited_terms(source, Terms(form=form, base=student))


def _notes(spec: Spec, study_grids: Sequence[Grid], validation: dict[str, int]) -> list[str]:
    notes = [f"left out: {reason}" for grid in study_grids for reason in grid.left_out]
    asks_pairs = any("pairs" in question.form for question in spec.question)
    for dataset, sessions in validation.items():
        if asks_pairs and sessions < LEAST_TO_CALIBRATE:
            notes.append(
                f"{dataset} has too few validation sessions to calibrate students: their thresholds stay as they are"
            )
    if asks_pairs and spec.split == "valid":
        notes.append("students are calibrated on the split that they answer, which favours those with many weights")
    if spec.split == "valid" and any("routed" in each.utilization for each in spec.question):
        notes.append("routers are fitted to the split that they answer, which favours routed students")
    if spec.split == "train" and any(use != "zero-shot" for each in spec.question for use in each.utilization):
        notes.append("knowledge comes from the split that is answered: the numbers do not show results on new sessions")
    return list(dict.fromkeys(notes))


def steps_in_order(cells: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps that cells need, each once, after the steps that it needs."""
    seen: set[Step] = set()
    for cell in cells:
        stack: list[tuple[Step, bool]] = [(cell, False)]
        while stack:
            step, is_ready = stack.pop()
            if step in seen:
                continue
            if is_ready:
                seen.add(step)
                yield step
            else:
                stack.append((step, True))
                stack.extend((need, False) for need in reversed(prerequisites(step)))


def _with_status(
    db: Database, cells: Sequence[Step], ordered: Sequence[Step], known: dict[str, StoredStep]
) -> dict[str, PlannedStep]:
    keys = {step: step_key(step) for step in ordered}
    contents = StoreContents(db)
    planned: dict[str, PlannedStep] = {}
    for step in ordered:
        stored = known.get(keys[step])
        problem = contents.why_not_done(
            step, stored, lambda need: known[keys[need]].made if keys[need] in known else ""
        )
        status: Status = "done" if problem is None else "to do"
        why = problem or None
        if status == "to do" and stored is not None and stored.state == "failed":
            status, why = "failed", stored.reason
        planned[keys[step]] = PlannedStep(step, keys[step], status, stored, why)
    # A step that no remaining step needs is not done again, even if its result is gone.
    wanted = _wanted(cells, planned)
    return {
        key: each if each.status == "done" or each.step in wanted else replace(each, status="not needed")
        for key, each in planned.items()
    }


def _wanted(cells: Sequence[Step], steps: Mapping[str, PlannedStep]) -> set[Step]:
    """Return cells and the remaining steps that they need.

    Args:
        steps: each after the steps that it needs.
    """
    wanted = set(cells)
    for each in reversed(list(steps.values())):
        if each.step in wanted and each.status != "done":
            wanted.update(prerequisites(each.step))
    return wanted


def _failed_sessions(db: Database, cells: Sequence[PlannedStep]) -> dict[str, int]:
    """Count the failed sessions of finished cells, by key. Failures that another try would repeat do not count."""
    runs = {int(cell.stored.made): cell.key for cell in cells if cell.status == "done" and cell.stored is not None}
    failed = {}
    for run, reasons in count_failures(db, runs).items():
        if count := sum(count for reason, count in reasons.items() if not PromptTooLong.matches(reason)):
            failed[runs[run]] = count
    return failed
