"""The plan of a training as a user describes it, and its preparation."""

from dataclasses import dataclass
from pathlib import Path

from kdtui.workflows.model_names import trainable_base
from kdtui.workflows.training.prepare import PreparedJob, check_name, check_trainer, prepare_job
from kdtui.workflows.training.source_adapters import FEW, SourceAdapter, check_fits, count_training_sessions
from models.embedded import NAME
from models.sft.job import CONTINUED_LEARNING_RATE, LEARNING_RATE, RANK, Job, Lora, Optimizer, Precision, check_job
from models.sft.start import lora_of
from store.hosts import get_host
from store.records import TrainingSettings
from store.sqlite import Database

BATCH_TOKENS, FEW_BATCH_TOKENS = 2048, 512
"""Tokens of a batch, and those with up to `FEW` training sessions."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """A training as a user describes it: its data, source, settings and machine; see `Job` for their meaning.

    Attributes:
        base: as a user names it.
        rank: None for that of the source, or 16.
        alpha: None for that of the source, or twice the rank.
        learning_rate: None for the usual one: `LEARNING_RATE`, or `CONTINUED_LEARNING_RATE` from a source.
        batch_tokens: None for `BATCH_TOKENS`, or `FEW_BATCH_TOKENS` with few training sessions.
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
    batch_tokens: int | None = None
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
    source: SourceAdapter | None = None

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
            NotFound: there is no such dataset.
        """
        return Job(
            trainable_base(db, self.base),
            epochs=self.settings.epochs,
            seed=self.settings.seed,
            batch_tokens=self.batch_tokens or usual_batch_tokens(db, self.settings),
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


def usual_batch_tokens(db: Database, settings: TrainingSettings) -> int:
    """Return the usual size of a batch: with few sessions, large batches would leave only a few steps to learn in.

    Raises:
        NotFound: there is no such dataset.
    """
    return FEW_BATCH_TOKENS if count_training_sessions(db, settings) <= FEW else BATCH_TOKENS


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
