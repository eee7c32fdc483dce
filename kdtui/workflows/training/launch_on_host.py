"""Send a training to its host and start it there."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kdtui.errors import KdtuiError
from kdtui.hosts import package
from kdtui.hosts.client import reach
from kdtui.hosts.package import TRAINER_PACKAGES
from kdtui.hosts.slurm_script import slurm_script
from kdtui.hosts.uploads import upload
from kdtui.workflows.async_events import iterate
from kdtui.workflows.training.base_files import check_base_is_here, check_is_base
from kdtui.workflows.training.host_status import look_up_status
from models.files.json_files import read_object
from models.sft.job_files import ADAPTER, CHECKPOINTS, ID, JOB, METRICS, START, TRAIN, VALID
from models.sft.protocol import InventoryRequest, LaunchRequest, PackagesAnswer
from store.hosts import Host, get_host
from store.jobs import StoredJob
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class SendingFiles:
    """A host lacks these files; `size` in bytes."""

    what: str
    size: int


@dataclass(frozen=True, slots=True)
class Submitting:
    """The script that Slurm will run."""

    script: str


@dataclass(frozen=True, slots=True)
class Launched:
    """A training that runs, or waits in a queue; `number` is its process id or its Slurm job id."""

    host: str
    number: int
    launcher: str


def launch_on_host(db: Database, job: StoredJob) -> Iterator[SendingFiles | Submitting | Launched]:
    """Send a training to its host, and start or resume it there. After an interrupt, another call continues.

    Raises:
        TransportError: the host cannot be reached, or the connection was lost.
        KdtuiError: the host refuses; the message says why.
    """
    assert job.host is not None
    return iterate(_launch(db, job, get_host(db, job.host)))


async def _launch(db: Database, job: StoredJob, host: Host) -> AsyncGenerator[SendingFiles | Submitting | Launched]:
    content = read_object(job.folder / JOB)
    base, tree = Path(str(content.get("base"))), None
    if base.exists():
        check_is_base(base)
        tree = await asyncio.to_thread(package.Tree.of, base)
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
            use, fetch = f"use its adapter with: --adapter {job.name}", f"fetch it with: kdtui sft fetch {job.name}"
            how = use if is_here else fetch
            raise KdtuiError(f"training {job.name!r} is done; {how}")
        _check_packages(host, inventory.packages)
        if tree is not None:
            missing = sum(each.size for each in tree.files if inventory.files[each.name] != "whole")
            if missing:
                yield SendingFiles(base.name, missing)
                await upload(client, tree, inventory.files)
            there = client.blob(tree)
            content["base"] = there if base.is_dir() else str(PurePosixPath(there) / base.name)
        has_data = inventory.id is None
        if has_data:
            check_base_is_here(job, host.workdir)
            if not (job.folder / TRAIN).exists():
                # It was adopted, and the host no longer has it.
                raise KdtuiError(
                    f"host {host.name}: training {job.name!r}: {(await look_up_status(db, client, job)).reason}"
                )
        folder, python = client.job_folder(job.name), inventory.python or host.settings.python
        script = None
        if host.settings.launcher == "slurm":
            script = slurm_script(host.settings, folder, python, client.code)
            yield Submitting(script)
        names = [TRAIN, VALID, START, CHECKPOINTS, METRICS] if has_data else []
        # The key comes last: a directory that has it is complete.
        last = {JOB: json.dumps(content, indent=2).encode(), ID: job.key.encode()}
        with package.packed(job.folder, names, last) as file:
            request = LaunchRequest(
                job=job.name,
                id=job.key,
                launcher=host.settings.launcher,
                python=python,
                code=client.code,
                processes=host.settings.processes,
                # It waits only at its first start. Somebody who resumes it wants it to run now.
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
