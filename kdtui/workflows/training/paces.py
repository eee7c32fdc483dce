"""How fast earlier trainings were and what they needed, on this machine and on hosts, to estimate new trainings."""

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
    """Return the paces of trainings, the newest first: of existing trainings, then of deleted ones."""
    current = (_pace_of(db, job) for job in list_jobs(db))
    return [*(pace for pace in current if pace is not None), *kept_paces(db)]


def keep_training_pace(db: Database, job: StoredJob) -> None:
    """Store the pace of a training before it is deleted or moved."""
    if (pace := _pace_of(db, job)) is not None:
        keep_pace(db, pace)


def base_name(job: Job) -> str:
    """Return the machine-independent name of a base: of its file or folder, or an id on a hub."""
    return Path(job.base).name if Path(job.base).is_absolute() else job.base


def processes_of(host: Host | None) -> int:
    """Return the number of processes of a training on a host; None for this machine."""
    return 1 if host is None else host.settings.processes * host.settings.nodes


def _pace_of(db: Database, stored: StoredJob) -> TrainingPace | None:
    pace = known_status(stored).pace
    # A training that moved to this machine has the metrics of its host until it writes its own.
    if pace is None or (stored.host is None and pace.machine != gethostname()):
        return None
    try:
        job = read_job(stored.folder / JOB)
        host = None if stored.host is None else get_host(db, stored.host)
    except (ModelError, NotFound):
        # Somebody edited or deleted it.
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
