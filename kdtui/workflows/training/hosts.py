"""Hosts: what they have, what they lack, and the packages that a training needs there."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Literal

from msgspec.structs import replace

from kdtui.errors import KdtuiError
from kdtui.jobs import package
from kdtui.jobs.client import WorkdirError, connected, reach
from kdtui.jobs.package import TRAINER_PACKAGES
from kdtui.jobs.shell import START_UP_ADVICE
from kdtui.jobs.ssh import check_alias, checks_keys
from kdtui.jobs.transport import TransportError, error_line, run_command
from kdtui.jobs.uploads import upload
from kdtui.workflows.async_events import finish, iterate
from kdtui.workflows.manage_models import checked_name
from kdtui.workflows.model_names import trainable
from models.sft.protocol import CheckAnswer, CheckRequest, InventoryRequest, SetupRequest, SetupStatusRequest
from models.sft.state import ACTIVE
from store.hosts import Host, add_host, get_host
from store.records import HostSettings
from store.sqlite import Database

HERE = "here"
"""Where trainings are that are on no host."""

_LEAST_FREE = 5e9
"""Bytes: a base, checkpoints, and the packages themselves."""
_CLOCK = 30.0
"""Seconds by which the clocks may differ before it is said."""
_LOOK = 1.0


@dataclass(frozen=True, slots=True)
class HostFinding:
    """Something that a host has, or lacks, and what to do about it.

    Attributes:
        state: `missing` keeps trainings from running.
    """

    name: str
    state: Literal["ok", "note", "missing"]
    found: str
    advice: str = ""


def make_host(db: Database, name: str, ssh: str | None, workdir: str, settings: HostSettings) -> Host:
    """Give a host a name. Its workdir is looked up there, unless it is given in full.

    Raises:
        KdtuiError: a name or the workdir cannot be used, or the host cannot be reached to look it up.
        StoreError: the name is taken.
    """
    checked_name(name)
    if name == HERE:
        raise KdtuiError(f"{HERE!r} is what lists of trainings call this machine; choose another name")
    if ssh is not None:
        check_alias(ssh)
    check_host_settings(settings)
    if "\n" in workdir or not workdir:
        raise KdtuiError("the folder for trainings needs a name of one line")
    host = Host(name, ssh, _in_full(name, ssh, workdir), settings)
    add_host(db, host)
    return host


def check_host_settings(settings: HostSettings) -> None:
    """Refuse what would end up as another line of a script.

    Raises:
        KdtuiError: it says which.
    """
    said = [settings.partition, settings.time, *settings.options, *settings.commands, settings.python]
    if any(each is not None and re.search(r"[\r\n\0]", each) for each in said):
        raise KdtuiError("options and commands are one line each")
    of_slurm = (settings.partition, settings.time, settings.gpus, settings.options, settings.commands)
    if settings.launcher == "direct" and any(of_slurm):
        raise KdtuiError("--partition, --time, --gpus, --option and --before are Slurm's; add --launcher slurm")
    if settings.launcher == "direct" and settings.nodes > 1:
        raise KdtuiError("one host is one node; several are Slurm's to give: add --launcher slurm")


def _in_full(name: str, ssh: str | None, workdir: str) -> str:
    if workdir.startswith("/"):
        return workdir.rstrip("/") or "/"
    below = workdir.removeprefix("~/") if workdir != "~" else "."

    async def ask() -> str:
        async with connected(name, ssh) as transport:
            done = await run_command(transport, ["sh", "-c", "cd && pwd"])
        found = done.out.decode("utf-8", "replace").removesuffix("\n")
        if done.code or not found.startswith("/"):
            raise KdtuiError(
                f"host {name}: its home folder cannot be entered ({error_line(done.err)}); give the folder for "
                "trainings in full: --workdir /…"
            )
        return found

    try:
        home = finish(ask())
    except TransportError as problem:
        raise KdtuiError(
            f"{problem}; or give the folder in full, --workdir /…, and it is added without asking"
        ) from None
    return str(Path(home) / below)


def check_host(host: Host, base: Path | None) -> Iterator[HostFinding]:
    """What a host has for trainings, the way to it first.

    Args:
        base: a model that trainings would start from.
    """
    return iterate(_check(host, base))


def check_for(db: Database, name: str, base: str) -> Iterator[HostFinding]:
    """What the host of a name has for trainings from a base. The store is not needed any more when this returns.

    Args:
        base: as a person names it.

    Raises:
        NotFound: there is no such host.
        KdtuiError: there is no such base.
    """
    host = get_host(db, name)
    place = Path(trainable(db, base))
    # An id on the hub is fetched by the host itself.
    return check_host(host, place if place.exists() else None)


def _way_to(host: Host) -> str:
    if host.ssh is None:
        return "this machine"
    known = "its key is known" if checks_keys(host.ssh) else "its key is not checked: StrictHostKeyChecking is off"
    return f"ssh {host.ssh}; {known}"


async def _check(host: Host, base: Path | None) -> AsyncGenerator[HostFinding]:
    tree = await asyncio.to_thread(package.Tree.of, base) if base is not None else None
    try:
        async with reach(host) as client:
            yield HostFinding("reachable", "ok", await asyncio.to_thread(_way_to, host))
            python = host.settings.python
            before = time()
            request = CheckRequest(
                python=python,
                key=tree.key if tree else "",
                files=tuple(each.name for each in tree.files) if tree else (),
                packages=TRAINER_PACKAGES,
            )
            checked = await client.ask(request, timeout=300)
            after = time()
            if client.greeting:
                yield HostFinding("shell", "note", f"before each command {client.greeting}", START_UP_ADVICE)
            for finding in _findings(host, checked, base, (before + after) / 2):
                yield finding
    except TransportError as problem:
        yield HostFinding("reachable", "missing", str(problem))
    except WorkdirError as problem:
        yield HostFinding("disk", "missing", str(problem))
    except KdtuiError as problem:
        yield HostFinding("python", "missing", str(problem))


def _findings(host: Host, checked: CheckAnswer, base: Path | None, now: float) -> Iterator[HostFinding]:
    yield HostFinding("python", "ok", f"{checked.python} ({host.settings.python})")
    if not checked.writable:
        yield HostFinding(
            "disk", "missing", f"{host.workdir} cannot be written", "add the host again with another --workdir"
        )
    else:
        free = checked.free_bytes
        yield HostFinding(
            "disk",
            "ok" if free >= _LEAST_FREE else "note",
            f"{free / 1e9:,.0f} GB free below {host.workdir}",
            "" if free >= _LEAST_FREE else "bases and packages take several GB",
        )
    if checked.gpus:
        yield HostFinding("gpus", "ok", "; ".join(checked.gpus))
    elif host.settings.launcher == "slurm":
        yield HostFinding("gpus", "note", "none on this node", f"Slurm gives them: kdtui host set {host.name} --gpus N")
    else:
        yield HostFinding("gpus", "note", f"none; {checked.processors} processors", "trainings run, slowly")
    packages = checked.packages
    setup = f"kdtui host setup {host.name}"
    if packages.problem is not None:
        yield HostFinding("packages", "missing", packages.problem, setup)
    else:
        found = packages.found
        lacking = [name for name in TRAINER_PACKAGES if found[name] is None]
        versions = ", ".join(f"{name} {version}" for name, version in found.items() if version)
        if lacking:
            yield HostFinding("packages", "missing", f"no {', '.join(lacking)}", setup)
        else:
            yield HostFinding("packages", "ok", versions)
            if checked.gpus and packages.cuda is None:
                advice = "install a torch for its driver: see https://pytorch.org/get-started/locally"
                yield HostFinding("cuda", "missing", "torch finds no GPU", advice)
            elif packages.cuda is not None:
                yield HostFinding("cuda", "ok", packages.cuda)
    if host.settings.launcher == "slurm" and not checked.slurm:
        yield HostFinding("slurm", "missing", "there is no sbatch", "is this the login node of the cluster?")
    elif host.settings.launcher == "slurm":
        yield HostFinding("slurm", "ok", "sbatch is there")
    if base is not None:
        there = checked.base
        size = base.stat().st_size / 1e6 if base.is_file() else 0
        yield HostFinding(
            "base",
            "ok" if there else "note",
            f"{base.name} is {'there' if there else 'not there yet'}",
            "" if there else f"the first training brings it{f' ({size:,.0f} MB)' if size else ''}",
        )
    apart = checked.clock - now
    same = abs(apart) < _CLOCK
    yield HostFinding(
        "clock",
        "ok" if same else "note",
        "as here" if same else f"{abs(apart):,.0f} s {'ahead of' if apart > 0 else 'behind'} this machine",
        "" if same else "what it says of times is off by that",
    )


def in_brief(finding: HostFinding) -> str:
    """What fits a cell of a table: how much is free, and which GPUs there are."""
    if finding.name == "gpus" and finding.state == "ok":
        names = [told.partition(",")[0] for told in finding.found.split("; ")]
        return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return re.split(r" below |;", finding.found)[0]


def set_up(host: Host, wheels: Path | None) -> Iterator[bytes]:
    """Make the virtual environment of a host, or go on with it; its log as it grows, until it is done.

    Nothing is done, and nothing comes, where it has been made of the same packages already.

    Args:
        wheels: a folder of wheels to install from, for a host without a network.

    Raises:
        TransportError: the host cannot be reached.
        KdtuiError: it has failed; the message is the last line of its log.
    """
    return iterate(_set_up(host, wheels))


async def _set_up(host: Host, wheels: Path | None) -> AsyncGenerator[bytes]:
    tree = None
    if wheels is not None:
        tree = await asyncio.to_thread(package.Tree.of, wheels)
    requirements = package.requirements()
    async with reach(host) as client:
        if (await client.ask(SetupStatusRequest(requirements))).is_ready:
            return
        if tree is not None:
            files = tuple((each.name, each.size) for each in tree.files)
            inventory = await client.ask(InventoryRequest("none", tree.key, files))
            await upload(client, tree, inventory.files)
        setup = await client.ask(SetupRequest(requirements, None if tree is None else tree.key))
        offset = setup.offset
        while True:
            status = await client.ask(SetupStatusRequest(requirements))
            grown = await client.read(setup.log, offset)
            offset += len(grown)
            if grown:
                yield grown
            if status.state not in ACTIVE:
                break
            await asyncio.sleep(_LOOK)
        if status.state != "done":
            raise KdtuiError(f"host {host.name}: {status.reason}; its log is {setup.log}")


def changed(settings: HostSettings, **changes: object) -> HostSettings:
    """Settings with those changes that say something.

    Raises:
        KdtuiError: they cannot be used together.
    """
    said = {name: value for name, value in changes.items() if value is not None}
    # Options that may be repeated come as lists.
    found = replace(settings, **{name: tuple(each) if isinstance(each, list) else each for name, each in said.items()})
    check_host_settings(found)
    return found
