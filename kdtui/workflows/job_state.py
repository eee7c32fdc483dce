"""The status of trainings, and the conversion of finished adapters."""

import fcntl
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep
from typing import IO

import msgspec

from models.embedded import NAME, embedded_student
from models.errors import ModelError
from models.sft.job import read_job
from models.sft.job_files import ADAPTER, JOB
from models.sft.state import JobStatus, job_status
from store.errors import NotFound
from store.jobs import StoredJob, get_job, list_jobs
from store.models import NamedModel, add_model, named_model
from store.sqlite import Database

_CONVERTS = 30.0
"""Seconds to wait while another process converts the adapter."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """A training and its status."""

    job: StoredJob
    status: JobStatus


def all_jobs(db: Database) -> list[JobRow]:
    """All trainings, the newest first; the adapters of those that are done get their names."""
    return [_row(db, job) for job in list_jobs(db)]


def known_jobs(db: Database) -> list[JobRow]:
    """All trainings as they are known, the newest first; what is done is not made ready for use by that."""
    return [JobRow(job, known_status(job)) for job in list_jobs(db)]


def one_job(db: Database, name: str) -> JobRow:
    """One training; its adapter gets its name if it is done.

    Raises:
        NotFound: there is none of that name.
    """
    return _row(db, get_job(db, name))


def _row(db: Database, job: StoredJob) -> JobRow:
    row = JobRow(job, known_status(job))
    try:
        settle(db, row)
    except PermissionError:
        # Who may only look at it sees it all the same.
        return row
    except ModelError as error:
        # The others are to be seen all the same.
        return JobRow(job, replace(row.status, state="failed", reason=f"its adapter cannot be converted: {error}"))
    return row


def known_status(job: StoredJob) -> JobStatus:
    """Return the status of a training; on a host, the status when it was last checked."""
    if job.host is None:
        return job_status(job.folder)
    if job.status is None:
        return JobStatus("created")
    try:
        return msgspec.json.decode(job.status, type=JobStatus)
    except msgspec.MsgspecError:
        # Another version stored it.
        return JobStatus("stalled", reason="its last known status cannot be read")


def is_to_fetch(row: JobRow) -> bool:
    """Return whether a training is done on a host, and its adapter is not on this machine yet."""
    return row.job.host is not None and row.status.state == "done" and not (row.job.folder / ADAPTER).exists()


def settle(db: Database, row: JobRow) -> None:
    """Convert the adapter of a training that is done, once, and register it under the name of the training.

    Raises:
        ModelError: the adapter cannot be converted.
    """
    if row.status.state != "done" or not (row.job.folder / ADAPTER).is_dir() or _is_named(db, row.job.name):
        return
    from models.adapters.conversion import convert

    # Whoever sees that it is done does this: several threads of the app, and other programs.
    with (row.job.folder / "settle.lock").open("a", encoding="utf-8") as lock:
        # One that is stuck there is not waited for by everybody who asks how trainings are.
        if not _comes(lock) or _is_named(db, row.job.name):
            return
        settings = read_job(row.job.folder / JOB)
        target = row.job.folder / f"{row.job.name}.gguf"
        convert(row.job.folder / ADAPTER, row.job.folder / ADAPTER, target)
        # The file goes with the folder of the training, not with the name.
        add_model(
            db, NamedModel(row.job.name, target, f"training on {Path(settings.base).name}", made=False, kind="adapter")
        )


def _comes(lock: IO[str]) -> bool:
    """Whether a lock is had within the time that a conversion may take."""
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


def base_of(job: StoredJob) -> str | None:
    """Return the base of a training as a student is named: the embedded one by its name, others by their file.

    None for a transformers folder or id, which cannot be a student.

    Raises:
        ModelError: its job file cannot be read.
    """
    base = Path(read_job(job.folder / JOB).base)
    if base.suffix != ".gguf":
        return None
    return NAME if base.name == embedded_student().name else str(base)
