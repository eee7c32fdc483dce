"""Run a study: do the remaining steps of its plan in turn on this machine, while hosts train in parallel.

Each step is stored when it is done, so the same command resumes a study that was interrupted or killed.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from time import monotonic, sleep

from kdtui.errors import KdtuiError
from kdtui.workflows.pause_gate import PauseGate
from kdtui.workflows.student.learning import Tell, tell_nobody
from kdtui.workflows.studies.answer_cells import CellAnswerer
from kdtui.workflows.studies.events import (
    HostLost,
    Planned,
    StepBegun,
    StepBlocked,
    StepDone,
    StepFailed,
    StepProgress,
    StudyEvent,
)
from kdtui.workflows.studies.knowledge import make_knowledge
from kdtui.workflows.studies.lock import study_lock
from kdtui.workflows.studies.make_steps import draw_sample, mix_adapters
from kdtui.workflows.studies.plan import LOCAL, PlannedStep, StudyPlan, check_models, make_plan, narrowed_plan
from kdtui.workflows.studies.spec import Spec
from kdtui.workflows.studies.steps import (
    CalibrationStep,
    EvaluationStep,
    KnowledgeStep,
    MixtureStep,
    SampleStep,
    Step,
    TrainingStep,
    encoded_step,
    new_name,
    prerequisites,
    run_settings,
    step_key,
    training_settings,
)
from kdtui.workflows.studies.store_contents import StoreContents, is_same_basis
from models.errors import ModelError
from store.errors import NotFound, StoreError
from store.hosts import get_host
from store.runs import (
    get_run,
)
from store.sqlite import Database
from store.studies import add_seconds, begin_step, fail_step, finish_step, steps_of

_PAUSE_LOCAL, _PAUSE_ON_HOST = 1.0, 10.0
"""Seconds between two checks of trainings: on this machine, and on hosts."""

_MOST_QUEUED = 100
"""Trainings that wait in the queue of a Slurm cluster at most."""


def run_study(
    db: Database,
    spec: Spec,
    jobs: Path,
    *,
    retry_failed: bool = False,
    cells: Sequence[str] = (),
    gate: PauseGate | None = None,
    tell: Tell = tell_nobody,
) -> Generator[StudyEvent]:
    """Do the remaining steps of a study. Closing the iterator stops it; started trainings continue by themselves.

    Args:
        jobs: the folder of the job directories.
        retry_failed: try failed steps again, and failed sessions of finished cells.
        cells: keys of the cells to do, with the steps that they need; empty for all.
        gate: pauses or ends the study from another thread, between two sessions or groups.
        tell: gets the progress of slow work, and remarks of a student, before it answers.

    Raises:
        KdtuiError, NotFound: as `check_models` and `make_plan`; or another process runs a study on this store.
    """
    with study_lock(db, spec.name):
        check_models(db, spec)
        plan = narrowed_plan(make_plan(db, spec), cells)
        yield Planned(plan)
        yield from _Runner(db, plan, jobs, gate or PauseGate(), tell, retry_failed).run()


class _Ended(Exception):
    """The study was ended in the middle of a step."""


@dataclass(slots=True)
class _Runner:
    """The remaining steps, and their state."""

    db: Database
    plan: StudyPlan
    jobs: Path
    gate: PauseGate
    tell: Tell
    retry_failed: bool
    _needs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The keys of the steps that each step needs; looked up often."""
    _waiting: dict[str, PlannedStep] = field(default_factory=dict)
    _training: dict[str, str] = field(default_factory=dict)
    """The host of each running training, by key."""
    _results: dict[str, str] = field(default_factory=dict)
    _failed: dict[str, PlannedStep] = field(default_factory=dict)
    _checked_at: float = -inf
    _is_busy: bool = False
    """Whether a step is running on this machine."""
    _paused: float = 0.0
    """Seconds of the pauses of a step."""

    def run(self) -> Iterator[StudyEvent]:
        for step in self.plan.steps.values():
            self._needs[step.key] = tuple(step_key(need) for need in prerequisites(step.step))
            if step.status == "done" and step.stored is not None:
                self._results[step.key] = step.stored.made
            elif step.status == "failed" and not self.retry_failed:
                self._failed[step.key] = step
        self._waiting = {step.key: step for step in self.plan.to_do(retry_failed=self.retry_failed)}
        while self._waiting or self._training:
            self.gate.wait()
            if self.gate.closed:
                return
            yield from self._give_up_blocked()
            yield from self._launch()
            yield from self._check_trainings()
            if (ready := self._next()) is not None:
                del self._waiting[ready.key]
                self._is_busy = True
                yield from self._do(ready)
                self._is_busy = False
            elif self._training:
                sleep(_PAUSE_LOCAL)

    def _give_up_blocked(self) -> Iterator[StepBlocked]:
        """Give up steps that need a failed step."""
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
        """Return the first step of the plan that can be done on this machine now."""
        trains_here = LOCAL in self._training.values()
        for step in self._waiting.values():
            if isinstance(step.step, TrainingStep) or not self._is_ready(step):
                continue
            # While a training uses the processors, measured times of a student would be meaningless.
            if trains_here and isinstance(step.step, CalibrationStep | EvaluationStep):
                continue
            return step
        return None

    def _basis(self, step: PlannedStep) -> str:
        """Return what a step is made from, as it was stored if that is the same: names and times belong to it."""
        present = StoreContents(self.db).basis(step.step)
        stored = step.stored
        return stored.basis if stored is not None and is_same_basis(stored.basis, present) else present

    def _do(self, step: PlannedStep) -> Iterator[StudyEvent]:
        """Do a step on this machine."""
        yield StepBegun(step)
        basis = self._basis(step)
        began, self._paused = monotonic(), 0.0
        made = ""
        try:
            match step.step:
                case KnowledgeStep():
                    begin_step(self.db, step.key, step.kind, encoded_step(step.step), basis)
                    for done, of in make_knowledge(self.db, self.plan.spec, step.step, self.gate):
                        yield StepProgress(step, done, of)
                    self._wait_while_paused()
                    if not StoreContents(self.db).has_knowledge(step.step):
                        raise KdtuiError(f"dataset {step.step.dataset!r} gave no {step.step.format} that is kept")
                case SampleStep():
                    made = new_name(step.step, basis)
                    begin_step(self.db, step.key, step.kind, encoded_step(step.step), basis, made)
                    draw_sample(self.db, step.step, made, self._name)
                case MixtureStep():
                    made = new_name(step.step, basis)
                    begin_step(self.db, step.key, step.kind, encoded_step(step.step), basis, made)
                    mix_adapters(self.db, step.step, made, self._name, self.tell)
                case CalibrationStep():
                    begin_step(self.db, step.key, step.kind, encoded_step(step.step), basis)
                    yield from self._calibrate(step, step.step)
                case EvaluationStep() if step.status == "done" and step.stored is not None:
                    made = step.stored.made
                    yield from self._answerer().answer_again(step, step.step, get_run(self.db, int(made)))
                case EvaluationStep():
                    made = yield from self._answerer().answer(step, step.step, basis)
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

    def _paused_so_far(self) -> float:
        return self._paused

    def _wait_while_paused(self) -> None:
        """Wait in the middle of a step while the study is paused.

        Raises:
            _Ended: the study is ended; its next run resumes the step.
        """
        began = monotonic()
        self.gate.wait()
        self._paused += monotonic() - began
        if self.gate.closed:
            raise _Ended

    def _finish(self, step: PlannedStep, made: str) -> StepDone:
        with self.db.waiting(inf):
            finish_step(self.db, step.key, made)
        self._results[step.key] = made
        return StepDone(step, made)

    def _fail(self, step: PlannedStep, reason: str, log: str | None = None) -> StepFailed:
        if step.status == "done":
            return StepFailed(step, f"{reason}; its answers stay as they are", log)
        with self.db.waiting(inf):
            fail_step(self.db, step.key, reason)
        self._failed[step.key] = step
        return StepFailed(step, reason, log)

    def _name(self, step: Step) -> str:
        return self._results[step_key(step)]

    def _calibrate(self, step: PlannedStep, settings: CalibrationStep) -> Iterator[StudyEvent]:
        from kdtui.workflows.student.calibrate import (
            SessionJudged,
            StrategyLeftOut,
            calibrate_strategies,
            sessions_to_learn_from,
        )

        sessions = sessions_to_learn_from(self.db, settings.dataset)
        done = 0
        asked = run_settings(settings, self._name)
        for event in calibrate_strategies(self.db, settings.dataset, asked, [settings.form], sessions):
            if isinstance(event, SessionJudged):
                done += 1
                yield StepProgress(step, done, len(sessions))
                self._wait_while_paused()
            elif isinstance(event, StrategyLeftOut):
                raise KdtuiError(event.reason)

    def _answerer(self) -> CellAnswerer:
        return CellAnswerer(
            self.db, self.tell, self._name, self._wait_while_paused, self._paused_so_far, self._advance_trainings
        )

    def _advance_trainings(self) -> Iterator[StudyEvent]:
        """Start trainings that can begin, and check running ones, so that hosts do not wait for a whole evaluation."""
        yield from self._launch()
        yield from self._check_trainings()

    def _launch(self) -> Iterator[StudyEvent]:
        """Start the trainings that can begin on hosts that have room."""
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
            # Students that can answer come first: that takes less time, and shows results.
            if host == LOCAL and (self._is_busy or self._next() is not None):
                continue
            busy = sum(each == host for each in self._training.values())
            is_slurm = host != LOCAL and get_host(self.db, host).settings.launcher == "slurm"
            if busy < (_MOST_QUEUED if is_slurm else 1):
                return host
        return None

    def _begin_training(self, step: PlannedStep, training: TrainingStep, host: str) -> Iterator[StudyEvent]:
        """Start a training, or find one that was started earlier."""
        from kdtui.workflows.job_state import known_status
        from kdtui.workflows.training.plan import TrainingPlan, prepare_training
        from kdtui.workflows.training.service import remove_training, start_training
        from kdtui.workflows.training.source_adapters import find_source
        from models.sft.state import ACTIVE
        from store.jobs import get_job

        basis = self._basis(step)
        name = new_name(training, basis)
        begin_step(self.db, step.key, step.kind, encoded_step(training), basis, name)
        try:
            job = get_job(self.db, name)
        except NotFound:
            job = None
        if job is not None and known_status(job).state == "failed":
            if not self.retry_failed:
                yield self._fail(step, _why(known_status(job).reason), _log(name))
                return
            remove_training(self.db, name)
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
                host=None if host == LOCAL else host,
                # The study compares its adapters itself.
                answers=False,
            )
            prepare_training(self.db, plan, self.jobs)
        where = get_job(self.db, name).host or LOCAL
        self._training[step.key] = where
        yield StepBegun(step, None if where == LOCAL else where)
        state = known_status(get_job(self.db, name)).state
        if state not in (*ACTIVE, "done"):
            try:
                for _ in start_training(self.db, name):
                    pass
            except (KdtuiError, ModelError) as problem:
                del self._training[step.key]
                status = known_status(get_job(self.db, name))
                began = status.state == "failed"
                yield self._fail(step, _why(status.reason) if began else str(problem), _log(name) if began else None)
        self._checked_at = -inf

    def _check_trainings(self) -> Iterator[StudyEvent]:
        """Check the running trainings."""
        from kdtui.workflows.finish_jobs import finish_job
        from kdtui.workflows.training.on_host import TrainingFetched, check_trainings
        from models.sft.state import ACTIVE

        hosts = set(self._training.values())
        if not hosts or monotonic() - self._checked_at < (_PAUSE_LOCAL if hosts == {LOCAL} else _PAUSE_ON_HOST):
            return
        self._checked_at = monotonic()
        names = {key: steps_of(self.db, [key])[key].made for key in self._training}
        lost: set[str] = set()
        remote = {names[key] for key, host in self._training.items() if host != LOCAL}
        for event in check_trainings(self.db, remote, bring_home=True) if remote else ():
            if isinstance(event, TrainingFetched):
                if event.problem is not None:
                    yield HostLost(event.name, event.problem)
            elif event.problem is not None:
                lost.add(event.host)
                yield HostLost(event.host, event.problem)
        for key, host in list(self._training.items()):
            if host in lost:
                continue
            step, name = self.plan.steps[key], names[key]
            try:
                row = finish_job(self.db, name)
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
                if not self._has_adapter(name):
                    # It is still on its host. The next check fetches it.
                    continue
                del self._training[key]
                add_seconds(self.db, key, _seconds_of(row.job.folder))
                yield self._finish(step, name)
            else:
                del self._training[key]
                yield self._fail(
                    step, _why(status.reason) if status.state == "failed" else f"it is {status.state}", _log(name)
                )

    def _has_adapter(self, name: str) -> bool:
        from store.models import named_model

        try:
            named_model(self.db, name)
        except NotFound:
            return False
        return True


def _why(reason: str | None) -> str:
    return reason or "no reason is known"


def _log(name: str) -> str:
    return f"kdtui sft logs {name}"


def _seconds_of(folder: Path) -> float:
    """Return the seconds of a training by its own clock: the study may not have watched it all the time."""
    from models.sft.state import metrics

    start = steps = judged = 0.0
    for line in metrics(folder):
        tokens, speed = line.get("tokens"), line.get("step_tokens_per_second")
        if isinstance(tokens, int) and isinstance(speed, int | float) and speed > 0:
            start, steps = float(line.get("start_seconds", 0.0)), tokens / speed
        if isinstance(seconds := line.get("valid_seconds"), int | float):
            judged += seconds
    return start + steps + judged
