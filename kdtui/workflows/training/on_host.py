"""Check, stop, fetch and delete trainings on hosts. A host continues its trainings when it is not connected."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

from kdtui.errors import KdtuiError
from kdtui.hosts.client import HostClient, reach
from kdtui.hosts.downloads import download
from kdtui.workflows.async_events import iterate
from kdtui.workflows.job_state import Training, is_to_fetch
from kdtui.workflows.training.host_status import ask_host, look_up_status, remember_status_of
from kdtui.workflows.training.on_this_machine import check_active
from models.sft.job_files import ADAPTER, CHECKPOINTS, LOG, METRICS
from models.sft.processes import HasStopped, Stopping
from models.sft.protocol import RemoveRequest, StatusRequest
from store.hosts import get_host, list_hosts
from store.jobs import StoredJob, list_jobs
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class HostSeen:
    """A host whose trainings were checked.

    Attributes:
        problem: why the host cannot be reached; None if it was.
    """

    host: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class TrainingFetched:
    """A training whose results were fetched.

    Attributes:
        files: that were fetched.
        problem: why they could not be; None if they were.
    """

    name: str
    files: int
    problem: str | None = None


def check_trainings(
    db: Database, names: set[str] | None = None, *, bring_home: bool = False
) -> Iterator[HostSeen | TrainingFetched]:
    """Check trainings on all hosts at once, with one request per host, and store their status.

    Args:
        names: of the trainings; None for all.
        bring_home: also fetch the adapters of finished trainings, through the same connection.
    """
    by_host: dict[str, list[StoredJob]] = {}
    for job in list_jobs(db):
        if job.host is not None and (names is None or job.name in names):
            by_host.setdefault(job.host, []).append(job)
    hosts = {host.name: host for host in list_hosts(db)}

    async def check_one(name: str) -> AsyncGenerator[HostSeen | TrainingFetched]:
        try:
            async with reach(hosts[name]) as client:
                answer = await client.ask(StatusRequest(tuple(job.name for job in by_host[name])))
                trainings = [
                    Training(job, remember_status_of(db, job, answer.trainings[job.name])) for job in by_host[name]
                ]
                yield HostSeen(name, None)
                for training in filter(is_to_fetch, trainings if bring_home else ()):
                    try:
                        yield TrainingFetched(training.job.name, await _fetch(client, training, checkpoints=False))
                    except KdtuiError as problem:
                        yield TrainingFetched(training.job.name, 0, str(problem))
        except KdtuiError as problem:
            yield HostSeen(name, str(problem))

    async def check_all() -> AsyncGenerator[HostSeen | TrainingFetched]:
        events: asyncio.Queue[HostSeen | TrainingFetched | None] = asyncio.Queue()

        async def queue_events(name: str) -> None:
            try:
                async for event in check_one(name):
                    events.put_nowait(event)
            finally:
                events.put_nowait(None)

        tasks = [asyncio.create_task(queue_events(name)) for name in by_host]
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

    return iterate(check_all())


def cancel_on_host(db: Database, job: StoredJob, *, grace: float) -> Iterator[Stopping | HasStopped]:
    """Stop a training on its host, and store its status afterwards.

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


def fetch_from_host(db: Database, job: StoredJob, *, checkpoints: bool = False) -> int:
    """Fetch the results of a training that are not on this machine yet, and return the number of files fetched.

    Args:
        checkpoints: fetch the checkpoints too.

    Raises:
        TransportError: the host cannot be reached, or the connection was lost; another call resumes.
        KdtuiError: there is nothing to fetch, or a file did not arrive whole.
    """

    async def ask(client: HostClient) -> int:
        return await _fetch(client, Training(job, await look_up_status(db, client, job)), checkpoints=checkpoints)

    return ask_host(db, job, ask)


async def _fetch(client: HostClient, training: Training, *, checkpoints: bool) -> int:
    job, status = training.job, training.status
    if status.state != "done" and not checkpoints:
        raise KdtuiError(f"training {job.name!r} has no adapter yet; it is {status.state}")
    names = [*([CHECKPOINTS] if checkpoints else []), LOG, METRICS, *([ADAPTER] if status.state == "done" else [])]
    return await download(client, job.name, job.key, names, job.folder)


def remove_from_host(db: Database, job: StoredJob) -> None:
    """Delete the directory of a training on its host.

    Raises:
        TransportError: the host cannot be reached.
        KdtuiError: it is running.
    """
    ask_host(db, job, lambda client: client.ask(RemoveRequest(job.name, job.key)))
