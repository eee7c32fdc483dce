"""Trainings and their status. Nothing here changes a training; `finish_jobs` names the adapters of finished ones."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from models.embedded import NAME, embedded_student
from models.sft.job import read_job
from models.sft.job_files import ADAPTER, JOB
from models.sft.state import JobStatus, job_status
from store.jobs import StoredJob, get_job, list_jobs
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Training:
    """A training and its status."""

    job: StoredJob
    status: JobStatus


def known_trainings(db: Database) -> list[Training]:
    """Return all trainings with their known status, the newest first."""
    return [Training(job, known_status(job)) for job in list_jobs(db)]


def known_training(db: Database, name: str) -> Training:
    """Return a training with its known status.

    Raises:
        NotFound: there is no training of that name.
    """
    job = get_job(db, name)
    return Training(job, known_status(job))


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


def is_to_fetch(training: Training) -> bool:
    """Return whether a training is done on a host, and its adapter is not on this machine yet."""
    return (
        training.job.host is not None
        and training.status.state == "done"
        and not (training.job.folder / ADAPTER).exists()
    )


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
