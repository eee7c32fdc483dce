"""What is done with a training by its name, wherever it runs: here, or on a host."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtui.errors import KdtuiError
from kdtui.workflows.job_state import JobRow, known_status, one_job
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
"""Of an adapter that begins from the base alone."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """A training as a person describes it: what on, from what, how, and where; see `Job` for what they mean.

    Attributes:
        base: as a person names it.
        rank: None for that of the source, or 16.
        alpha: None for that of the source, or twice the rank.
        learning_rate: None for the usual one: `LEARNING_RATE`, or `CONTINUED_LEARNING_RATE` from a source.
        source: the adapter that it begins from, whose rank and alpha it has; None to begin from the base alone.
        host: where it is to run; None for here.
        after: the training that has to be done first.
        evaluate: whether the adapter is to be evaluated when it is here.
        answers: whether it answers the validation sessions at its end, so that it can be said whether it helped.
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
        """Its learning rate at its highest."""
        usual = LEARNING_RATE if self.source is None else CONTINUED_LEARNING_RATE
        return usual if self.learning_rate is None else self.learning_rate

    def to_job(self, db: Database) -> Job:
        """The same for a trainer.

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
    """A training runs here, as this process."""

    pid: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """So many files have come home, and the training as it is known now."""

    files: int
    row: JobRow


def jobs_folder(database: Path) -> Path:
    """Where job directories are: beside the database, which knows them."""
    return database.resolve().parent / "jobs"


def prepare_training(db: Database, plan: TrainingPlan, folder: Path) -> PreparedJob:
    """Write the job directory of a training below a folder, where all that it needs is there.

    Raises:
        KdtuiError, ModelError, NotFound, StoreError: as `prepare_job`; or there is no such host, or no trainer here.
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
    """Refuse what could not be prepared, and write nothing.

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
    """Start a training where it belongs, or go on with it.

    Raises:
        KdtuiError: it is at work, or done, or its host says why it cannot; or it has failed at once.
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
    """Stop a training with a checkpoint, and tell how it is waited for; whoever looks away leaves it to stop by itself.

    Args:
        now: kill it, without a checkpoint.

    Raises:
        KdtuiError: it is not running, or its host cannot be reached.
    """
    job, grace = get_job(db, name), 0.0 if now else GRACE
    return jobs.cancel(job, grace=grace) if job.host is None else on_host.cancel(db, job, grace=grace)


def how_it_stopped(row: JobRow, left: Sequence[str]) -> str:
    """What became of a training that was to stop, as a sentence.

    Args:
        left: what had to be killed of it, and what could not be.
    """
    name, status = row.job.name, row.status
    if status.state == "done":
        return f"training {name} was done before it could be stopped"
    if status.state != "stopped":
        return f"training {name} is {status.state}, and did not stop: {', '.join(left) or 'nobody knows why'}"
    return f"training {name} has stopped: {status.reason}"


def fetch(db: Database, name: str, *, checkpoints: bool = False) -> Fetched:
    """Bring home what a training has made; then its adapter has its name.

    Raises:
        KdtuiError: it is here, has nothing to fetch, or its host cannot be reached.
    """
    job = get_job(db, name)
    if job.host is None:
        raise KdtuiError(f"training {name!r} is here already")
    count = on_host.fetch(db, job, checkpoints=checkpoints)
    row = one_job(db, name)
    if row.status.state == "failed":
        raise KdtuiError(f"training {name!r}: {row.status.reason}")
    return Fetched(count, row)


def remove(db: Database, name: str, *, keep: bool = False) -> None:
    """Delete a training with its folder, its checkpoints and its adapter, on its host too.

    Args:
        keep: leave its directory on the host, and only forget it.

    Raises:
        KdtuiError: it is running, or its host cannot be reached.
    """
    job = get_job(db, name)
    if job.host is not None and not keep:
        on_host.remove(db, job)
    jobs.check_removable(job)
    keep_pace(db, job)
    jobs.remove(db, job)
