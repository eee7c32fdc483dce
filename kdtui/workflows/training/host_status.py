"""Ask the host of a training for its status, and store it."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TypeVar

import msgspec

from kdtui.hosts.client import HostClient, reach
from kdtui.workflows.async_events import run_async
from kdtui.workflows.job_state import known_status
from models.sft.protocol import StatusRequest, TrainingAnswer
from models.sft.state import JobStatus
from store.hosts import get_host
from store.jobs import StoredJob, remember_status
from store.sqlite import Database

Answer = TypeVar("Answer")


async def look_up_status(db: Database, client: HostClient, job: StoredJob) -> JobStatus:
    """Ask a connected host for the status of a training, and store it.

    Raises:
        TransportError: the connection was lost.
    """
    return remember_status_of(db, job, await ask_status(client, job))


async def ask_status(client: HostClient, job: StoredJob) -> TrainingAnswer:
    """Ask a connected host for the state of a training."""
    return (await client.ask(StatusRequest((job.name,)))).trainings[job.name]


def remember_status_of(db: Database, job: StoredJob, reported: TrainingAnswer) -> JobStatus:
    """Store the status that a host reported for a training, and return it."""
    try:
        status = msgspec.convert(reported.status, JobStatus)
        if status.pace is not None and status.pace.tokens_per_second <= 0:
            # Estimates divide by it.
            raise msgspec.ValidationError("its speed is not positive")
    except msgspec.ValidationError as error:
        status = JobStatus("failed", reason=f"its files hold invalid values ({error})")
    if reported.id not in (None, job.key):
        status = JobStatus("failed", reason="another training has taken its directory on the host")
    elif not reported.exists and known_status(job).state == "created":
        # It has not been sent yet.
        status = JobStatus("created")
    remember_status(db, job.name, msgspec.json.encode(asdict(status)).decode())
    return status


def ask_host(db: Database, job: StoredJob, ask: Callable[[HostClient], Awaitable[Answer]]) -> Answer:
    """Connect to the host of a training for one request."""
    assert job.host is not None
    host = get_host(db, job.host)

    async def reached() -> Answer:
        async with reach(host) as client:
            return await ask(client)

    return run_async(reached())
