"""Start, stop, follow and delete trainings on this machine."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from kdtui.errors import KdtuiError
from models.sft.job_files import LOG
from models.sft.log_pieces import LogPosition, new_pieces
from models.sft.processes import HasStopped, Stopping, start_trainer, stop_trainer
from models.sft.state import ACTIVE, JobStatus, job_status
from store.jobs import StoredJob, forget_job, get_job
from store.sqlite import Database

_LOOK = 0.5
"""Seconds between two checks of a training that is followed."""


def launch_locally(db: Database, job: StoredJob) -> int:
    """Start or resume a training on this machine, and return its process id.

    Raises:
        KdtuiError: it is running, or done.
        ModelError: the trainer does not start.
    """
    status = job_status(job.folder)
    if status.state == "done":
        raise KdtuiError(f"training {job.name!r} is done; use its adapter with: --adapter {job.name}")
    if status.state in ACTIVE:
        raise KdtuiError(
            f"training {job.name!r} is running already; follow it with: kdtui sft logs {job.name} --follow"
        )
    # It waits only at its first start. Somebody who resumes it wants it to run now.
    after = get_job(db, job.after).folder if job.after is not None and status.state == "created" else None
    return start_trainer(job.folder, after=after)


def cancel_locally(job: StoredJob, *, grace: float) -> Iterator[Stopping | HasStopped]:
    """Stop a training on this machine; see `models.sft.processes.stop_trainer`.

    Raises:
        KdtuiError: it is not running.
    """
    check_active(job.name, job_status(job.folder))
    yield from stop_trainer(job.folder, grace=grace)


def check_active(name: str, status: JobStatus) -> None:
    """Refuse to stop a training that is not running.

    Raises:
        KdtuiError: it is not running.
    """
    if status.state not in ACTIVE:
        raise KdtuiError(f"training {name!r} is not running; it is {status.state}")


def check_removable(job: StoredJob) -> None:
    """Refuse to delete a training that is running on this machine.

    Raises:
        KdtuiError: it is running.
    """
    if job_status(job.folder).state in ACTIVE:
        raise KdtuiError(f"training {job.name!r} is running; stop it first with: kdtui sft cancel {job.name}")


def delete_locally(db: Database, job: StoredJob) -> None:
    """Delete a training with its local directory and its adapter; see `check_removable`."""
    shutil.rmtree(job.folder, ignore_errors=True)
    forget_job(db, job.name)
    with db.atomic():
        db.execute("DELETE FROM models WHERE name = ? AND kind = 'adapter'", [job.name])


def local_log(job: StoredJob) -> Iterator[bytes]:
    """Yield the log of a training on this machine in chunks."""
    if (job.folder / LOG).exists():
        with (job.folder / LOG).open("rb") as file:
            while chunk := file.read(1 << 16):
                yield chunk


@dataclass(frozen=True, slots=True)
class LogGrew:
    """New text in the log of a training.

    Attributes:
        restarts: whether the log was shortened or replaced, and this is its beginning.
    """

    text: bytes
    restarts: bool = False


@dataclass(frozen=True, slots=True)
class StatusSeen:
    """The status of a training at the moment."""

    status: JobStatus


def follow_locally(folder: Path) -> Iterator[LogGrew | StatusSeen]:
    """Yield the log of a training on this machine from its beginning, and its status, until it ends.

    A log that is shortened or replaced meanwhile is yielded from its beginning.
    """
    position = LogPosition()
    while True:
        # Checked before the log is read, so that nothing written before the end is missed.
        status = job_status(folder)
        for piece in new_pieces(folder / LOG, position):
            yield LogGrew(piece.text, piece.offset < position.offset)
            position = position.after(piece)
        yield StatusSeen(status)
        if status.state not in ACTIVE:
            return
        sleep(_LOOK)
