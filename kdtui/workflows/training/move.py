"""Move a training to another host or to this machine."""

from socket import gethostname

from kdtui.errors import KdtuiError
from kdtui.jobs.client import HostClient, reach
from kdtui.jobs.transport import TransportError
from kdtui.workflows.async_events import finish
from kdtui.workflows.job_state import known_status
from kdtui.workflows.training.base_files import check_base_is_here, find_base
from kdtui.workflows.training.host_status import ask_host, remember_status_of
from kdtui.workflows.training.paces import keep_training_pace as keep_pace
from models.sft.job_files import CHECKPOINTS, METRICS, START, TRAIN, VALID
from models.sft.state import ACTIVE, JobStatus
from store.hosts import Host, get_host
from store.jobs import StoredJob, get_job, move_job
from store.sqlite import Database


def move_training(db: Database, job: StoredJob, host: str | None, *, from_here: bool = False) -> StoredJob:
    """Have a training go on elsewhere, from its last checkpoint: on another host, or here (None).

    Args:
        from_here: leave its host alone, which is gone for good, and go on from what has come home of it.

    Raises:
        TransportError: its host cannot be reached.
        KdtuiError: it is running, or done, or its base or its training set is not here.
    """
    target = None if host is None else get_host(db, host)
    find_base(db, job)
    check_base_is_here(job, None if target is None else target.workdir)
    if job.host is None:
        _check_stopped(job, known_status(job))
    elif not from_here:
        try:
            ask_host(db, job, lambda client: _bring_home(db, client, job))
        except TransportError as problem:
            raise TransportError(
                f"{problem}; if {job.host} is gone for good, the same with --from-here goes on from what is here"
            ) from problem
    if not (job.folder / TRAIN).exists():
        raise KdtuiError(f"the training set of {job.name!r} is not here; only host {job.host} has it")
    if target is not None:
        # It may have been there before: what is here now is newer.
        finish(_clear(job, target))
    if job.host is not None and not from_here:
        # From now on it is not to be started there, by whoever knows it there. Before it is remembered here: otherwise
        # a client that is killed now would leave two that can be started.
        to = f"on {gethostname()}" if target is None else f"on host {target.name} ({target.ssh or gethostname()})"
        ask_host(db, job, lambda client: client.ask("leave", job=job.name, id=job.key, to=to))
    keep_pace(db, job)
    move_job(db, job.name, host)
    return get_job(db, job.name)


async def _bring_home(db: Database, client: HostClient, job: StoredJob) -> None:
    """What a training needs to go on elsewhere, unless its host has nothing of it."""
    told = (await client.ask("status", jobs=[job.name]))[job.name]
    seen = remember_status_of(db, job, told)
    _check_stopped(job, seen)
    if told["exists"] and seen.state != "created":
        await client.fetch(job.name, job.key, [CHECKPOINTS, METRICS], job.folder)
        if not (job.folder / TRAIN).exists():
            await client.fetch(job.name, job.key, [TRAIN, VALID, START], job.folder)


async def _clear(job: StoredJob, host: Host) -> None:
    async with reach(host) as client:
        await client.ask("remove", job=job.name, id=job.key)


def _check_stopped(job: StoredJob, seen: JobStatus) -> None:
    if seen.state in (*ACTIVE, "done"):
        raise KdtuiError(f"training {job.name!r} is {seen.state}; only one that has stopped can go on elsewhere")
