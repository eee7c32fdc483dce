"""Adopt trainings that a host has and this store does not know."""

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kdtui.errors import KdtuiError
from kdtui.hosts.client import HostClient, reach
from kdtui.hosts.transport import TransportError
from kdtui.workflows.async_events import iterate, run_async
from kdtui.workflows.manage_models import checked_name
from kdtui.workflows.training.base_files import check_named_base, find_base
from kdtui.workflows.training.host_status import remember_status_of
from kdtui.workflows.training.new_job import is_taken, new_job
from models.sft.job_files import ID, JOB
from models.sft.protocol import DescribeRequest, StatusRequest, TrainingsRequest
from store.errors import NotFound
from store.hosts import Host
from store.jobs import StoredJob, get_job, list_jobs
from store.records import TrainingSettings
from store.sqlite import Database


def adopt_training(db: Database, host: Host, name: str, folder: Path) -> StoredJob:
    """Adopt a training that a host has and this store does not know.

    Args:
        name: of its directory on the host.
        folder: of the job directories on this machine.

    Raises:
        TransportError: the host cannot be reached.
        KdtuiError: there is no such training, one of this name is known, or its base cannot be one.
    """

    async def ask() -> StoredJob:
        async with reach(host) as client:
            return await _adopt(db, client, name, folder)

    return run_async(ask())


@dataclass(frozen=True, slots=True)
class TrainingAdopted:
    """A training of a host that this store knows now.

    Attributes:
        problem: why it could not be adopted; None if it was.
    """

    name: str
    problem: str | None = None


def adopt_trainings(db: Database, host: Host, folder: Path) -> Iterator[TrainingAdopted]:
    """Adopt all trainings that a host has and this store does not know, and store their status.

    Args:
        folder: of the job directories on this machine.

    Raises:
        TransportError: the host cannot be reached, or the connection was lost; another call resumes.
    """

    async def ask() -> AsyncGenerator[TrainingAdopted]:
        async with reach(host) as client:
            known = {job.key for job in list_jobs(db)}
            jobs = []
            for name, key in (await client.ask(TrainingsRequest())).keys.items():
                if (key or name) in known:
                    continue
                try:
                    jobs.append(await _adopt(db, client, name, folder))
                except TransportError:
                    raise
                except KdtuiError as problem:
                    yield TrainingAdopted(name, str(problem))
                    continue
                yield TrainingAdopted(name)
            if jobs:
                answer = await client.ask(StatusRequest(tuple(job.name for job in jobs)))
                for job in jobs:
                    remember_status_of(db, job, answer.trainings[job.name])

    return iterate(ask())


async def _adopt(db: Database, client: HostClient, name: str, folder: Path) -> StoredJob:
    # Do not trust the host: no name that it sends may lead out of the folder.
    checked_name(name)
    with suppress(NotFound):
        known = get_job(db, name).name
        raise KdtuiError(f"there is a training {known!r} already; kdtui sft rm {known} deletes it with its files")
    described = await client.ask(DescribeRequest(name))
    check_named_base(described.job.get("base"), f"training {name!r} of host {client.host.name}")
    target = folder / name
    if is_taken(db, target):
        raise KdtuiError(f"{target}: there is a folder of this name already; move it away")
    try:
        settings = msgspec.convert(described.job.get("manifest", {}), TrainingSettings)
    except msgspec.ValidationError:
        # It was not made by kdtui. What it was trained on is in its own file.
        settings = TrainingSettings(())
    key = described.id or name
    with new_job(db, name, target, settings, key, host=client.host.name) as part:
        (part / JOB).write_text(json.dumps(described.job, indent=2) + "\n", encoding="utf-8")
        (part / ID).write_text(key, encoding="utf-8")
    job = get_job(db, name)
    find_base(db, job)
    return job
