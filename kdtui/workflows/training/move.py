"""Move a training to another host or to this machine."""

from socket import gethostname

from kdtui.errors import KdtuiError
from kdtui.hosts.client import HostClient, reach
from kdtui.hosts.downloads import download
from kdtui.hosts.transport import TransportError
from kdtui.workflows.async_events import run_async
from kdtui.workflows.job_state import known_status
from kdtui.workflows.training.base_files import check_base_is_here, find_base
from kdtui.workflows.training.host_status import ask_host, ask_status, remember_status_of
from kdtui.workflows.training.paces import keep_training_pace as keep_pace
from models.sft.job_files import CHECKPOINTS, METRICS, START, TRAIN, VALID
from models.sft.protocol import LeaveRequest, RemoveRequest
from models.sft.state import ACTIVE, JobStatus
from store.hosts import Host, get_host
from store.jobs import StoredJob, get_job, move_job
from store.sqlite import Database


def move_training(db: Database, job: StoredJob, host: str | None, *, from_here: bool = False) -> StoredJob:
    """Move a training to another host or to this machine (None), to continue from its last checkpoint.

    Args:
        from_here: do not contact its present host, which is gone for good; continue from what was fetched from it.

    Raises:
        TransportError: its host cannot be reached.
        KdtuiError: it is running, or done, or its base or its training set is not on this machine.
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
                f"{problem}; if {job.host} is gone for good, add --from-here to continue from the files on this machine"
            ) from problem
    if not (job.folder / TRAIN).exists():
        raise KdtuiError(f"the training set of {job.name!r} is not on this machine; only host {job.host} has it")
    if target is not None:
        # The target may have an older copy: the local one is newer.
        run_async(_clear(job, target))
    if job.host is not None and not from_here:
        # From now on, nobody may start it on the old host. Done before the move is stored: otherwise a client that is
        # killed now would leave two copies that can be started.
        to = f"on {gethostname()}" if target is None else f"on host {target.name} ({target.ssh or gethostname()})"
        ask_host(db, job, lambda client: client.ask(LeaveRequest(job.name, job.key, to)))
    keep_pace(db, job)
    move_job(db, job.name, host)
    return get_job(db, job.name)


async def _bring_home(db: Database, client: HostClient, job: StoredJob) -> None:
    """Fetch what a training needs to continue on another machine, unless its host has nothing of it."""
    reported = await ask_status(client, job)
    status = remember_status_of(db, job, reported)
    _check_stopped(job, status)
    if reported.exists and status.state != "created":
        await download(client, job.name, job.key, [CHECKPOINTS, METRICS], job.folder)
        if not (job.folder / TRAIN).exists():
            await download(client, job.name, job.key, [TRAIN, VALID, START], job.folder)


async def _clear(job: StoredJob, host: Host) -> None:
    async with reach(host) as client:
        await client.ask(RemoveRequest(job.name, job.key))


def _check_stopped(job: StoredJob, status: JobStatus) -> None:
    if status.state in (*ACTIVE, "done"):
        raise KdtuiError(f"training {job.name!r} is {status.state}; only a stopped training can be moved")
