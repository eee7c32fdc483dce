"""Trainings on other machines: brought there, looked at, stopped, and fetched. What a host does goes on without us."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from socket import gethostname
from typing import TypeVar

import msgspec

from kdtui.errors import KdtuiError
from kdtui.jobs import package
from kdtui.jobs.client import HostClient, reach
from kdtui.jobs.downloads import download
from kdtui.jobs.package import TRAINER_PACKAGES
from kdtui.jobs.slurm_script import slurm_script
from kdtui.jobs.transport import TransportError
from kdtui.jobs.uploads import upload
from kdtui.workflows.async_events import finish, iterate
from kdtui.workflows.job_state import JobRow, is_to_fetch, known_status
from kdtui.workflows.manage_models import checked_name
from kdtui.workflows.training.base_files import check_base, find_base
from kdtui.workflows.training.jobs import LogGrew, StatusSeen, check_active
from kdtui.workflows.training.paces import keep as keep_pace
from models.files.json_files import read_object
from models.files.whole_files import replacing
from models.sft.job_files import ADAPTER, CHECKPOINTS, ID, JOB, LOG, METRICS, START, TRAIN, VALID
from models.sft.processes import HasStopped, Stopping
from models.sft.protocol import (
    DescribeRequest,
    InventoryRequest,
    LaunchRequest,
    LeaveRequest,
    PackagesAnswer,
    RemoveRequest,
    StatusRequest,
    TrainingAnswer,
    TrainingsRequest,
)
from models.sft.state import ACTIVE, JobStatus
from store.errors import NotFound
from store.hosts import Host, get_host, list_hosts
from store.jobs import StoredJob, add_job, get_job, list_jobs, move_job, remember_status
from store.records import TrainingSettings
from store.sqlite import Database

PAUSES = (1, 2, 5, 10, 30)
"""Seconds before a lost connection is tried again; the last one for ever."""

_LOOK = 5.0
"""Seconds between two looks at a training that is followed."""

_QUIET = 10.0
"""Seconds that the rest of a log may take to come, when its training has ended."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Bringing:
    """A host does not have this yet; `size` in bytes."""

    what: str
    size: int


@dataclass(frozen=True, slots=True)
class Submitting:
    """What Slurm will run."""

    script: str


@dataclass(frozen=True, slots=True)
class Launched:
    """A training runs, or waits in a queue; `number` is that of its process, or of Slurm."""

    host: str
    number: int
    launcher: str


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The way to a host was lost while a training was followed; it is tried again."""

    problem: str


@dataclass(frozen=True, slots=True)
class HostSeen:
    """How the trainings of a host are; a host that cannot be reached says why instead."""

    host: str
    problem: str | None


def launch(db: Database, job: StoredJob) -> Iterator[Bringing | Submitting | Launched]:
    """Bring a training to its host, and start it, or go on with it. After an interrupt the same again goes on.

    Raises:
        TransportError: the host cannot be reached, or the way was lost.
        KdtuiError: the host says why it cannot.
    """
    assert job.host is not None
    return iterate(_launch(db, job, get_host(db, job.host)))


async def _launch(db: Database, job: StoredJob, host: Host) -> AsyncGenerator[Bringing | Submitting | Launched]:
    content = read_object(job.folder / JOB)
    base = Path(content["base"])
    tree = await asyncio.to_thread(package.Tree.of, base) if base.exists() else None
    async with reach(host) as client:
        # Commands that run before the training can select another Python.
        packages = () if host.settings.commands else (*TRAINER_PACKAGES, *(("gguf",) if base.suffix == ".gguf" else ()))
        inventory = await client.ask(
            InventoryRequest(
                job.name,
                key="" if tree is None else tree.key,
                files=() if tree is None else tuple((each.name, each.size) for each in tree.files),
                python=host.settings.python,
                packages=packages,
            )
        )
        if inventory.id not in (None, job.key):
            raise KdtuiError(f"host {host.name}: another training is called {job.name!r} there; choose another --name")
        if inventory.state == "done":
            is_here = (job.folder / ADAPTER).exists()
            how = f"its adapter is used with: --adapter {job.name}" if is_here else f"kdtui sft fetch {job.name}"
            raise KdtuiError(f"training {job.name!r} is done; {how}")
        _check_packages(host, inventory.packages)
        if tree is not None:
            missing = sum(each.size for each in tree.files if inventory.files[each.name] != "whole")
            if missing:
                yield Bringing(base.name, missing)
                await upload(client, tree, inventory.files)
            there = client.blob(tree)
            content["base"] = there if base.is_dir() else str(PurePosixPath(there) / base.name)
        has_data = inventory.id is None
        if has_data:
            check_base(job, host.workdir)
            if not (job.folder / TRAIN).exists():
                # It was taken over, and is there no more.
                raise KdtuiError(f"host {host.name}: training {job.name!r}: {(await look(db, client, job)).reason}")
        folder, python = client.job_folder(job.name), inventory.python or host.settings.python
        script = None
        if host.settings.launcher == "slurm":
            script = slurm_script(host.settings, folder, python, client.code)
            yield Submitting(script)
        names = [TRAIN, VALID, START, CHECKPOINTS, METRICS] if has_data else []
        # The key comes last: a directory that has it came whole.
        last = {JOB: json.dumps(content, indent=2).encode(), ID: job.key.encode()}
        with package.packed(job.folder, names, last) as file:
            request = LaunchRequest(
                job=job.name,
                id=job.key,
                launcher=host.settings.launcher,
                python=python,
                code=client.code,
                processes=host.settings.processes,
                # A training waits only once: a user who resumes it by hand does not want it to wait again.
                after=job.after if inventory.state in (None, "created") else None,
                script=script,
                has_data=has_data,
            )
            launched = await client.ask(request, package.chunks(file) if has_data else None)
        yield Launched(host.name, launched.number, host.settings.launcher)


def _check_packages(host: Host, packages: PackagesAnswer | None) -> None:
    problem = None if packages is None else packages.problem
    if packages is not None and problem is None:
        lacking = [name for name, version in packages.found.items() if version is None]
        problem = f"its Python has no {', '.join(lacking)}" if lacking else None
    if problem is not None:
        raise KdtuiError(f"host {host.name}: {problem}; install what trainings need with: kdtui host setup {host.name}")


@dataclass(frozen=True, slots=True)
class CameHome:
    """What a training has made has come home, in so many files; or a problem says why not."""

    name: str
    files: int
    problem: str | None = None


def refresh(db: Database, names: set[str] | None = None, *, bring_home: bool = False) -> Iterator[HostSeen | CameHome]:
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

    async def look_at(name: str) -> AsyncGenerator[HostSeen | CameHome]:
        try:
            async with reach(hosts[name]) as client:
                answer = await client.ask(StatusRequest(tuple(job.name for job in by_host[name])))
                rows = [JobRow(job, _remember(db, job, answer.trainings[job.name])) for job in by_host[name]]
                yield HostSeen(name, None)
                for row in filter(is_to_fetch, rows if bring_home else ()):
                    try:
                        yield CameHome(row.job.name, await _fetch(client, row, checkpoints=False))
                    except KdtuiError as problem:
                        yield CameHome(row.job.name, 0, str(problem))
        except KdtuiError as problem:
            yield HostSeen(name, str(problem))

    async def look_at_all() -> AsyncGenerator[HostSeen | CameHome]:
        events: asyncio.Queue[HostSeen | CameHome | None] = asyncio.Queue()

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
            check_active(job.name, await look(db, client, job))
            async for event in client.cancel(job.name, job.key, grace):
                if isinstance(event, HasStopped):
                    await look(db, client, job)
                yield event

    return iterate(ask())


def status(db: Database, job: StoredJob) -> JobStatus:
    """How a training is on its host now.

    Raises:
        TransportError: the host cannot be reached.
    """
    return _with_host(db, job, lambda client: look(db, client, job))


def fetch(db: Database, job: StoredJob, *, checkpoints: bool = False) -> int:
    """Bring home what has come of a training, as far as it is not here; how many files came.

    Args:
        checkpoints: those too.

    Raises:
        TransportError: the host cannot be reached, or the way was lost; the same again goes on.
        KdtuiError: there is nothing to fetch, or it did not come whole.
    """

    async def ask(client: HostClient) -> int:
        return await _fetch(client, JobRow(job, await look(db, client, job)), checkpoints=checkpoints)

    return _with_host(db, job, ask)


async def _fetch(client: HostClient, row: JobRow, *, checkpoints: bool) -> int:
    job, seen = row.job, row.status
    if seen.state != "done" and not checkpoints:
        raise KdtuiError(f"training {job.name!r} has no adapter yet; it is {seen.state}")
    count = await download(client, job.name, job.key, [CHECKPOINTS], job.folder) if checkpoints else 0
    # Before the adapter: what has an adapter here is not fetched again by itself.
    for name in (LOG, METRICS):
        with replacing(job.folder / name) as file:
            async for chunk in client.pieces(f"{client.job_folder(job.name)}/{name}"):
                file.write(chunk)
    if seen.state == "done":
        count += await download(client, job.name, job.key, [ADAPTER], job.folder)
    return count


def log_of(db: Database, job: StoredJob) -> Iterator[bytes]:
    """The log of a training on its host, piece by piece.

    Raises:
        TransportError: the host cannot be reached.
    """
    assert job.host is not None
    host = get_host(db, job.host)

    async def read() -> AsyncGenerator[bytes]:
        async with reach(host) as client:
            async for chunk in client.pieces(f"{client.job_folder(job.name)}/{LOG}"):
                yield chunk

    return iterate(read())


def remove(db: Database, job: StoredJob) -> None:
    """Delete the directory of a training on its host.

    Raises:
        TransportError: the host cannot be reached.
        KdtuiError: it is running.
    """
    _with_host(db, job, lambda client: client.ask(RemoveRequest(job.name, job.key)))


def move(db: Database, job: StoredJob, host: str | None, *, from_here: bool = False) -> StoredJob:
    """Have a training go on elsewhere, from its last checkpoint: on another host, or here (None).

    Args:
        from_here: leave its host alone, which is gone for good, and go on from what has come home of it.

    Raises:
        TransportError: its host cannot be reached.
        KdtuiError: it is running, or done, or its base or its training set is not here.
    """
    target = None if host is None else get_host(db, host)
    find_base(db, job)
    check_base(job, None if target is None else target.workdir)
    if job.host is None:
        _check_stopped(job, known_status(job))
    elif not from_here:
        try:
            _with_host(db, job, lambda client: _bring_home(db, client, job))
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
        _with_host(db, job, lambda client: client.ask(LeaveRequest(job.name, job.key, to)))
    keep_pace(db, job)
    move_job(db, job.name, host)
    return get_job(db, job.name)


async def _bring_home(db: Database, client: HostClient, job: StoredJob) -> None:
    """What a training needs to go on elsewhere, unless its host has nothing of it."""
    training = await _ask_status(client, job)
    seen = _remember(db, job, training)
    _check_stopped(job, seen)
    if training.exists and seen.state != "created":
        await download(client, job.name, job.key, [CHECKPOINTS, METRICS], job.folder)
        if not (job.folder / TRAIN).exists():
            await download(client, job.name, job.key, [TRAIN, VALID, START], job.folder)


async def _clear(job: StoredJob, host: Host) -> None:
    async with reach(host) as client:
        await client.ask(RemoveRequest(job.name, job.key))


def _check_stopped(job: StoredJob, seen: JobStatus) -> None:
    if seen.state in (*ACTIVE, "done"):
        raise KdtuiError(f"training {job.name!r} is {seen.state}; only one that has stopped can go on elsewhere")


def follow(db: Database, job: StoredJob) -> Iterator[LogGrew | StatusSeen | ConnectionLost]:
    """The log of a training on its host from its beginning, and how it is, until it ends. Lost connections come back.

    Raises:
        TransportError: the host cannot be reached at all.
        KdtuiError: the host says why it cannot.
    """
    assert job.host is not None
    return iterate(_follow(db, job, get_host(db, job.host)))


async def _follow(db: Database, job: StoredJob, host: Host) -> AsyncGenerator[LogGrew | StatusSeen | ConnectionLost]:
    shown = lost = 0
    was_there = False
    while True:
        try:
            async with reach(host) as client, aclosing(_watch(db, client, job, shown)) as events:
                async for event in events:
                    lost, was_there = 0, True
                    if isinstance(event, LogGrew):
                        shown += len(event.text)
                    yield event
                return
        except TransportError as problem:
            if not was_there:
                raise
            if not lost:
                yield ConnectionLost(str(problem))
            # It comes back: what happens there goes on meanwhile.
            await asyncio.sleep(PAUSES[min(lost, len(PAUSES) - 1)])
            lost += 1


async def _watch(db: Database, client: HostClient, job: StoredJob, offset: int) -> AsyncGenerator[LogGrew | StatusSeen]:
    """The log from an offset on, and how the training is, through one connection, until the training ends."""
    grown: asyncio.Queue[bytes] = asyncio.Queue()

    async def read() -> None:
        async for chunk in client.follow(f"{client.job_folder(job.name)}/{LOG}", offset):
            await grown.put(chunk)

    reading = asyncio.create_task(read())
    getting = asyncio.create_task(grown.get())
    shown = offset
    try:
        while True:
            training = await _ask_status(client, job)
            seen = _remember(db, job, training)
            yield StatusSeen(seen)
            is_over = seen.state not in ACTIVE
            limit = asyncio.get_running_loop().time() + (_QUIET if is_over else _LOOK)
            while (left := limit - asyncio.get_running_loop().time()) > 0 and not (
                is_over and shown >= training.log_bytes
            ):
                await asyncio.wait({getting, reading}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if getting.done():
                    chunk = getting.result()
                    getting = asyncio.create_task(grown.get())
                    shown += len(chunk)
                    yield LogGrew(chunk)
                    if is_over:
                        # Whoever shows it takes some time, in which the rest has come.
                        limit = asyncio.get_running_loop().time() + _QUIET
                elif reading.done():
                    await reading
                    raise TransportError(f"host {client.host.name}: the log ends")
            if is_over:
                return
    finally:
        for task in (reading, getting):
            task.cancel()
        await asyncio.gather(reading, getting, return_exceptions=True)


def adopt(db: Database, host: Host, name: str, folder: Path) -> StoredJob:
    """Take over a training that a host has and this store does not know.

    Args:
        name: of its directory there.
        folder: where the directories of trainings are here.

    Raises:
        TransportError: the host cannot be reached.
        KdtuiError: there is no such training, or one of this name is known.
    """

    async def ask() -> StoredJob:
        async with reach(host) as client:
            return await _adopt(db, client, name, folder)

    return finish(ask())


@dataclass(frozen=True, slots=True)
class Adopted:
    """A training of a host is known here now; or a problem says why not."""

    name: str
    problem: str | None = None


def adopt_all(db: Database, host: Host, folder: Path) -> Iterator[Adopted]:
    """Take over all trainings that a host has and this store does not know, and see how they are.

    Args:
        folder: where the directories of trainings are here.

    Raises:
        TransportError: the host cannot be reached, or the way was lost; the same again goes on.
    """

    async def ask() -> AsyncGenerator[Adopted]:
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
                    yield Adopted(name, str(problem))
                    continue
                yield Adopted(name)
            if jobs:
                answer = await client.ask(StatusRequest(tuple(job.name for job in jobs)))
                for job in jobs:
                    _remember(db, job, answer.trainings[job.name])

    return iterate(ask())


async def _adopt(db: Database, client: HostClient, name: str, folder: Path) -> StoredJob:
    # A host may be anybody's: nothing it says leads out of the folder.
    checked_name(name)
    with suppress(NotFound):
        raise KdtuiError(f"there is a training {get_job(db, name).name!r} already; kdtui sft rm forgets it")
    training = await client.ask(DescribeRequest(name))
    target = folder / name
    if target.exists():
        raise KdtuiError(f"{target}: there is a folder of this name already; move it away")
    try:
        settings = msgspec.convert(training.job.get("manifest", {}), TrainingSettings)
    except msgspec.ValidationError:
        # It was not made by kdtui; what it was trained on stands in its own file.
        settings = TrainingSettings(())
    target.mkdir(parents=True)
    (target / JOB).write_text(json.dumps(training.job, indent=2) + "\n", encoding="utf-8")
    key = training.id or name
    (target / ID).write_text(key, encoding="utf-8")
    add_job(db, name, target, settings, key, host=client.host.name)
    job = get_job(db, name)
    find_base(db, job)
    return job


async def look(db: Database, client: HostClient, job: StoredJob) -> JobStatus:
    """Ask a host that is reached how a training is, and remember it.

    Raises:
        TransportError: the way was lost.
    """
    return _remember(db, job, await _ask_status(client, job))


async def _ask_status(client: HostClient, job: StoredJob) -> TrainingAnswer:
    return (await client.ask(StatusRequest((job.name,)))).trainings[job.name]


def _remember(db: Database, job: StoredJob, training: TrainingAnswer) -> JobStatus:
    try:
        seen = msgspec.convert(training.status, JobStatus)
    except msgspec.ValidationError as error:
        seen = JobStatus("failed", reason=f"its files say what cannot be ({error})")
    if training.id not in (None, job.key):
        seen = JobStatus("failed", reason="another training has taken its directory on the host")
    elif not training.exists and known_status(job).state == "created":
        # It has not been brought yet.
        seen = JobStatus("created")
    remember_status(db, job.name, msgspec.json.encode(asdict(seen)).decode())
    return seen


def _with_host(db: Database, job: StoredJob, ask: Callable[[HostClient], Awaitable[Answer]]) -> Answer:
    """Reach the host of a training for one question."""
    assert job.host is not None
    host = get_host(db, job.host)

    async def reached() -> Answer:
        async with reach(host) as client:
            return await ask(client)

    return finish(reached())
