"""Ask the host of a training how the training is, and remember the answer."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeVar

import msgspec

from kdtui.jobs.client import HostClient, reach
from kdtui.workflows.async_events import finish
from kdtui.workflows.job_state import known_status
from models.sft.state import JobStatus
from store.hosts import get_host
from store.jobs import StoredJob, remember_status
from store.sqlite import Database

Answer = TypeVar("Answer")


def status(db: Database, job: StoredJob) -> JobStatus:
    """How a training is on its host now.

    Raises:
        TransportError: the host cannot be reached.
    """
    return ask_host(db, job, lambda client: look_up_status(db, client, job))


async def look_up_status(db: Database, client: HostClient, job: StoredJob) -> JobStatus:
    """Ask a host that is reached how a training is, and remember it.

    Raises:
        TransportError: the way was lost.
    """
    return remember_status_of(db, job, (await client.ask("status", jobs=[job.name]))[job.name])


def remember_status_of(db: Database, job: StoredJob, told: dict[str, Any]) -> JobStatus:
    try:
        seen = msgspec.convert(told, JobStatus)
    except msgspec.ValidationError as error:
        seen = JobStatus("failed", reason=f"its files say what cannot be ({error})")
    if told["id"] not in (None, job.key):
        seen = JobStatus("failed", reason="another training has taken its directory on the host")
    elif not told["exists"] and known_status(job).state == "created":
        # It has not been brought yet.
        seen = JobStatus("created")
    remember_status(db, job.name, msgspec.json.encode(asdict(seen)).decode())
    return seen


def ask_host(db: Database, job: StoredJob, ask: Callable[[HostClient], Awaitable[Answer]]) -> Answer:
    """Reach the host of a training for one question."""
    assert job.host is not None
    host = get_host(db, job.host)

    async def reached() -> Answer:
        async with reach(host) as client:
            return await ask(client)

    return finish(reached())
