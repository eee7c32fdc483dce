"""Prepare, start, stop, fetch and delete trainings by name, on this machine or on a host."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtui.errors import KdtuiError
from kdtui.workflows.finish_jobs import finish_job
from kdtui.workflows.job_state import JobRow, known_status
from kdtui.workflows.model_names import trainable_base
from kdtui.workflows.training import jobs, launch_on_host, on_host
from kdtui.workflows.training.launch_on_host import Launched, SendingFiles, Submitting
from kdtui.workflows.training.on_host import HostSeen, TrainingFetched, refresh
from kdtui.workflows.training.paces import keep_training_pace as keep_pace
from kdtui.workflows.training.prepare import PreparedJob, check_name, check_trainer, prepare_job
from kdtui.workflows.training.start_from import StartAdapter, check_fits
from models.embedded import NAME
from models.sft.job import CONTINUED_LEARNING_RATE, LEARNING_RATE, Job, Lora, Optimizer, Precision, check_job
from models.sft.processes import GRACE, HasStopped, Stopping
from models.sft.start import lora_of
from store.hosts import get_host
from store.jobs import get_job
from store.records import TrainingSettings
from store.sqlite import Database

RANK = 16
"""Rank of an adapter that begins from the base without an adapter."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """A training as a user describes it: its data, source, settings and machine; see `Job` for their meaning.

    Attributes:
        base: as a user names it.
        rank: None for that of the source, or 16.
        alpha: None for that of the source, or twice the rank.
        learning_rate: None for the usual one: `LEARNING_RATE`, or `CONTINUED_LEARNING_RATE` from a source.
        source: the adapter that it begins from, whose rank and alpha it keeps; None to begin from the base without one.
        host: to run it on; None for this machine.
        after: the training that has to finish first.
        evaluate: whether to evaluate the adapter when it is on this machine.
        answers: whether it answers the validation sessions at its end, which shows whether it helped.
    """

    name: str
    settings: TrainingSettings
    base: str = NAME
    rank: int | None = None
    alpha: float | None = None
    dropout: float = 0.0
    learning_rate: float | None = None
    batch_tokens: int = 2048
    accumulate: int = 1
    longest: int = 2048
    precision: Precision = "auto"
    recompute: bool = False
    evaluations: int = 2
    patience: int | None = None
    checkpoints: int = 4
    host: str | None = None
    after: str | None = None
    evaluate: bool = False
    answers: bool = True
    source: StartAdapter | None = None

    @property
    def lora(self) -> Lora:
        """The settings of its adapter."""
        if self.source is not None:
            return lora_of(self.source.config, self.dropout)
        rank = RANK if self.rank is None else self.rank
        return Lora(rank=rank, alpha=2.0 * rank if self.alpha is None else self.alpha, dropout=self.dropout)

    @property
    def rate(self) -> float:
        """Its peak learning rate."""
        usual = LEARNING_RATE if self.source is None else CONTINUED_LEARNING_RATE
        return usual if self.learning_rate is None else self.learning_rate

    def to_job(self, db: Database) -> Job:
        """Return the training as a job for the trainer.

        Raises:
            KdtuiError: there is no such base.
        """
        return Job(
            trainable_base(db, self.base),
            epochs=self.settings.epochs,
            seed=self.settings.seed,
            batch_tokens=self.batch_tokens,
            longest=self.longest,
            precision=self.precision,
            recompute=self.recompute,
            evaluations=self.evaluations,
            patience=self.patience,
            checkpoints=self.checkpoints,
            answers=self.answers,
            lora=self.lora,
            optimizer=Optimizer(learning_rate=self.rate, accumulate=self.accumulate),
        )


@dataclass(frozen=True, slots=True)
class Started:
    """A training that runs on this machine, with its process id."""

    pid: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """Fetched files, and the training as it is known now."""

    files: int
    row: JobRow


def jobs_folder(database: Path) -> Path:
    """Return the folder of the job directories, next to the database that knows them."""
    return database.resolve().parent / "jobs"


def prepare_training(db: Database, plan: TrainingPlan, folder: Path) -> PreparedJob:
    """Write the job directory of a training below a folder, if everything that it needs exists.

    Raises:
        KdtuiError, ModelError, NotFound, StoreError: as `prepare_job`; or there is no such host, or no trainer on this
            machine.
    """
    _check_place(db, plan)
    _check_source(db, plan)
    return prepare_job(
        db,
        plan.name,
        folder,
        plan.settings,
        plan.to_job(db),
        host=plan.host,
        after=plan.after,
        evaluate=plan.evaluate,
        begin_from=None if plan.source is None else plan.source.copy_to,
    )


def check_training_plan(db: Database, plan: TrainingPlan, folder: Path) -> None:
    """Refuse a plan that could not be prepared. Nothing is written.

    Raises:
        KdtuiError, ModelError, NotFound: as `prepare_training`.
    """
    _check_place(db, plan)
    _check_source(db, plan)
    check_name(db, plan.name, folder)
    check_job(plan.to_job(db))


def _check_source(db: Database, plan: TrainingPlan) -> None:
    if plan.source is not None:
        check_fits(db, plan.source, plan.base)


def _check_place(db: Database, plan: TrainingPlan) -> None:
    if plan.host is None:
        check_trainer()
    else:
        get_host(db, plan.host)


def start(
    db: Database, name: str
) -> Iterator[Started | SendingFiles | Submitting | Launched | HostSeen | TrainingFetched]:
    """Start or resume a training on its machine.

    Raises:
        KdtuiError: it is running, or done; its host refuses; or it failed at once.
        ModelError: the trainer does not start.
    """
    job = get_job(db, name)
    if job.host is None:
        yield Started(jobs.launch(db, job))
    else:
        yield from launch_on_host.launch(db, job)
        for seen in refresh(db, {name}):
            yield seen
            if seen.problem is not None:
                return
    status = known_status(get_job(db, name))
    if status.state == "failed":
        raise KdtuiError(f"training {name!r} has failed: {status.reason}")


def cancel(db: Database, name: str, *, now: bool = False) -> Iterator[Stopping | HasStopped]:
    """Stop a training with a checkpoint, and yield how it is waited for. It stops even if the caller stops waiting.

    Args:
        now: kill it, without a checkpoint.

    Raises:
        KdtuiError: it is not running, or its host cannot be reached.
    """
    job, grace = get_job(db, name), 0.0 if now else GRACE
    return jobs.cancel(job, grace=grace) if job.host is None else on_host.cancel(db, job, grace=grace)


def how_it_stopped(row: JobRow, left: Sequence[str]) -> str:
    """Say in a sentence what happened to a training that was to stop.

    Args:
        left: processes that had to be killed, and those that could not be.
    """
    name, status = row.job.name, row.status
    if status.state == "done":
        return f"training {name} was done before it could be stopped"
    if status.state != "stopped":
        return f"training {name} is {status.state}, and did not stop: {', '.join(left) or 'the reason is unknown'}"
    return f"training {name} has stopped: {status.reason}"


def fetch(db: Database, name: str, *, checkpoints: bool = False) -> Fetched:
    """Fetch the results of a training, and name its adapter.

    Raises:
        KdtuiError: it is on this machine, has nothing to fetch, or its host cannot be reached.
    """
    job = get_job(db, name)
    if job.host is None:
        raise KdtuiError(f"training {name!r} is on this machine already")
    count = on_host.fetch(db, job, checkpoints=checkpoints)
    row = finish_job(db, name)
    if row.status.state == "failed":
        raise KdtuiError(f"training {name!r}: {row.status.reason}")
    return Fetched(count, row)


def remove(db: Database, name: str, *, keep: bool = False) -> None:
    """Delete a training with its directory, checkpoints and adapter, on its host too.

    Args:
        keep: keep its directory on the host, and only forget the training.

    Raises:
        KdtuiError: it is running, or its host cannot be reached.
    """
    job = get_job(db, name)
    if job.host is not None and not keep:
        on_host.remove(db, job)
    jobs.check_removable(job)
    keep_pace(db, job)
    jobs.remove(db, job)
