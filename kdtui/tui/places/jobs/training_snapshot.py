"""A training as it was last seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.sft.job_files import CHECKPOINTS
from models.sft.state import ACTIVE

if TYPE_CHECKING:
    from kdtui.workflows.job_state import Training
    from models.sft.state import JobStatus
    from store.jobs import StoredJob


@dataclass(frozen=True, slots=True)
class TrainingSnapshot:
    """A training and its state.

    Attributes:
        is_away: whether its adapter is on a host and not fetched yet.
        checkpoints: number of checkpoints on this machine.
        worth: sentences that say whether the training helped; empty until that is known.
        default_of: the datasets whose default adapter it is.
    """

    job: "StoredJob"
    status: "JobStatus"
    is_away: bool
    checkpoints: int
    worth: tuple[str, ...] = ()
    default_of: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.job.name

    @property
    def is_active(self) -> bool:
        """Whether its state can change by itself."""
        return self.status.state in ACTIVE

    @property
    def where(self) -> str:
        """Its host, or "here" for this machine."""
        return self.job.host or "here"


def read_training(training: "Training", defaults: Mapping[str, str]) -> TrainingSnapshot:
    """Return a training with what its folder says; for worker threads, since it reads files.

    Args:
        defaults: the default adapters, by dataset.
    """
    from kdtui.workflows.job_state import is_to_fetch

    worth: tuple[str, ...] = ()
    if training.job.outcome is not None:
        from kdtui.workflows.training.outcome import known_outcome

        outcome = known_outcome(training)
        worth = () if outcome is None else tuple(outcome.in_words)

    checkpoints = sum(not path.name.endswith(".part") for path in (training.job.folder / CHECKPOINTS).glob("step-*"))
    default_of = tuple(dataset for dataset, adapter in defaults.items() if adapter == training.job.name)
    return TrainingSnapshot(training.job, training.status, is_to_fetch(training), checkpoints, worth, default_of)
