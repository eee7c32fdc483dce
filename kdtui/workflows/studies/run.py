"""A study is run: what its plan has left to do is done, one step after the other here, and beside it on hosts.

Each step is stored when it is done, so the same command resumes a study that was interrupted or killed. Students answer
in groups of sessions that are stored whole: what llama.cpp computes depends on what it computes at the same time, and a
resumed study has the same groups as one that was never interrupted.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic, sleep
from typing import TypeAlias

from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.workflows.model_names import is_endpoint
from kdtui.workflows.pause_control import PauseControl
from kdtui.workflows.student.generate import GenerateEvent, SessionAnswered, generate
from kdtui.workflows.student.learning import Tell, untold
from kdtui.workflows.student.session_student import SessionStudent
from kdtui.workflows.studies.knowledge import make_knowledge
from kdtui.workflows.studies.labels import formats_label, label
from kdtui.workflows.studies.lock import alone
from kdtui.workflows.studies.plan import HERE, Look, PlannedStep, StudyPlan, check_models, make_plan, narrowed
from kdtui.workflows.studies.spec import Spec
from kdtui.workflows.studies.steps import (
    CalibrationStep,
    EvaluationStep,
    KnowledgeStep,
    MixtureStep,
    SampleStep,
    Step,
    TrainingStep,
    encoded,
    key_of,
    needs,
    new_name,
    run_settings,
    training_settings,
)
from models.errors import ModelError, PromptTooLong
from store.errors import NotFound, StoreError
from store.hosts import get_host
from store.predictions import Prediction, add_predictions, count_answers, failures, predictions_for, replace_failures
from store.records import Session
from store.runs import Run, finish_run, get_run, start_run
from store.sqlite import Database
from store.studies import add_seconds, begin_step, fail_step, finish_step, steps_of

GROUP = 16
"""Sessions that a student answers together, and that are stored together."""

_LOOK_HERE, _LOOK_THERE = 1.0, 10.0
"""Seconds between two looks at a training here, and on hosts."""

_MOST_QUEUED = 100
"""Trainings that wait in the queue of a Slurm at most."""


@dataclass(frozen=True, slots=True)
class Planned:
    """The study is planned, and begins."""

    plan: StudyPlan


@dataclass(frozen=True, slots=True)
class StepBegun:
    """A step begins, or is resumed.

    Attributes:
        where: the host of a training; None for here.
    """

    step: PlannedStep
    where: str | None = None

    @property
    def in_words(self) -> str:
        """What begins, and where."""
        again = f", {counted(self.step.unanswered, 'session')} again" if self.step.status == "done" else ""
        return f"{label(self.step.step)}{again}" + (f" on {self.where}" if self.where else "")


@dataclass(frozen=True, slots=True)
class StepProgress:
    """So much of a step is done: sessions, or steps of a training."""

    step: PlannedStep
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step is done, and what came of it: the name of a sample or a training, or the number of a run."""

    step: PlannedStep
    made: str


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step has failed; what does not need it goes on.

    Attributes:
        log: how to see its log; None where there is none.
    """

    step: PlannedStep
    reason: str
    log: str | None = None


@dataclass(frozen=True, slots=True)
class StepBlocked:
    """A step cannot be done, for one that it needs has failed."""

    step: PlannedStep
    needs: PlannedStep


@dataclass(frozen=True, slots=True)
class HostLost:
    """A host cannot be reached at the moment; its trainings are looked at again."""

    host: str
    problem: str


StudyEvent: TypeAlias = Planned | StepBegun | StepProgress | StepDone | StepFailed | StepBlocked | HostLost


def run_study(
    db: Database,
    spec: Spec,
    jobs: Path,
    *,
    retry_failed: bool = False,
    cells: Sequence[str] = (),
    gate: PauseControl | None = None,
    tell: Tell = untold,
) -> Generator[StudyEvent]:
    """Do what a study has left to do. Closing the iterator stops it; trainings that have begun go on by themselves.

    Args:
        jobs: the folder of job directories.
        retry_failed: try again what has failed before: steps, and sessions of cells that are done.
        cells: keys of those that are done, with what they need, and nothing else; empty for all.
        gate: pauses the study between two sessions or groups of them, or ends it, from another thread.
        tell: gets what a student says before it answers.

    Raises:
        KdtuiError, NotFound: as `check_models` and `make_plan`; or another process runs a study on this store.
    """
    with alone(db, spec.name):
        check_models(db, spec)
        plan = narrowed(make_plan(db, spec), cells)
        yield Planned(plan)
        yield from _Runner(db, plan, jobs, gate or PauseControl(), tell, retry_failed).run()


class _Ended(Exception):
    """The study has been ended in the middle of a step."""


@dataclass(slots=True)
class _Runner:
    """The steps that are left, by what becomes of them."""

    db: Database
    plan: StudyPlan
    jobs: Path
    gate: PauseControl
    tell: Tell
    retry_failed: bool
    _needs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The keys of what each step needs; looked up again and again."""
    _waiting: dict[str, PlannedStep] = field(default_factory=dict)
    _training: dict[str, str] = field(default_factory=dict)
    """The host of each training that is under way, by key."""
    _made: dict[str, str] = field(default_factory=dict)
    _failed: dict[str, PlannedStep] = field(default_factory=dict)
    _looked: float = -inf
    _is_busy: bool = False
    """Whether a step is under way here."""
    _paused: float = 0.0
    """Seconds of its pauses."""

    def run(self) -> Iterator[StudyEvent]:
        for step in self.plan.steps.values():
            self._needs[step.key] = tuple(key_of(need) for need in needs(step.step))
            if step.status == "done" and step.stored is not None:
                self._made[step.key] = step.stored.made
            elif step.status == "failed" and not self.retry_failed:
                self._failed[step.key] = step
        self._waiting = {step.key: step for step in self.plan.to_do(retry_failed=self.retry_failed)}
        while self._waiting or self._training:
            self.gate.wait()
            if self.gate.closed:
                return
            yield from self._block()
            yield from self._launch()
            yield from self._look()
            if (ready := self._next()) is not None:
                del self._waiting[ready.key]
                self._is_busy = True
                yield from self._do(ready)
                self._is_busy = False
            elif self._training:
                sleep(_LOOK_HERE)

    def _block(self) -> Iterator[StepBlocked]:
        """Give up what needs a step that has failed."""
        for step in list(self._waiting.values()):
            lost = next((key for key in self._needs[step.key] if key in self._failed), None)
            if lost is not None:
                del self._waiting[step.key]
                self._failed[step.key] = self._failed[lost]
                yield StepBlocked(step, self._failed[lost])

    def _is_ready(self, step: PlannedStep) -> bool:
        return not any(
            key in self._waiting or key in self._training or key in self._failed for key in self._needs[step.key]
        )

    def _next(self) -> PlannedStep | None:
        """A step that can be done here now, in the order of the plan."""
        trains_here = HERE in self._training.values()
        for step in self._waiting.values():
            if isinstance(step.step, TrainingStep) or not self._is_ready(step):
                continue
            # While a training has the processors, the time that a student takes would say nothing.
            if trains_here and isinstance(step.step, CalibrationStep | EvaluationStep):
                continue
            return step
        return None

    def _do(self, step: PlannedStep) -> Iterator[StudyEvent]:
        """Do a step here."""
        yield StepBegun(step)
        basis = Look(self.db).basis(step.step)
        began, self._paused = monotonic(), 0.0
        made = ""
        try:
            match step.step:
                case KnowledgeStep():
                    begin_step(self.db, step.key, step.kind, encoded(step.step), basis)
                    for done, of in make_knowledge(self.db, self.plan.spec, step.step, self.gate):
                        yield StepProgress(step, done, of)
                    self._pass()
                    if not Look(self.db).has_knowledge(step.step):
                        raise KdtuiError(f"dataset {step.step.dataset!r} gave no {step.step.format} that is kept")
                case SampleStep():
                    made = new_name(step.step, basis)
                    begin_step(self.db, step.key, step.kind, encoded(step.step), basis, made)
                    self._draw(step.step, made)
                case MixtureStep():
                    made = new_name(step.step, basis)
                    begin_step(self.db, step.key, step.kind, encoded(step.step), basis, made)
                    self._mix(step.step, made)
                case CalibrationStep():
                    begin_step(self.db, step.key, step.kind, encoded(step.step), basis)
                    yield from self._calibrate(step, step.step)
                case EvaluationStep() if step.status == "done" and step.stored is not None:
                    made = step.stored.made
                    yield from self._answer_again(step, step.step, get_run(self.db, int(made)))
                case EvaluationStep():
                    for event in self._evaluate(step, step.step, basis):
                        if isinstance(event, str):
                            made = event
                            continue
                        yield event
                case TrainingStep():
                    raise AssertionError("trainings are launched")
        except _Ended:
            return
        except (KdtuiError, ModelError, StoreError) as problem:
            yield self._fail(step, str(problem))
            return
        if not isinstance(step.step, EvaluationStep):
            add_seconds(self.db, step.key, monotonic() - began - self._paused)
        yield self._finish(step, made)

    def _pass(self) -> None:
        """Wait in the middle of a step as long as the study is paused.

        Raises:
            _Ended: the study is to end here; the step is resumed by the next run.
        """
        began = monotonic()
        self.gate.wait()
        self._paused += monotonic() - began
        if self.gate.closed:
            raise _Ended

    def _finish(self, step: PlannedStep, made: str) -> StepDone:
        with self.db.waiting(inf):
            finish_step(self.db, step.key, made)
        self._made[step.key] = made
        return StepDone(step, made)

    def _fail(self, step: PlannedStep, reason: str, log: str | None = None) -> StepFailed:
        if step.status == "done":
            return StepFailed(step, f"{reason}; its answers stay as they are", log)
        with self.db.waiting(inf):
            fail_step(self.db, step.key, reason)
        self._failed[step.key] = step
        return StepFailed(step, reason, log)

    def _name(self, step: Step) -> str:
        return self._made[key_of(step)]

    def _draw(self, step: SampleStep, name: str) -> None:
        from kdtui.workflows.knowledge.sample import create_sample

        create_sample(
            self.db,
            name,
            step.datasets,
            step.formats,
            strategy=step.strategy,
            ratio=step.ratio,
            seed=step.seed,
            student=step.student or "",
            teacher=None if step.teacher == "any" else step.teacher,
            # One of this name was drawn from the same knowledge, in the same way.
            replace=True,
        )

    def _mix(self, mixture: MixtureStep, name: str) -> None:
        """Merge adapters, or fit a router to what they have answered on the validation sessions."""
        if mixture.how == "merged":
            self._merge([self._name(training) for training in mixture.trainings], name)
            return
        from kdtui.workflows.adapters.routers import fit_to_runs

        routes = [
            (formats_label(training.formats), run_settings(answers, self._name))
            for training, answers in zip(mixture.trainings, mixture.answers, strict=True)
        ]
        runs = [get_run(self.db, int(self._name(answers))) for answers in mixture.answers]
        fit_to_runs(self.db, name, routes, {mixture.dataset: runs}, replace_old=True, tell=self.tell)

    def _merge(self, adapters: Sequence[str], name: str) -> None:
        from kdtui.workflows.adapters.merge import merge_adapters
        from kdtui.workflows.manage_models import models_folder
        from store.models import named_models

        # It is named by what it is made of: one of this name was merged right before the study was killed.
        if all(model.name != name for model in named_models(self.db)):
            assert self.db.path is not None
            weighed = [(adapter, 1 / len(adapters)) for adapter in adapters]
            merge_adapters(self.db, weighed, name, models_folder(self.db.path))

    def _calibrate(self, step: PlannedStep, settings: CalibrationStep) -> Iterator[StudyEvent]:
        from kdtui.workflows.student.calibrate import SessionJudged, StrategyLeftOut, calibrate, sessions_to_learn_from

        sessions = sessions_to_learn_from(self.db, settings.dataset)
        done = 0
        asked = run_settings(settings, self._name)
        for event in calibrate(self.db, settings.dataset, asked, [settings.form], sessions):
            if isinstance(event, SessionJudged):
                done += 1
                yield StepProgress(step, done, len(sessions))
                self._pass()
            elif isinstance(event, StrategyLeftOut):
                raise KdtuiError(event.reason)

    def _evaluate(self, step: PlannedStep, cell: EvaluationStep, basis: str) -> Iterator[StudyEvent | str]:
        """Answer the sessions of a cell, and tell the number of its run at the end."""
        from kdtui.workflows.runs.evaluate import split_to_score
        from kdtui.workflows.student.open import open_student
        from kdtui.workflows.studies.measures import run_measures

        asked = run_settings(cell, self._name)
        sessions = list(split_to_score(self.db, cell.dataset, cell.split, cell.sessions, cell.draw))
        with open_student(self.db, cell.dataset, asked, self.tell) as student:
            run = self._run_to_resume(step, basis)
            if run is None:
                run = start_run(self.db, cell.dataset, cell.split, student.name, asked, ["study"])
            begin_step(self.db, step.key, step.kind, encoded(cell), basis, str(run.id))
            done = count_answers(self.db, run)
            groups = self._unanswered(run, sessions)
            answers = self._answer(step, cell, student, groups, partial(add_predictions, self.db, run))
            yield from self._progress(step, run, answers, done, len(sessions))
            finish_run(self.db, run)
        # Measured once, so that a report over many cells need not.
        run_measures(self.db, run)
        yield str(run.id)

    def _answer_again(self, step: PlannedStep, cell: EvaluationStep, run: Run) -> Iterator[StudyEvent]:
        """Answer those sessions of a cell that failed; one that fails again stays as it is."""
        from kdtui.workflows.runs.evaluate import split_to_score
        from kdtui.workflows.student.open import open_student
        from kdtui.workflows.studies.measures import run_measures

        failed = {each.session for each in failures(self.db, run) if not PromptTooLong.matches(each.error or "")}
        every = split_to_score(self.db, cell.dataset, cell.split, cell.sessions, cell.draw)
        sessions = [session for session in every if session.id in failed]

        def keep(found: Iterable[Prediction]) -> None:
            replace_failures(self.db, run, [each for each in found if each.error is None])

        # The same student as before.
        with open_student(self.db, cell.dataset, run.settings, self.tell) as student:
            answers = self._answer(step, cell, student, _groups(sessions), keep)
            yield from self._progress(step, run, answers, 0, len(sessions))
        run_measures(self.db, run)

    def _progress(
        self, step: PlannedStep, run: Run, answers: Iterator[GenerateEvent], done: int, of: int
    ) -> Iterator[StudyEvent]:
        """Tell of answers as they come, and see to the trainings: hosts need not wait for a whole evaluation."""
        from kdtui.workflows.runs.costs import measured

        for event in measured(self.db, run, answers):
            if isinstance(event, SessionAnswered):
                done += 1
                yield StepProgress(step, done, of)
                yield from self._launch()
                yield from self._look()

    def _unanswered(self, run: Run, sessions: Sequence[Session]) -> Iterator[list[Session]]:
        """What is not answered yet of each group."""
        for group in _groups(sessions):
            answered = predictions_for(self.db, run, [session.id for session in group])
            if missing := [session for session in group if session.id not in answered]:
                yield missing

    def _answer(
        self,
        step: PlannedStep,
        cell: EvaluationStep,
        student: SessionStudent,
        groups: Iterable[Sequence[Session]],
        keep: Callable[[list[Prediction]], None],
    ) -> Iterator[GenerateEvent]:
        """Answer sessions group by group; a group is stored before it is told.

        Args:
            keep: stores answers.
        """
        for group in groups:
            self._pass()
            events: list[GenerateEvent] = []
            waiting: list[Prediction] = []
            began = monotonic()
            for event in generate(student, group):
                events.append(event)
                if isinstance(event, SessionAnswered):
                    waiting.append(event.prediction)
                    if is_endpoint(cell.student):
                        # It may be paid for, and does not depend on the others of its group.
                        with self.db.waiting(inf):
                            keep([waiting.pop()])
            with self.db.waiting(inf), self.db.atomic():
                keep(waiting)
                add_seconds(self.db, step.key, monotonic() - began)
            yield from events

    def _run_to_resume(self, step: PlannedStep, basis: str) -> Run | None:
        stored = steps_of(self.db, [step.key]).get(step.key)
        if stored is None or stored.basis != basis or not stored.made:
            return None
        try:
            return get_run(self.db, int(stored.made))
        except NotFound:
            return None

    def _launch(self) -> Iterator[StudyEvent]:
        """Start the trainings that can begin, on hosts that have room."""
        for step in list(self._waiting.values()):
            if not isinstance(step.step, TrainingStep) or not self._is_ready(step):
                continue
            host = self._free_host()
            if host is None:
                return
            del self._waiting[step.key]
            try:
                yield from self._begin_training(step, step.step, host)
            except (KdtuiError, ModelError, StoreError) as problem:
                yield self._fail(step, str(problem))

    def _free_host(self) -> str | None:
        for host in self.plan.spec.hosts:
            # Students that can answer come first: that takes less time, and shows something.
            if host == HERE and (self._is_busy or self._next() is not None):
                continue
            busy = sum(each == host for each in self._training.values())
            is_slurm = host != HERE and get_host(self.db, host).settings.launcher == "slurm"
            if busy < (_MOST_QUEUED if is_slurm else 1):
                return host
        return None

    def _begin_training(self, step: PlannedStep, training: TrainingStep, host: str) -> Iterator[StudyEvent]:
        """Start a training, or find the one that was started before."""
        from kdtui.workflows.job_state import known_status, one_job
        from kdtui.workflows.training.service import TrainingPlan, prepare_training, remove, start
        from kdtui.workflows.training.start_from import find_source
        from models.sft.state import ACTIVE
        from store.jobs import get_job

        basis = Look(self.db).basis(training)
        name = new_name(training, basis)
        begin_step(self.db, step.key, step.kind, encoded(training), basis, name)
        try:
            job = get_job(self.db, name)
        except NotFound:
            job = None
        if job is not None and known_status(job).state == "failed":
            if not self.retry_failed:
                yield self._fail(step, _why(one_job(self.db, name).status.reason), _log(name))
                return
            remove(self.db, name)
            job = None
        if job is None:
            settings = training_settings(training, self._name)
            plan = TrainingPlan(
                name,
                settings,
                training.base,
                rank=training.rank or None,
                source=None if training.start is None else find_source(self.db, training.start),
                learning_rate=training.learning_rate,
                batch_tokens=training.batch_tokens,
                longest=training.longest,
                host=None if host == HERE else host,
                # The study compares its adapters itself.
                answers=False,
            )
            prepare_training(self.db, plan, self.jobs)
        where = get_job(self.db, name).host or HERE
        self._training[step.key] = where
        yield StepBegun(step, None if where == HERE else where)
        state = known_status(get_job(self.db, name)).state
        if state not in (*ACTIVE, "done"):
            try:
                for _ in start(self.db, name):
                    pass
            except (KdtuiError, ModelError) as problem:
                del self._training[step.key]
                status = known_status(get_job(self.db, name))
                began = status.state == "failed"
                yield self._fail(step, _why(status.reason) if began else str(problem), _log(name) if began else None)
        self._looked = -inf

    def _look(self) -> Iterator[StudyEvent]:
        """See how the trainings are that are under way."""
        from kdtui.workflows.job_state import one_job
        from kdtui.workflows.training.on_host import CameHome, refresh
        from models.sft.state import ACTIVE

        hosts = set(self._training.values())
        if not hosts or monotonic() - self._looked < (_LOOK_HERE if hosts == {HERE} else _LOOK_THERE):
            return
        self._looked = monotonic()
        names = {key: steps_of(self.db, [key])[key].made for key in self._training}
        lost: set[str] = set()
        remote = {names[key] for key, host in self._training.items() if host != HERE}
        for seen in refresh(self.db, remote, bring_home=True) if remote else ():
            if isinstance(seen, CameHome):
                if seen.problem is not None:
                    yield HostLost(seen.name, seen.problem)
            elif seen.problem is not None:
                lost.add(seen.host)
                yield HostLost(seen.host, seen.problem)
        for key, host in list(self._training.items()):
            if host in lost:
                continue
            step, name = self.plan.steps[key], names[key]
            try:
                row = one_job(self.db, name)
            except NotFound:
                del self._training[key]
                yield self._fail(step, f"training {name} has been deleted")
                continue
            status = row.status
            if status.state in ACTIVE:
                if status.step is not None and status.steps is not None:
                    yield StepProgress(step, status.step, status.steps)
                continue
            if status.state == "done":
                if not self._adapter_is_here(name):
                    # It is still on its host; the next look brings it.
                    continue
                del self._training[key]
                add_seconds(self.db, key, _seconds_of(row.job.folder))
                yield self._finish(step, name)
            else:
                del self._training[key]
                yield self._fail(
                    step, _why(status.reason) if status.state == "failed" else f"it is {status.state}", _log(name)
                )

    def _adapter_is_here(self, name: str) -> bool:
        from store.models import named_model

        try:
            named_model(self.db, name)
        except NotFound:
            return False
        return True


def _groups(sessions: Sequence[Session]) -> Iterator[Sequence[Session]]:
    for first in range(0, len(sessions), GROUP):
        yield sessions[first : first + GROUP]


def _why(reason: str | None) -> str:
    return reason or "it says nothing"


def _log(name: str) -> str:
    return f"kdtui sft logs {name}"


def _seconds_of(folder: Path) -> float:
    """How long a training took, by its own clock: a study need not have been there all the time."""
    from models.sft.state import metrics

    start = steps = judged = 0.0
    for line in metrics(folder):
        tokens, speed = line.get("tokens"), line.get("step_tokens_per_second")
        if isinstance(tokens, int) and isinstance(speed, int | float) and speed > 0:
            start, steps = float(line.get("start_seconds", 0.0)), tokens / speed
        if isinstance(seconds := line.get("valid_seconds"), int | float):
            judged += seconds
    return start + steps + judged
