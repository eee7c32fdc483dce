"""How fast trainings were, here and on hosts, and what they needed: what the next one is estimated by."""

from pathlib import Path
from socket import gethostname

from kdtui.workflows.job_state import known_status
from models.errors import ModelError
from models.sft.job import Job, read_job
from models.sft.job_files import JOB
from store.errors import NotFound
from store.hosts import Host, get_host
from store.jobs import StoredJob, list_jobs
from store.paces import TrainingPace, keep_pace, kept_paces
from store.sqlite import Database


def known_paces(db: Database) -> list[TrainingPace]:
    """What is known of trainings, the newest first: of those that there are, and then of others."""
    there = (_pace_of(db, job) for job in list_jobs(db))
    return [*(pace for pace in there if pace is not None), *kept_paces(db)]


def keep_training_pace(db: Database, job: StoredJob) -> None:
    """Keep how fast a training was, before it is deleted or goes on elsewhere."""
    if (pace := _pace_of(db, job)) is not None:
        keep_pace(db, pace)


def base_name(job: Job) -> str:
    """What a base is called wherever it is: its file or folder, or an id on a hub."""
    return Path(job.base).name if Path(job.base).is_absolute() else job.base


def processes_of(host: Host | None) -> int:
    """The processes of a training there."""
    return 1 if host is None else host.settings.processes * host.settings.nodes


def _pace_of(db: Database, stored: StoredJob) -> TrainingPace | None:
    pace = known_status(stored).pace
    # One that went on here after it was on a host has the metrics of that one until it has its own.
    if pace is None or (stored.host is None and pace.machine != gethostname()):
        return None
    try:
        job = read_job(stored.folder / JOB)
        host = None if stored.host is None else get_host(db, stored.host)
    except (ModelError, NotFound):
        # It was edited or deleted by hand.
        return None
    return TrainingPace(
        stored.key,
        stored.host,
        base_name(job),
        stored.settings.form,
        job.batch_tokens,
        job.precision,
        job.recompute,
        processes_of(host),
        pace.tokens_per_second,
        pace.start_seconds,
        pace.valid_seconds,
        pace.peak_memory_bytes,
        pace.device,
    )
