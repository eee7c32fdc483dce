"""Forecast the rest of a study: time, by earlier steps; calls and their cost; disk space."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import msgspec

from kdtui.distill.annotations import TEACHER as ANNOTATIONS
from kdtui.errors import KdtuiError
from kdtui.text import counted, duration
from kdtui.workflows.calls.costs import cost_text
from kdtui.workflows.studies.knowledge import distillation, teacher_of
from kdtui.workflows.studies.plan import LOCAL, PlannedStep, StudyPlan
from kdtui.workflows.studies.steps import (
    ANY,
    KINDS,
    CalibrationStep,
    EvaluationStep,
    Kind,
    KnowledgeStep,
    MixtureStep,
    SampleStep,
    Step,
    TrainingStep,
    decoded_step,
    step_kind,
)
from models.errors import ModelError
from models.sft.job import read_job
from models.sft.job_files import JOB
from store.jobs import list_jobs
from store.sessions import split_size
from store.sqlite import Database
from store.studies import StoredStep, steps_of_kind

KIND_NAMES: dict[Kind, str] = {
    "knowledge": "knowledge",
    "sample": "samples",
    "training": "trainings",
    "mixture": "mixtures",
    "calibration": "calibrations",
    "evaluation": "evaluations",
}

_LATEST = 50
"""The newest steps of a kind that a forecast uses."""

_SECONDS: dict[Kind, float] = {"knowledge": 10.0, "sample": 1.0, "mixture": 5.0}
"""Seconds of short steps, used if no earlier step of the kind is known."""


@dataclass(slots=True)
class Forecast:
    """The remaining work of a study.

    Attributes:
        seconds: by kind of step: of all steps in turn, and of trainings by all hosts together. Kinds without a known
            duration are missing.
        training_seconds: of all trainings if only one host trained them; hosts without a known duration are missing.
        unknown: kinds with steps whose duration is unknown.
        hosts: that share the trainings.
        calls: that have to be paid for.
        answered_calls: that have been paid for.
        cost: of the calls; None if there are no prices, or nothing to pay.
        problems: what could not be looked up.
        over_budget: teachers that need more than the study allows.
        disk_bytes: of the adapters; None if no adapter has been made yet.
        again: sessions that are answered again, and the number of their cells.
    """

    seconds: dict[Kind, float]
    unknown: list[Kind]
    hosts: tuple[str, ...]
    training_seconds: dict[str, float] = field(default_factory=dict)
    calls: int = 0
    answered_calls: int = 0
    cost: float | None = None
    problems: list[str] = field(default_factory=list)
    over_budget: list[str] = field(default_factory=list)
    disk_bytes: int | None = None
    again: tuple[int, int] = (0, 0)

    @property
    def whole_seconds(self) -> float:
        """Seconds until everything is done: steps on this machine run in turn, and hosts train in parallel."""
        here = sum(seconds for kind, seconds in self.seconds.items() if kind != "training")
        training = self.seconds.get("training", 0.0)
        return here + training if self.hosts == (LOCAL,) else max(here, training)

    def in_words(self) -> Iterator[str]:
        """Yield the forecast as sentences without a full stop."""
        sessions, cells = self.again
        if sessions:
            verb = "is" if sessions == 1 else "are"
            where = counted(cells, "finished cell")
            yield f"{counted(sessions, 'session')} that failed in {where} {verb} tried again"
        if self.seconds or self.unknown:
            unknown = " and ".join(KIND_NAMES[kind] for kind in self.unknown)
            never = f"; the duration of {unknown} is unknown: none has been done in this store" if unknown else ""
            if self.whole_seconds >= 1:
                yield f"about {duration(self.whole_seconds)} left{never}"
            elif never:
                yield never.removeprefix("; ")
        if self.hosts != (LOCAL,) and self.seconds.get("training"):
            durations = [
                f"{host} {duration(self.training_seconds[host]) if host in self.training_seconds else 'unknown'}"
                for host in self.hosts
            ]
            yield f"all trainings on a single host: {', '.join(durations)}"
        if self.calls or self.answered_calls:
            cost = cost_text(self.cost, is_estimated=True, unknown="unknown: no prices given")
            before = f"{self.answered_calls:,} more have been paid for"
            yield f"{counted(self.calls, 'call')} to teachers ({before}), cost {cost}"
        if self.disk_bytes:
            yield f"about {self.disk_bytes / 1e6:,.0f} MB on the disk"
        yield from (*self.problems, *self.over_budget)

    def to_json(self, plan: StudyPlan) -> dict[str, Any]:
        """Return the plan and its forecast as an object."""
        return {
            "study": plan.spec.name,
            "split": plan.spec.split,
            "sessions": plan.answered,
            "cells": len(plan.cells),
            "steps": {kind: dict(plan.count(kind)) for kind in KINDS if plan.count(kind)},
            "unanswered": plan.unanswered,
            "seconds": self.seconds,
            "whole_seconds": self.whole_seconds,
            "training_seconds": self.training_seconds,
            "unknown": self.unknown,
            "calls": self.calls,
            "answered_calls": self.answered_calls,
            "cost": self.cost,
            "disk_bytes": self.disk_bytes,
            "notes": [*plan.notes, *self.problems, *self.over_budget],
        }


def check_study_budget(left: Forecast) -> None:
    """Refuse a study that exceeds its budget before anything is paid for.

    Half of a teacher's knowledge would be of little use.

    Raises:
        KdtuiError: a teacher needs more than the study allows.
    """
    if left.over_budget:
        more = "raise it, or have the teacher asked about fewer sessions"
        raise KdtuiError(f"{'; '.join(left.over_budget)}; {more}")


def forecast(db: Database, plan: StudyPlan, *, retry_failed: bool = False) -> Forecast:
    """Forecast the remaining work of a study. Nothing is written, and teachers are asked nothing that costs.

    Args:
        retry_failed: also count the failed sessions of finished cells. Failed steps always count.
    """
    left = [step for step in plan.to_do(retry_failed=True) if retry_failed or step.status != "done"]
    by_kind: dict[Kind, list[PlannedStep]] = defaultdict(list)
    for step in left:
        by_kind[step.kind].append(step)
    seconds: dict[Kind, float] = {}
    unknown: list[Kind] = []
    sizes = _Sizes(db)
    by_host = {
        host: _all_by(_paces(db, "training", sizes, host), by_kind["training"], sizes) for host in plan.spec.hosts
    }
    alone = {host: taken for host, taken in by_host.items() if taken is not None}
    for kind, steps in by_kind.items():
        if kind == "training":
            if alone and steps:
                # Each host trains as many as it has time for.
                seconds[kind] = 1 / sum(1 / each for each in alone.values())
            elif steps:
                unknown.append(kind)
            continue
        paces = _paces(db, kind, sizes)
        expected = [_expected(step, paces, sizes) or _usual(step.step) for step in steps]
        known = [each for each in expected if each is not None]
        if len(known) < len(steps):
            unknown.append(kind)
        if known:
            seconds[kind] = sum(known) / len(known) * len(steps)
    result = Forecast(seconds, unknown, plan.spec.hosts, alone)
    _count_calls(db, plan, by_kind["knowledge"], result)
    result.disk_bytes = _disk(db, by_kind["training"])
    again = [step.unanswered for step in left if step.status == "done"]
    result.again = sum(again), len(again)
    return result


@dataclass(frozen=True, slots=True)
class StepCount:
    """How many steps of a kind a study has.

    Attributes:
        seconds: of the remaining steps, about; None if none remain, or if it is unknown.
    """

    name: str
    every: int
    done: int
    to_do: int
    failed: int
    seconds: float | None


def step_counts(plan: StudyPlan, left: Forecast) -> list[StepCount]:
    """Count the steps of a plan by kind, in the order in which they run. Kinds without steps are left out."""
    counts = []
    for kind in KINDS:
        if count := plan.count(kind):
            again = left.again[1] if kind == "evaluation" else 0
            to_do = count["to do"] + count["failed"] + again
            every = sum(count.values()) - count["not needed"]
            seconds = left.seconds.get(kind) if to_do else None
            counts.append(StepCount(KIND_NAMES[kind], every, count["done"] - again, to_do, count["failed"], seconds))
    return counts


def cells_in_words(plan: StudyPlan) -> str:
    """Say how many cells a study has, and how many sessions each answers."""
    sessions = ", ".join(f"{number:,} of {dataset}" for dataset, number in plan.answered.items())
    part = f"{len(plan.only):,} of " if plan.only else ""
    return f"{part}{counted(len(plan.cells), 'cell')}, each over {sessions} ({plan.spec.split})"


def plan_in_words(plan: StudyPlan, left: Forecast) -> list[str]:
    """Describe a plan and its forecast in sentences without a full stop."""
    steps = "; ".join(f"{each.name} {each.done} of {each.every} done" for each in step_counts(plan, left))
    return [*plan.notes, cells_in_words(plan), steps, *left.in_words()]


class _Sizes:
    """The sizes of splits, each looked up once."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[tuple[str, str], int] = {}

    def of(self, dataset: str, split: Any) -> int:
        if (dataset, split) not in self._known:
            from store.errors import NotFound

            try:
                self._known[dataset, split] = split_size(self._db, dataset, split)
            except NotFound:
                # The dataset of the step was deleted.
                self._known[dataset, split] = 0
        return self._known[dataset, split]

    def work(self, step: Step) -> float:
        """Return the number of sessions that a step goes through."""
        match step:
            case TrainingStep():
                share = 1.0 if step.sample is None else step.sample.ratio
                each = (min(self.of(name, "train"), step.sessions or self.of(name, "train")) for name in step.datasets)
                return max(1.0, share * sum(each)) * step.epochs
            case MixtureStep():
                return 1.0
            case CalibrationStep():
                return self.of(step.dataset, "valid")
            case EvaluationStep():
                size = self.of(step.dataset, step.split)
                return min(size, step.sessions or size)
            case SampleStep() | KnowledgeStep():
                return 1.0


def _conditions(step: Step) -> list[tuple[object, ...]]:
    """Return what the time per session of a step depends on, the closest likeness first."""
    match step:
        case TrainingStep():
            return [(step.base, step.form, step.formats), (step.base, step.form), (step.base,)]
        case CalibrationStep() | EvaluationStep():
            is_trained = step.training is not None or (isinstance(step, EvaluationStep) and step.mixture is not None)
            return [
                (step.student, step.form, step.shown, is_trained),
                (step.student, step.form, bool(step.shown)),
                (step.student, step.form),
            ]
        case MixtureStep():
            return [(step.how,)]
        case SampleStep():
            return [(step.strategy,)]
        case KnowledgeStep():
            return [(step.format, step.teacher)]


_Paces = dict[tuple[object, ...], list[float]]


def _paces(db: Database, kind: Kind, sizes: _Sizes, host: str | None = None) -> _Paces:
    """Return the seconds per session of finished steps, by likeness.

    Args:
        host: where trainings ran; None for steps of another kind.
    """
    paces: _Paces = defaultdict(list)
    hosts = {job.name: job.host or LOCAL for job in list_jobs(db)} if host is not None else {}
    for stored in steps_of_kind(db, kind, state="done", most=_LATEST):
        step = _read(stored)
        if step is None or stored.seconds is None or (host is not None and hosts.get(stored.made) != host):
            continue
        if work := sizes.work(step):
            for likeness in _conditions(step):
                paces[likeness].append(stored.seconds / work)
    return paces


def _read(stored: StoredStep) -> Step | None:
    try:
        return decoded_step(stored.settings)
    except msgspec.MsgspecError:
        # Another version stored it.
        return None


def _all_by(paces: _Paces, steps: Sequence[PlannedStep], sizes: _Sizes) -> float | None:
    """Return the seconds of all of these steps in turn; None if one of them is unknown."""
    each = [_expected(step, paces, sizes) for step in steps]
    known = [seconds for seconds in each if seconds is not None]
    return sum(known) if known and len(known) == len(each) else None


def _expected(planned: PlannedStep, paces: _Paces, sizes: _Sizes) -> float | None:
    work = sizes.work(planned.step) if planned.status != "done" else planned.unanswered
    for likeness in _conditions(planned.step):
        if paces.get(likeness):
            return median(paces[likeness]) * work
    return None


def _usual(step: Step) -> float | None:
    """Return the seconds of a short step; None for others.

    The speed of a model as a teacher is not known beforehand.
    """
    if isinstance(step, KnowledgeStep) and step.teacher not in (ANY, ANNOTATIONS):
        return None
    return _SECONDS.get(step_kind(step))


def _count_calls(db: Database, plan: StudyPlan, steps: Iterable[PlannedStep], result: Forecast) -> None:
    """Count the calls that would be paid for. Teachers are asked only for their names."""
    from kdtui.workflows.knowledge.estimate_distillation import estimate_distillation
    from models.errors import ModelError

    for planned in steps:
        step = planned.step
        assert isinstance(step, KnowledgeStep)
        try:
            options = teacher_of(plan.spec, step)
            if options is None:
                continue
            tally = estimate_distillation(db, distillation(options, step))
        except (KdtuiError, ModelError) as problem:
            result.problems.append(str(problem))
            continue
        result.calls += tally.paid
        result.answered_calls += tally.hits
        if tally.cost is not None:
            result.cost = (result.cost or 0.0) + tally.cost
        for limit, needed, what in (
            (options.max_calls, tally.paid, "calls"),
            (options.max_cost, tally.cost, "cost"),
        ):
            if limit is not None and needed is not None and needed > limit:
                result.over_budget.append(
                    f"the {step.format}s of {step.dataset} need {needed:,.4g} {what}, and max_{what} of teacher "
                    f"{step.teacher} is {limit:g}"
                )


def _disk(db: Database, steps: list[PlannedStep]) -> int | None:
    """Estimate the bytes of the adapters and checkpoints by earlier ones."""
    from kdtui.workflows.training.source_adapters import find_source
    from store.errors import NotFound
    from store.jobs import get_job

    sizes = []
    for stored in steps_of_kind(db, "training", state="done", most=3) if steps else ():
        with suppress(NotFound, ModelError):
            folder = get_job(db, stored.made).folder
            total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            sizes.append(total / read_job(folder / JOB).lora.rank)
    if not sizes:
        return None
    trainings = [each.step for each in steps if isinstance(each.step, TrainingStep)]
    ranks = {start: find_source(db, start).rank for start in {step.start for step in trainings} if start is not None}
    return round(median(sizes) * sum(step.rank if step.start is None else ranks[step.start] for step in trainings))
