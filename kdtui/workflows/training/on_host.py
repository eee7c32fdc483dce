"""Trainings on other machines: brought there, looked at, stopped, and fetched. What a host does goes on without us."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

from kdtui.errors import KdtuiError
from kdtui.jobs.client import HostClient, reach
from kdtui.workflows.async_events import iterate
from kdtui.workflows.job_state import JobRow, is_to_fetch
from kdtui.workflows.training.host_status import ask_host, look_up_status, remember_status_of
from kdtui.workflows.training.jobs import check_active
from models.files.whole_files import put_in_place
from models.sft.job_files import ADAPTER, CHECKPOINTS, LOG, METRICS
from models.sft.processes import HasStopped, Stopping
from store.hosts import get_host, list_hosts
from store.jobs import StoredJob, list_jobs
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class HostSeen:
    """How the trainings of a host are; a host that cannot be reached says why instead."""

    host: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class TrainingFetched:
    """What a training has made has come home, in so many files; or a problem says why not."""

    name: str
    files: int
    problem: str | None = None


def refresh(
    db: Database, names: set[str] | None = None, *, bring_home: bool = False
) -> Iterator[HostSeen | TrainingFetched]:
    """Look at all trainings on all hosts at once, one question a host, and remember how they are.

    Args:
        names: of the trainings; None for all.
        bring_home: fetch the adapters of those that are done, through the same connection.
    """
    by_host: dict[str, list[StoredJob]] = {}
    for job in list_jobs(db):
        if job.host is not None and (names is None or job.name in names):
            by_host.setdefault(job.host, []).append(job)
    hosts = {host.name: host for host in list_hosts(db)}

    async def look_at(name: str) -> AsyncGenerator[HostSeen | TrainingFetched]:
        try:
            async with reach(hosts[name]) as client:
                told = await client.ask("status", jobs=[job.name for job in by_host[name]])
                rows = [JobRow(job, remember_status_of(db, job, told[job.name])) for job in by_host[name]]
                yield HostSeen(name, None)
                for row in filter(is_to_fetch, rows if bring_home else ()):
                    try:
                        yield TrainingFetched(row.job.name, await _fetch(client, row, checkpoints=False))
                    except KdtuiError as problem:
                        yield TrainingFetched(row.job.name, 0, str(problem))
        except KdtuiError as problem:
            yield HostSeen(name, str(problem))

    async def look_at_all() -> AsyncGenerator[HostSeen | TrainingFetched]:
        events: asyncio.Queue[HostSeen | TrainingFetched | None] = asyncio.Queue()

        async def tell(name: str) -> None:
            try:
                async for event in look_at(name):
                    events.put_nowait(event)
            finally:
                events.put_nowait(None)

        tasks = [asyncio.create_task(tell(name)) for name in by_host]
        left = len(tasks)
        try:
            while left:
                event = await events.get()
                if event is None:
                    left -= 1
                else:
                    yield event
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return iterate(look_at_all())


def cancel(db: Database, job: StoredJob, *, grace: float) -> Iterator[Stopping | HasStopped]:
    """Stop a training on its host, and see how it is then.

    Raises:
        TransportError: the host cannot be reached.
        KdtuiError: it is not running.
    """
    assert job.host is not None
    host = get_host(db, job.host)

    async def ask() -> AsyncGenerator[Stopping | HasStopped]:
        async with reach(host) as client:
            check_active(job.name, await look_up_status(db, client, job))
            async for event in client.cancel(job.name, job.key, grace):
                if isinstance(event, HasStopped):
                    await look_up_status(db, client, job)
                yield event

    return iterate(ask())


def fetch(db: Database, job: StoredJob, *, checkpoints: bool = False) -> int:
    """Bring home what has come of a training, as far as it is not here; how many files came.

    Args:
        checkpoints: those too.

    Raises:
        TransportError: the host cannot be reached, or the way was lost; the same again goes on.
        KdtuiError: there is nothing to fetch, or it did not come whole.
    """

    async def ask(client: HostClient) -> int:
        return await _fetch(client, JobRow(job, await look_up_status(db, client, job)), checkpoints=checkpoints)

    return ask_host(db, job, ask)


async def _fetch(client: HostClient, row: JobRow, *, checkpoints: bool) -> int:
    job, seen = row.job, row.status
    if seen.state != "done" and not checkpoints:
        raise KdtuiError(f"training {job.name!r} has no adapter yet; it is {seen.state}")
    count = await client.fetch(job.name, job.key, [CHECKPOINTS], job.folder) if checkpoints else 0
    # Before the adapter: what has an adapter here is not fetched again by itself.
    for name in (LOG, METRICS):
        part = job.folder / f"{name}.part"
        with part.open("wb") as file:
            async for chunk in client.pieces(f"{client.job_folder(job.name)}/{name}"):
                file.write(chunk)
        put_in_place(part, job.folder / name)
    if seen.state == "done":
        count += await client.fetch(job.name, job.key, [ADAPTER], job.folder)
    return count


def remove(db: Database, job: StoredJob) -> None:
    """Delete the directory of a training on its host.

    Raises:
        TransportError: the host cannot be reached.
        KdtuiError: it is running.
    """
    ask_host(db, job, lambda client: client.ask("remove", job=job.name, id=job.key))
