"""Hosts: files up and down against plain tar and cat through ssh, the list of trainings, and what a followed log costs.

All through an sshd of its own on 127.0.0.1, which has to be installed.

python -m benchmarks.hosts [--size 1000]
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import psutil

from benchmarks.measure import report
from kdtui.errors import KdtuiError
from kdtui.jobs import package
from kdtui.jobs.client import HostClient, reach
from kdtui.jobs.ssh import SSH_COMMAND
from models.sft.job_files import LAUNCH, identity
from store.database import open_database
from store.hosts import Host, add_host
from store.jobs import add_job, new_key
from store.records import HostSettings, TrainingSettings
from tests import sshd

_RUNS = 3
_HOSTS, _JOBS = 5, 50
_SMALL = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1000, help="MB of the large file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sshd.running(Path(name) / "sshd") as server:
        os.environ[SSH_COMMAND] = server.command
        folder = Path(name)
        asyncio.run(_files(folder, server, given.size))
        _list(folder)
        _follow(folder)


async def _files(folder: Path, server: sshd.Sshd, size: int) -> None:
    """Each way and the other in turn, through a connection that is there already; the best of several runs counts."""
    there, home = folder / "work", folder / "home"
    job = there / "jobs" / "one"
    large, copy = folder / "large", folder / "copy"
    large.write_bytes(os.urandom(1 << 20) * size)
    (job / "adapter").mkdir(parents=True)
    for number in range(_SMALL):
        (job / "adapter" / f"{number}").write_bytes(os.urandom(2000))
    (job / "checkpoints").mkdir()
    (job / "checkpoints" / "large").write_bytes(large.read_bytes())
    host = Host("far", "gpu", str(there), HostSettings(python=sys.executable))
    control = folder / "plain"
    plain = f"-F '{server.config}' -o 'ControlPath={control}'"
    batch = folder / "batch"
    batch.write_text(f'lcd "{home}"\nget -r "{job}/adapter"\n')
    master = subprocess.Popen(["sh", "-c", f"exec ssh {plain} -o ControlMaster=yes -N gpu"])
    while not control.exists():
        sleep(0.05)

    async def compare(what: str, amount: int, unit: str, ours: Callable[[], Awaitable[object]], other: str) -> None:
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(_RUNS):
            for side in range(2):
                for left in (there / "blobs", home, folder / "copies"):
                    shutil.rmtree(left, ignore_errors=True)
                home.mkdir()
                started = perf_counter()
                if side:
                    subprocess.run(["sh", "-c", other], check=True, stdout=subprocess.DEVNULL)
                else:
                    await ours()
                times[side].append(perf_counter() - started)
        report(what, amount / min(times[0]), amount / min(times[1]), unit, "at least 0.8")

    try:
        async with reach(host) as client:
            await client.bring_code()
            tree = package.Tree.of(large)
            await compare(
                f"{size:,} MB up",
                size,
                "MB/s",
                lambda: client.bring(tree, {"large": 0}),
                f"ssh {plain} gpu \"cat >'{copy}' && sha256sum '{copy}'\" <'{large}'",
            )
            await compare(
                f"{size:,} MB down",
                size,
                "MB/s",
                lambda: client.fetch("one", "key", ["checkpoints"], home),
                f"ssh {plain} gpu \"sha256sum '{large}'\" && ssh {plain} gpu \"cat '{large}'\" >'{copy}' "
                f"&& sha256sum '{copy}'",
            )
            for name, other in (
                ("tar", f"ssh {plain} gpu \"tar -C '{job}' -cf - adapter\" | tar -C '{home}' -xf -"),
                ("sftp", f"sftp -q {plain} -b '{batch}' gpu"),
            ):
                await compare(
                    f"{_SMALL:,} small files down, {name}",
                    _SMALL,
                    "/s",
                    lambda: client.fetch("one", "key", ["adapter"], home),
                    other,
                )
            await compare(
                f"{_SMALL:,} small files up, tar",
                _SMALL,
                "/s",
                lambda: _pack(client, job / "adapter"),
                f"tar -C '{job}' -cf - adapter "
                f"| ssh {plain} gpu \"mkdir '{folder}/copies' && tar -C '{folder}/copies' -xf -\"",
            )
    finally:
        master.terminate()
        master.wait()


async def _pack(client: HostClient, folder: Path) -> None:
    """As a training with its checkpoints is brought; it is no training, so it does not start."""
    name = new_key()
    with (
        package.packed(folder.parent, [folder.name], {"job.json": b"{}", "id": name.encode()}) as file,
        suppress(KdtuiError),
    ):
        await client.ask(
            "launch",
            package.chunks(file),
            job=name,
            id=name,
            launcher="direct",
            python="/bin/true",
            code=client.code,
            processes=1,
            after=None,
            script=None,
            has_data=True,
        )


def _run(command: list[str]) -> float:
    started = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - started


def _list(folder: Path) -> None:
    """`kdtui sft ls` with many trainings on several hosts, beside a `kdtui` that does nothing."""
    os.environ["KDTUI_DB"] = str(folder / "kdtui.db")
    db = open_database(folder / "kdtui.db")
    for number in range(_HOSTS):
        add_host(db, Host(f"host{number}", "gpu", str(folder / f"w{number}"), HostSettings(python=sys.executable)))
    for number in range(_JOBS):
        host = f"host{number % _HOSTS}"
        add_job(db, f"job{number}", folder / "jobs" / f"job{number}", TrainingSettings(("a",)), new_key(), host=host)
    db.close()
    kdtui = [sys.executable, "-m", "kdtui"]
    times = {}
    for name, command in {
        "cached": [*kdtui, "sft", "ls", "--cached"],
        "refreshed": [*kdtui, "sft", "ls"],
        "nothing": [*kdtui, "--version"],
    }.items():
        times[name] = median(_run(command) for _ in range(_RUNS + 1))
    report(f"list of {_JOBS} trainings, cached, against no list", times["cached"], times["nothing"], "s", "under 0.5 s")
    report(f"the same, {_HOSTS} hosts looked at", times["refreshed"], times["nothing"], "s", "no bound")


def _follow(folder: Path) -> None:
    """CPU time of `kdtui sft logs --follow` on a log with two lines a second, over twenty seconds."""
    work = folder / "followed"
    job = work / "jobs" / "long"
    job.mkdir(parents=True)
    (job / "id").write_text("key")
    (job / LAUNCH).write_text(json.dumps(identity(os.getpid())))
    (job / "log").write_text("begin\n")
    db = open_database(folder / "kdtui.db")
    add_host(db, Host("followed", "gpu", str(work), HostSettings(python=sys.executable)))
    add_job(db, "long", folder / "home", TrainingSettings(("a",)), "key", host="followed")
    db.close()
    client = subprocess.Popen([sys.executable, "-m", "kdtui", "sft", "logs", "long", "-f"], stderr=subprocess.PIPE)
    assert client.stderr is not None
    client.stderr.readline()
    process = psutil.Process(client.pid)
    family = [process, *process.children(recursive=True)]
    before = sum(sum(each.cpu_times()[:4]) for each in family)
    started = perf_counter()
    for number in range(40):
        with (job / "log").open("a") as file:
            file.write(f"line {number}\n")
        sleep(0.5)
    # With what its children used that have ended.
    used = sum(sum(each.cpu_times()[:4]) for each in family) - before
    share = 100 * used / (perf_counter() - started)
    client.terminate()
    client.wait()
    print(f"{'following a log':<44} ours {share:8.3f} % of a processor   (under 1)")


if __name__ == "__main__":
    main()
