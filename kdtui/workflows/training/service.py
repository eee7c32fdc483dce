"""Start, stop, follow, fetch and delete trainings by name, wherever they run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kdtui.errors import KdtuiError
from kdtui.workflows.finish_jobs import finish_job
from kdtui.workflows.job_state import Training, known_status
from kdtui.workflows.training import on_this_machine
from kdtui.workflows.training.backend import FollowEvent, StartEvent, backend_of
from kdtui.workflows.training.on_host import HostSeen
from kdtui.workflows.training.paces import keep_training_pace as keep_pace
from models.sft.processes import GRACE, HasStopped, Stopping
from store.jobs import get_job
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Fetched:
    """Fetched files, and the training as it is known now."""

    files: int
    training: Training


def start_training(db: Database, name: str) -> Iterator[StartEvent]:
    """Start or resume a training on its machine.

    Raises:
        KdtuiError: it is running, or done; its host refuses; or it failed at once.
        ModelError: the trainer does not start.
    """
    for event in backend_of(db, get_job(db, name)).start():
        yield event
        if isinstance(event, HostSeen) and event.problem is not None:
            # The host is lost since the start, so the present status is unknown.
            return
    status = known_status(get_job(db, name))
    if status.state == "failed":
        raise KdtuiError(f"training {name!r} has failed: {status.reason}")


def cancel_training(db: Database, name: str, *, now: bool = False) -> Iterator[Stopping | HasStopped]:
    """Ask a training to stop after a checkpoint, and yield the progress. It stops even if the caller stops waiting.

    Args:
        now: kill it, without a checkpoint.

    Raises:
        KdtuiError: it is not running, or its host cannot be reached.
    """
    return backend_of(db, get_job(db, name)).cancel(grace=0.0 if now else GRACE)


def how_it_stopped(training: Training, left: Sequence[str]) -> str:
    """Say in a sentence what happened to a training that was to stop.

    Args:
        left: processes that had to be killed, and those that could not be.
    """
    name, status = training.job.name, training.status
    if status.state == "done":
        return f"training {name} was done before it could be stopped"
    if status.state != "stopped":
        return f"training {name} is {status.state}, and did not stop: {', '.join(left) or 'the reason is unknown'}"
    return f"training {name} has stopped: {status.reason}"


def follow_training(db: Database, name: str) -> Iterator[FollowEvent]:
    """Yield the log of a training from its beginning, and its status, until it ends.

    Raises:
        KdtuiError: its host cannot be reached at all, or refuses.
    """
    return backend_of(db, get_job(db, name)).follow()


def log_of_training(db: Database, name: str) -> Iterator[bytes]:
    """Yield the log of a training in chunks.

    Raises:
        KdtuiError: its host cannot be reached.
    """
    return backend_of(db, get_job(db, name)).log()


def fetch_training(db: Database, name: str, *, checkpoints: bool = False) -> Fetched:
    """Fetch the results of a training, and name its adapter.

    Raises:
        KdtuiError: it is on this machine, has nothing to fetch, its host cannot be reached, or its adapter cannot be
            converted.
    """
    count = backend_of(db, get_job(db, name)).fetch(checkpoints=checkpoints)
    training = finish_job(db, name)
    if training.status.state == "failed" and known_status(training.job).state == "done":
        raise KdtuiError(f"training {name!r}: {training.status.reason}")
    return Fetched(count, training)


def remove_training(db: Database, name: str, *, keep: bool = False) -> None:
    """Delete a training with its directory, checkpoints and adapter, on its host too.

    Args:
        keep: keep its directory on the host, and only forget the training.

    Raises:
        KdtuiError: it is running, or its host cannot be reached.
    """
    job = get_job(db, name)
    backend_of(db, job).remove(keep=keep)
    keep_pace(db, job)
    on_this_machine.delete_locally(db, job)
