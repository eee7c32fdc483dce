"""Finish trainings that are done: convert the adapter, and name it after the training."""

import fcntl
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import IO

from kdtui.workflows.job_state import Training, known_status
from kdtui.workflows.kept_sums import keep_sum
from models.errors import ModelError
from models.sft.job import read_job
from models.sft.job_files import ADAPTER, JOB
from store.errors import NotFound
from store.jobs import StoredJob, get_job, list_jobs
from store.models import NamedModel, add_model, named_model
from store.sqlite import Database

_CONVERTS = 30.0
"""Seconds to wait while another process converts the adapter."""


def finish_jobs(db: Database) -> list[Training]:
    """Name the adapters of all finished trainings, and return all trainings, the newest first.

    See `finish_job`.
    """
    return [_finished(db, job) for job in list_jobs(db)]


def finish_job(db: Database, name: str) -> Training:
    """Name the adapter of a training if it is done, and return the training.

    If the adapter cannot be converted, the returned status is "failed". Without the right to write, nothing is named.

    Raises:
        NotFound: there is no training of that name.
    """
    return _finished(db, get_job(db, name))


def _finished(db: Database, job: StoredJob) -> Training:
    training = Training(job, known_status(job))
    try:
        name_adapter(db, training)
    except PermissionError:
        # A user who can only read the folder still sees the training.
        return training
    except ModelError as error:
        # One broken adapter must not hide the other trainings.
        return Training(
            job, replace(training.status, state="failed", reason=f"its adapter cannot be converted: {error}")
        )
    return training


def name_adapter(db: Database, training: Training) -> None:
    """Convert the adapter of a finished training, once, and name it after the training.

    Raises:
        ModelError: the adapter cannot be converted.
    """
    job = training.job
    if training.status.state != "done" or not (job.folder / ADAPTER).is_dir() or _is_named(db, job.name):
        return
    from models.adapters.conversion import convert
    from models.adapters.foreign import check_folder

    # Several threads of the app and other processes can do this at the same time.
    with (job.folder / "settle.lock").open("a", encoding="utf-8") as lock:
        # Do not wait forever for a conversion that is stuck in another process.
        if not _acquired(lock) or _is_named(db, job.name):
            return
        settings = read_job(job.folder / JOB)
        check_folder(job.folder / ADAPTER)
        target = job.folder / f"{job.name}.gguf"
        convert(job.folder / ADAPTER, job.folder / ADAPTER, target)
        try:
            keep_sum(target)
        except OSError as error:
            raise ModelError(f"{target}: {error.strerror}") from error
        # The file is deleted with the folder of the training, not with the name.
        add_model(
            db,
            NamedModel(job.name, target, f"training on {Path(settings.base).name}", made=False, kind="adapter"),
        )


def _acquired(lock: IO[str]) -> bool:
    """Return whether the lock was acquired within the time that a conversion may take."""
    limit = monotonic() + _CONVERTS
    while monotonic() < limit:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        sleep(0.05)
    return False


def _is_named(db: Database, name: str) -> bool:
    try:
        named_model(db, name)
    except NotFound:
        return False
    return True
