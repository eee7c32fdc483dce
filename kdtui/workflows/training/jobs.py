"""Fine-tuning: a training set becomes a job directory, a job becomes an adapter, and the adapter gets its name."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from kdtui.errors import KdtuiError
from models.sft.job_files import LOG
from models.sft.processes import HasStopped, Stopping, start_trainer, stop_trainer
from models.sft.state import ACTIVE, JobStatus, job_status
from store.jobs import StoredJob, forget_job, get_job
from store.sqlite import Database

_LOOK = 0.5
"""Seconds between two looks at a training that is followed."""


def launch(db: Database, job: StoredJob) -> int:
    """Start a training here, or go on with it, and return its process id.

    Raises:
        KdtuiError: it is running, or done.
        ModelError: the trainer does not start.
    """
    status = job_status(job.folder)
    if status.state == "done":
        raise KdtuiError(f"training {job.name!r} is done; its adapter is used with: --adapter {job.name}")
    if status.state in ACTIVE:
        raise KdtuiError(f"training {job.name!r} is at work already; kdtui sft logs {job.name} --follow shows it")
    # It has waited once; whoever goes on with it by hand means that.
    after = get_job(db, job.after).folder if job.after is not None and status.state == "created" else None
    return start_trainer(job.folder, after=after)


def cancel(job: StoredJob, *, grace: float) -> Iterator[Stopping | HasStopped]:
    """Stop a training here; see `models.sft.processes.stop_trainer`.

    Raises:
        KdtuiError: it is not running.
    """
    check_active(job.name, job_status(job.folder))
    yield from stop_trainer(job.folder, grace=grace)


def check_active(name: str, status: JobStatus) -> None:
    """Refuse to stop what is not running.

    Raises:
        KdtuiError: it is not.
    """
    if status.state not in ACTIVE:
        raise KdtuiError(f"training {name!r} is not running; it is {status.state}")


def check_removable(job: StoredJob) -> None:
    """Refuse to delete what runs here.

    Raises:
        KdtuiError: it does.
    """
    if job.host is None and job_status(job.folder).state in ACTIVE:
        raise KdtuiError(f"training {job.name!r} is running; stop it first with: kdtui sft cancel {job.name}")


def remove(db: Database, job: StoredJob) -> None:
    """Forget a training, and delete its directory here and its adapter; see `check_removable`."""
    shutil.rmtree(job.folder, ignore_errors=True)
    forget_job(db, job.name)
    with db.atomic():
        db.execute("DELETE FROM models WHERE name = ? AND kind = 'adapter'", [job.name])


def log_of(job: StoredJob) -> Iterator[bytes]:
    """The log of a training here, piece by piece."""
    if (job.folder / LOG).exists():
        with (job.folder / LOG).open("rb") as file:
            while chunk := file.read(1 << 16):
                yield chunk


@dataclass(frozen=True, slots=True)
class LogGrew:
    """The log of a training has more."""

    text: bytes


@dataclass(frozen=True, slots=True)
class StatusSeen:
    """How a training is at the moment."""

    status: JobStatus


def follow(folder: Path) -> Iterator[LogGrew | StatusSeen]:
    """The log of a training here from its beginning, and how it is, until it ends."""
    offset = 0
    while True:
        # Looked at first: what was written before the end is not missed.
        status = job_status(folder)
        if (folder / LOG).exists():
            with (folder / LOG).open("rb") as file:
                file.seek(offset)
                while chunk := file.read(1 << 16):
                    offset += len(chunk)
                    yield LogGrew(chunk)
        yield StatusSeen(status)
        if status.state not in ACTIVE:
            return
        sleep(_LOOK)
