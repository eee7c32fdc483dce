"""Add hosts, check what they have and lack, and install the packages that trainings need on them."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Literal

from msgspec.structs import replace

from kdtui.errors import KdtuiError
from kdtui.hosts import package
from kdtui.hosts.client import WorkdirError, connected, reach
from kdtui.hosts.package import TRAINER_PACKAGES
from kdtui.hosts.shell import START_UP_ADVICE
from kdtui.hosts.ssh import check_alias, key_checking
from kdtui.hosts.transport import TransportError, error_line, run_command
from kdtui.hosts.uploads import upload
from kdtui.workflows.async_events import iterate, run_async
from kdtui.workflows.manage_models import checked_name
from kdtui.workflows.model_names import trainable_base
from models.sft.protocol import CheckAnswer, CheckRequest, InventoryRequest, SetupRequest, SetupStatusRequest
from models.sft.state import ACTIVE
from store.hosts import Host, add_host, get_host
from store.records import HostSettings
from store.sqlite import Database

HERE = "here"
"""What lists of trainings call this machine."""

_LEAST_FREE = 5e9
"""Bytes that a base, its checkpoints and the packages need."""
_CLOCK = 30.0
"""Seconds by which the clocks may differ before a finding mentions it."""
_LOOK = 1.0

_LONGEST_PATH = 1 << 12
"""Bytes of a path: more than systems allow."""


@dataclass(frozen=True, slots=True)
class HostFinding:
    """Something that a host has or lacks, and what to do about it.

    Attributes:
        state: "missing" prevents trainings from running.
    """

    name: str
    state: Literal["ok", "note", "missing"]
    found: str
    advice: str = ""


def make_host(db: Database, name: str, ssh: str | None, workdir: str, settings: HostSettings) -> Host:
    """Store a host under a name. Its workdir is looked up on the host, unless it is an absolute path.

    Raises:
        KdtuiError: a name or the workdir cannot be used, or the host cannot be reached to look the workdir up.
        StoreError: the name is taken.
    """
    checked_name(name)
    if name == HERE:
        raise KdtuiError(f"{HERE!r} is what lists of trainings call this machine; choose another name")
    if ssh is not None:
        check_alias(ssh)
    check_host_settings(settings)
    if "\n" in workdir or not workdir:
        raise KdtuiError("the name of the folder for trainings must be one line")
    host = Host(name, ssh, _absolute_workdir(name, ssh, workdir), settings)
    add_host(db, host)
    return host


def check_host_settings(settings: HostSettings) -> None:
    """Refuse settings that would add lines to a script, or that only Slurm has.

    Raises:
        KdtuiError: a setting is refused; the message names it.
    """
    texts = [settings.partition, settings.time, *settings.options, *settings.commands, settings.python]
    if any(each is not None and re.search(r"[\r\n\0]", each) for each in texts):
        raise KdtuiError("each option and each command must be one line")
    of_slurm = (settings.partition, settings.time, settings.gpus, settings.options, settings.commands)
    if settings.launcher == "direct" and any(of_slurm):
        raise KdtuiError("--partition, --time, --gpus, --option and --before are Slurm's; add --launcher slurm")
    if settings.launcher == "direct" and settings.nodes > 1:
        raise KdtuiError("one host is one node; only Slurm provides several: add --launcher slurm")


def _absolute_workdir(name: str, ssh: str | None, workdir: str) -> str:
    if workdir.startswith("/"):
        return workdir.rstrip("/") or "/"
    below = workdir.removeprefix("~/") if workdir != "~" else "."

    async def ask() -> str:
        async with connected(name, ssh) as transport:
            done = await run_command(transport, ["sh", "-c", "cd && pwd"], most=_LONGEST_PATH)
        home = done.out.decode("utf-8", "replace").removesuffix("\n")
        if done.code or not home.startswith("/") or not home.isprintable():
            raise KdtuiError(
                f"host {name}: its home folder cannot be entered ({error_line(done.err)}); give the folder for "
                "trainings in full: --workdir /…"
            )
        return home

    try:
        home = run_async(ask())
    except TransportError as problem:
        raise KdtuiError(
            f"{problem}; or give the folder in full, --workdir /…, to add the host without reaching it"
        ) from None
    return str(Path(home) / below)


def check_host(host: Host, base: Path | None) -> Iterator[HostFinding]:
    """Check what a host has for trainings, starting with whether it can be reached.

    Args:
        base: a model that trainings would begin from.
    """
    return iterate(_check(host, base))


def check_host_for(db: Database, name: str, base: str) -> Iterator[HostFinding]:
    """Check what a host has for trainings from a base. The store is not used after this returns.

    Args:
        name: of the host.
        base: as a user names it.

    Raises:
        NotFound: there is no such host.
        KdtuiError: there is no such base.
    """
    host = get_host(db, name)
    path = Path(trainable_base(db, base))
    # The host fetches the id of a hub model by itself.
    return check_host(host, path if path.exists() else None)


def _way_to(host: Host) -> str:
    if host.ssh is None:
        return "this machine"
    key_states = {
        "on": "its key is known",
        "accept-new": "its key was believed when it was new: StrictHostKeyChecking is accept-new",
        "off": "its key is not checked: StrictHostKeyChecking is off",
    }
    return f"ssh {host.ssh}; {key_states[key_checking(host.ssh)]}"


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
            answer = await client.ask(request, timeout=300)
            after = time()
            if client.greeting:
                yield HostFinding("shell", "note", f"before each command {client.greeting}", START_UP_ADVICE)
            for finding in _findings(host, answer, base, (before + after) / 2):
                yield finding
    except TransportError as problem:
        yield HostFinding("reachable", "missing", str(problem))
    except WorkdirError as problem:
        yield HostFinding("disk", "missing", str(problem))
    except KdtuiError as problem:
        yield HostFinding("python", "missing", str(problem))


def _findings(host: Host, answer: CheckAnswer, base: Path | None, now: float) -> Iterator[HostFinding]:
    yield HostFinding("python", "ok", f"{answer.python} ({host.settings.python})")
    if not answer.writable:
        yield HostFinding(
            "disk", "missing", f"{host.workdir} cannot be written", "add the host again with another --workdir"
        )
    else:
        free = answer.free_bytes
        yield HostFinding(
            "disk",
            "ok" if free >= _LEAST_FREE else "note",
            f"{free / 1e9:,.0f} GB free below {host.workdir}",
            "" if free >= _LEAST_FREE else "bases and packages take several GB",
        )
    if answer.gpus:
        yield HostFinding("gpus", "ok", "; ".join(answer.gpus))
    elif host.settings.launcher == "slurm":
        advice = f"request them from Slurm: kdtui host set {host.name} --gpus N"
        yield HostFinding("gpus", "note", "none on this node", advice)
    else:
        yield HostFinding("gpus", "note", f"none; {answer.processors} processors", "trainings run, slowly")
    packages = answer.packages
    setup = f"kdtui host setup {host.name}"
    if packages.problem is not None:
        yield HostFinding("packages", "missing", packages.problem, setup)
    else:
        installed = packages.found
        lacking = [name for name in TRAINER_PACKAGES if installed[name] is None]
        versions = ", ".join(f"{name} {version}" for name, version in installed.items() if version)
        if lacking:
            yield HostFinding("packages", "missing", f"no {', '.join(lacking)}", setup)
        else:
            yield HostFinding("packages", "ok", versions)
            if answer.gpus and packages.cuda is None:
                advice = "install a torch build for its driver: see https://pytorch.org/get-started/locally"
                yield HostFinding("cuda", "missing", "torch finds no GPU", advice)
            elif packages.cuda is not None:
                yield HostFinding("cuda", "ok", packages.cuda)
    if host.settings.launcher == "slurm" and not answer.slurm:
        yield HostFinding("slurm", "missing", "sbatch is missing", "check that this is the login node of the cluster")
    elif host.settings.launcher == "slurm":
        yield HostFinding("slurm", "ok", "sbatch is installed")
    if base is not None:
        there = answer.base
        size = base.stat().st_size / 1e6 if base.is_file() else 0
        yield HostFinding(
            "base",
            "ok" if there else "note",
            f"{base.name} is {'on the host' if there else 'not on the host yet'}",
            "" if there else f"the first training copies it{f' ({size:,.0f} MB)' if size else ''}",
        )
    apart = answer.clock - now
    same = abs(apart) < _CLOCK
    yield HostFinding(
        "clock",
        "ok" if same else "note",
        "as on this machine" if same else f"{abs(apart):,.0f} s {'ahead of' if apart > 0 else 'behind'} this machine",
        "" if same else "times that it reports are off by that",
    )


def finding_in_brief(finding: HostFinding) -> str:
    """Shorten a finding for a table cell: the free space, or the names of the GPUs."""
    if finding.name == "gpus" and finding.state == "ok":
        names = [line.partition(",")[0] for line in finding.found.split("; ")]
        return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return re.split(r" below |;", finding.found)[0]


def set_up(host: Host, wheels: Path | None) -> Iterator[bytes]:
    """Create or update the virtual environment of a host, and yield its log as it grows.

    Nothing happens, and nothing is yielded, if the environment was made from the same packages.

    Args:
        wheels: a folder of wheels to install from, for a host without a network.

    Raises:
        TransportError: the host cannot be reached.
        KdtuiError: the installation failed; the message is the last line of its log.
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


def changed_host_settings(settings: HostSettings, **changes: object) -> HostSettings:
    """Return the settings with the changes that are not None.

    Raises:
        KdtuiError: they cannot be used together.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    # Options that can be repeated come as lists.
    new = replace(settings, **{name: tuple(each) if isinstance(each, list) else each for name, each in given.items()})
    check_host_settings(new)
    return new
