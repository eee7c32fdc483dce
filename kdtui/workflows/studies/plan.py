"""The plan of a study: its cells, the steps that these take, and which of them are done."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    ANY,
    CalibrationStep,
    EvaluationStep,
    Kind,
    KnowledgeStep,
    MixtureStep,
    SampleStep,
    Step,
    TrainingStep,
    key_of,
    kind_of,
    needs,
    run_settings,
)
from models.errors import PromptTooLong
from store.calibrations import calibrations
from store.hosts import get_host
from store.models import named_models
from store.predictions import count_failures
from store.records import Format
from store.routers import list_routers
from store.samples import list_samples
from store.sessions import count_sessions_with_pairs, split_size
from store.similar import suggestion
from store.sqlite import Database
from store.studies import (
    StoredStep,
    dataset_times,
    finished_runs,
    knowledge_kept,
    steps_of,
    teachers_kept,
)

HERE = "local"
"""The host that is this machine."""

_MOST_NAMED = 12
"""Cells that a message names."""

Status: TypeAlias = Literal["done", "to do", "failed", "not needed"]
"""What a step is: over, still to be done, failed when it was tried, or made for nothing that is still to be done."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step of a study.

    Attributes:
        stored: what is known of it; None where it has never begun.
        why: why it failed, or why it is to be done again.
        unanswered: sessions that failed in a cell that is done, and that another try may answer.
    """

    step: Step
    key: str
    status: Status
    stored: StoredStep | None
    why: str | None = None
    unanswered: int = 0

    @property
    def kind(self) -> Kind:
        """What is done in it."""
        return kind_of(self.step)


def seconds_per_session(cell: PlannedStep, answered: int) -> float | None:
    """What a cell took for each session, by the clock: several sessions are answered at a time; None where unknown."""
    return None if cell.stored is None or cell.stored.seconds is None else cell.stored.seconds / max(1, answered)


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """A study, and how far it is.

    Attributes:
        steps: by key, each behind those that it needs.
        answered: for each dataset, how many sessions a cell of the study answers.
        notes: what a person should know before it begins.
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
        """Those that answer sessions for a question; a cell that several questions have in common comes once."""
        keys = dict.fromkeys(key_of(arm.cell) for grid in self.grids for arm in grid.arms)
        return [self.steps[key] for key in keys]

    @property
    def cell_names(self) -> dict[str, str]:
        """What each cell is called in lists and commands, by its key."""
        steps = {cell.key: cell.step for cell in self.cells if isinstance(cell.step, EvaluationStep)}
        names = cell_names(list(steps.values()))
        return {key: names[step] for key, step in steps.items()}

    def count(self, kind: Kind) -> Counter[Status]:
        """How many steps of a kind are done, to be done, and so on."""
        return Counter(step.status for step in self.steps.values() if step.kind == kind)

    def to_do(self, *, retry_failed: bool = False) -> list[PlannedStep]:
        """The steps that a run of the study takes, each behind those that it needs.

        Args:
            retry_failed: with those that have failed, and cells in which sessions have.
        """
        return [
            step
            for step in self.steps.values()
            if step.status == "to do" or (retry_failed and (step.status == "failed" or step.unanswered))
        ]

    @property
    def unanswered(self) -> int:
        """How many sessions failed in cells that are done, and may be answered by another try."""
        return sum(step.unanswered for step in self.steps.values())

    @property
    def failed(self) -> int:
        """How many steps have failed, and are tried again only where that is asked for."""
        return sum(step.status == "failed" for step in self.steps.values())


def make_plan(db: Database, spec: Spec) -> StudyPlan:
    """Plan a study. Nothing is written.

    Raises:
        NotFound: a dataset is not there.
        KdtuiError: a dataset has no sessions to answer.
    """
    datasets = spec.datasets()
    answered = {dataset: _sessions(db, spec, dataset) for dataset in datasets}
    validation = {dataset: count_sessions_with_pairs(db, dataset, "valid") for dataset in datasets}
    found = grids(spec, validation)
    if not any(grid.arms for grid in found):
        raise KdtuiError("; ".join(reason for grid in found for reason in grid.left_out))
    cells = [arm.cell for grid in found for arm in grid.arms]
    ordered = list(in_order(cells))
    known = steps_of(db, [key_of(step) for step in ordered])
    steps = _with_status(db, cells, ordered, known)
    failed = _failed_sessions(db, [steps[key_of(cell)] for cell in dict.fromkeys(cells)])
    notes = _notes(spec, found, validation)
    for key, count in failed.items():
        step = steps[key]
        lost = [need for need in needs(step.step) if steps[key_of(need)].status != "done"]
        if lost:
            # A new one would be another student.
            notes.append(
                f"{label(step.step)}: {counted(count, 'session')} without an answer cannot be answered again, since "
                f"this is gone: {label(lost[0])}"
            )
        else:
            steps[key] = replace(step, unanswered=count)
    return StudyPlan(spec, found, steps, answered, notes)


def cells_named(plan: StudyPlan, names: Sequence[str]) -> tuple[str, ...]:
    """The keys of the cells of these names.

    Raises:
        KdtuiError: there is no cell of a name.
    """
    keys = {name: key for key, name in plan.cell_names.items()}
    for name in names:
        if name not in keys:
            there_are = f"its cells: {', '.join(keys)}" if len(keys) <= _MOST_NAMED else "study show lists its cells"
            raise KdtuiError(f"study {plan.spec.name} has no cell {name!r}; {suggestion(name, list(keys), there_are)}")
    return tuple(dict.fromkeys(keys[name] for name in names))


def narrowed(plan: StudyPlan, cells: Sequence[str]) -> StudyPlan:
    """The plan to do nothing but these cells, and what they need.

    Args:
        cells: their keys; all where there is none.
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
    """Refuse a study that cannot be run: what is done of it can be looked at without its models and hosts.

    Raises:
        NotFound: a host is not there.
        KdtuiError: a student is not there, or cannot be part of a study.
    """
    for host in spec.hosts:
        if host != HERE:
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
            raise KdtuiError(f"{student} is shown no knowledge and cannot be trained; name a base model, as smollm2")
        elif not (path := located_model(db, student)).is_file():
            raise KdtuiError(f"{path}: there is no such file")


def _check_sources(db: Database, spec: Spec) -> None:
    """Refuse adapters that trainings cannot begin from: they are missing, or were trained in another form."""
    from kdtui.workflows.training.start_from import Terms, find_source, taken_over

    for question in spec.question:
        for name in question.from_:
            for form, student in product(question.form, question.student):
                if name != NOTHING:
                    taken_over(find_source(db, name), Terms(form=form, base=student))


def _notes(spec: Spec, found: Sequence[Grid], validation: dict[str, int]) -> list[str]:
    notes = [f"left out: {reason}" for grid in found for reason in grid.left_out]
    asks_pairs = any("pairs" in question.form for question in spec.question)
    for dataset, sessions in validation.items():
        if asks_pairs and sessions < LEAST_TO_CALIBRATE:
            notes.append(
                f"{dataset} has too few validation sessions to calibrate students on: their thresholds stay as they are"
            )
    if asks_pairs and spec.split == "valid":
        notes.append("students are calibrated on the split that they answer, which favours those with many weights")
    if spec.split == "train" and any(use != "zero-shot" for each in spec.question for use in each.utilization):
        notes.append("knowledge comes from the split that is answered: no number says how students do on new sessions")
    return list(dict.fromkeys(notes))


def in_order(cells: Sequence[Step]) -> Iterator[Step]:
    """The steps that cells take, each once, behind those that it needs."""
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
                stack.extend((need, False) for need in reversed(needs(step)))


def _with_status(
    db: Database, cells: Sequence[Step], ordered: Sequence[Step], known: dict[str, StoredStep]
) -> dict[str, PlannedStep]:
    keys = {step: key_of(step) for step in ordered}
    look = Look(db)
    found: dict[str, PlannedStep] = {}
    for step in ordered:
        stored = known.get(keys[step])
        problem = look.why_not_done(step, stored, lambda need: known[keys[need]].made if keys[need] in known else "")
        status: Status = "done" if problem is None else "to do"
        why = problem or None
        if status == "to do" and stored is not None and stored.state == "failed":
            status, why = "failed", stored.reason
        found[keys[step]] = PlannedStep(step, keys[step], status, stored, why)
    # What nothing needs that is still to be done need not be done, even if it is gone.
    wanted = _wanted(cells, found)
    return {
        key: each if each.status == "done" or each.step in wanted else replace(each, status="not needed")
        for key, each in found.items()
    }


def _wanted(cells: Sequence[Step], steps: Mapping[str, PlannedStep]) -> set[Step]:
    """Cells, and what those need that are still to be done.

    Args:
        steps: each behind those that it needs.
    """
    wanted = set(cells)
    for each in reversed(list(steps.values())):
        if each.step in wanted and each.status != "done":
            wanted.update(needs(each.step))
    return wanted


def _failed_sessions(db: Database, cells: Sequence[PlannedStep]) -> dict[str, int]:
    """How many sessions failed in cells that are done, by key; without those that no other try would answer."""
    runs = {int(cell.stored.made): cell.key for cell in cells if cell.status == "done" and cell.stored is not None}
    found = {}
    for run, reasons in count_failures(db, runs).items():
        if count := sum(count for reason, count in reasons.items() if not PromptTooLong.matches(reason)):
            found[runs[run]] = count
    return found


class Look:
    """What there is in a store that steps are made of, and what came of them; looked up once."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._datasets = dataset_times(db)
        self._kept = knowledge_kept(db)
        self._teachers = teachers_kept(db)
        self._samples = {sample.name for sample in list_samples(db)}
        self._adapters = {model.name for model in named_models(db) if model.kind == "adapter"}
        self._routers = {router.name for router in list_routers(db)}
        self._runs = finished_runs(db)
        self._basis: dict[Step, str] = {}

    def has_knowledge(self, step: KnowledgeStep) -> bool:
        """Whether there is any that the step would find."""
        if step.teacher == ANY:
            return (step.dataset, step.format) in self._kept
        return (step.dataset, step.format, step.teacher) in self._teachers

    def basis(self, step: Step) -> str:
        """What a step is made of: the datasets as they were imported, and the knowledge that is kept of them."""
        if step not in self._basis:
            datasets, formats = _sources(step)
            self._basis[step] = json.dumps(
                [
                    sorted((name, self._datasets.get(name, "")) for name in datasets),
                    sorted((*pair, *self._kept.get(pair, (0, 0))) for pair in formats),
                ]
            )
        return self._basis[step]

    def why_not_done(self, step: Step, stored: StoredStep | None, made: Callable[[Step], str]) -> str | None:
        """None for a step that is done; otherwise why it has to be done again, and empty where it never was."""
        if isinstance(step, KnowledgeStep):
            return None if self.has_knowledge(step) else ""
        if stored is None or stored.state != "done":
            return ""
        if stored.basis != self.basis(step):
            return "the dataset or its knowledge has changed since"
        return None if self._is_there(step, stored, made) else f"{_made_in_words(step, stored)} has been deleted"

    def _is_there(self, step: Step, stored: StoredStep, made: Callable[[Step], str]) -> bool:
        match step:
            case SampleStep():
                return stored.made in self._samples
            case TrainingStep():
                return stored.made in self._adapters
            case MixtureStep():
                return stored.made in (self._routers if step.how == "routed" else self._adapters)
            case CalibrationStep():
                return step.form in calibrations(self._db, step.dataset, run_settings(step, made))
            case EvaluationStep():
                return stored.made in self._runs
            case KnowledgeStep():
                return True


def _made_in_words(step: Step, stored: StoredStep) -> str:
    return f"run {stored.made}" if isinstance(step, EvaluationStep) else f"its {kind_of(step)} {stored.made}".rstrip()


def _sources(step: Step) -> tuple[set[str], set[tuple[str, Format]]]:
    """The datasets that a step is made of, and the formats of their knowledge."""
    datasets: set[str] = set()
    formats: set[tuple[str, Format]] = set()
    match step:
        case KnowledgeStep():
            datasets.add(step.dataset)
        case SampleStep() | TrainingStep():
            datasets.update(step.datasets)
            formats.update((dataset, format) for dataset in step.datasets for format in step.formats)
        case MixtureStep():
            datasets.add(step.dataset)
        case CalibrationStep() | EvaluationStep():
            datasets.add(step.dataset)
            shown_of = (step.dataset,) if step.sample is None else step.sample.datasets
            formats.update((dataset, format) for dataset in shown_of for format in step.shown)
    for need in needs(step):
        more, known = _sources(need)
        datasets |= more
        formats |= known
    return datasets, formats
