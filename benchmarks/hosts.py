"""Hosts: transfers against tar and cat through ssh, and sftp; the list of trainings; the cost of a followed log.

All connections go to an sshd that this starts on 127.0.0.1; OpenSSH's server must be installed.

python -m benchmarks.hosts [--size 1000]
"""

import argparse
import asyncio
import json
import os
import pty
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
from kdtui.hosts import package
from kdtui.hosts.client import HostClient, reach
from kdtui.hosts.downloads import download
from kdtui.hosts.ssh import SSH_COMMAND
from kdtui.hosts.uploads import upload
from models.sft.job_files import EXIT_CODE, LAUNCH, STOPPED, add_metrics, identity
from models.sft.protocol import LaunchRequest
from store.database import open_database
from store.hosts import Host, add_host
from store.jobs import add_job, new_key
from store.records import HostSettings, TrainingSettings
from tests.support import sshd

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
        _list(folder, server)
        _follow(folder)


async def _files(folder: Path, server: sshd.Sshd, size: int) -> None:
    """Measure both directions in turn over an existing connection; the best of several runs counts."""
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

    def sftp(*commands: str) -> str:
        batch = Path(tempfile.mkstemp(dir=folder)[1])
        batch.write_text("".join(f"{command}\n" for command in commands))
        return f"sftp -q {plain} -b '{batch}' gpu"

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
            await client.send_code()
            tree = package.Tree.of(large)
            for name, other in (
                ("cat and sha256sum", f"ssh {plain} gpu \"cat >'{copy}' && sha256sum '{copy}'\" <'{large}'"),
                ("cat", f"ssh {plain} gpu \"cat >'{copy}'\" <'{large}'"),
                ("sftp", sftp(f'put "{large}" "{copy}"')),
            ):
                await compare(
                    f"{size:,} MB up, {name}", size, "MB/s", lambda: upload(client, tree, {"large": 0}), other
                )
            get = f"ssh {plain} gpu \"cat '{large}'\" >'{copy}'"
            for name, other in (
                ("cat and sha256sum", f"ssh {plain} gpu \"sha256sum '{large}'\" && {get} && sha256sum '{copy}'"),
                ("cat", get),
                ("sftp", sftp(f'get "{large}" "{copy}"')),
            ):
                await compare(
                    f"{size:,} MB down, {name}",
                    size,
                    "MB/s",
                    lambda: download(client, "one", "key", ["checkpoints"], home),
                    other,
                )
            for name, other in (
                ("tar", f"ssh {plain} gpu \"tar -C '{job}' -cf - adapter\" | tar -C '{home}' -xf -"),
                ("sftp", sftp(f'lcd "{home}"', f'get -r "{job}/adapter"')),
            ):
                await compare(
                    f"{_SMALL:,} small files down, {name}",
                    _SMALL,
                    "/s",
                    lambda: download(client, "one", "key", ["adapter"], home),
                    other,
                )
            small = package.Tree.of(job / "adapter")

            async def bring() -> None:
                await upload(client, small, dict.fromkeys((each.name for each in small.files), 0))
                assert len(list((there / "blobs" / small.key).iterdir())) == _SMALL

            send = (
                f"tar -C '{job}' -cf - adapter "
                f"| ssh {plain} gpu \"mkdir '{folder}/copies' && tar -C '{folder}/copies' -xf -\""
            )
            put = sftp(f'mkdir "{folder}/copies"', f'put -r "{job}/adapter" "{folder}/copies"')
            for name, ours in (
                ("of a training", lambda: _pack(client, there, job / "adapter")),
                ("of a base", bring),
            ):
                for other, command in (("tar", send), ("sftp", put)):
                    await compare(f"{_SMALL:,} small files up {name}, {other}", _SMALL, "/s", ours, command)
    finally:
        master.terminate()
        master.wait()


async def _pack(client: HostClient, there: Path, folder: Path) -> None:
    """Send the folder like a training with its checkpoints; it is not a training, so it does not start."""
    name = new_key()
    with (
        package.packed(folder.parent, [folder.name], {"job.json": b"{}", "id": name.encode()}) as file,
        suppress(KdtuiError),
    ):
        request = LaunchRequest(name, name, "direct", "/bin/true", client.code, 1, None, None, True)
        await client.ask(request, package.chunks(file))
    assert len(list((there / "jobs" / name / folder.name).iterdir())) == len(list(folder.iterdir()))


def _run(command: list[str]) -> float:
    started = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - started


def _list(folder: Path, server: sshd.Sshd) -> None:
    """Measure `kdtui sft ls` with many trainings on several hosts, against a `kdtui` that does nothing."""
    os.environ["KDTUI_DB"] = str(folder / "kdtui.db")
    db = open_database(folder / "kdtui.db")
    for number in range(_HOSTS):
        add_host(db, Host(f"host{number}", "gpu", str(folder / f"w{number}"), HostSettings(python=sys.executable)))
    for number in range(_JOBS):
        name, key = f"job{number}", new_key()
        there = folder / f"w{number % _HOSTS}" / "jobs" / name
        there.mkdir(parents=True)
        (there / "id").write_text(key)
        (there / EXIT_CODE).write_text(f"{STOPPED}\n")
        add_metrics(there, {"step": 1, "steps": 2, "loss": 1.0})
        add_job(db, name, folder / "jobs" / name, TrainingSettings(("a",)), key, host=f"host{number % _HOSTS}")
    db.close()
    kdtui = [sys.executable, "-m", "kdtui"]
    # The first connection copies the package.
    _time_listing([*kdtui, "sft", "ls"])
    before = server.commands
    looks = [_time_listing([*kdtui, "sft", "ls"]) for _ in range(_RUNS)]
    trips = (server.commands - before) / _RUNS / _HOSTS
    first, whole = (median(times) for times in zip(*looks, strict=True))
    nothing = median(_run([*kdtui, "--version"]) for _ in range(_RUNS))
    report(f"first line of {_JOBS} trainings, against no list", first, nothing, "s", "under 0.5 s")
    report(f"the same, {_HOSTS} hosts checked", whole, nothing, "s", "no bound")
    print(f"{'round trips to each of them':<44} ours {trips:8.3f}   (at most 3)")


def _time_listing(command: list[str]) -> tuple[float, float]:
    """Return the seconds until a command shows a training in a terminal, and until it ends, with all hosts checked."""
    ours, its = pty.openpty()
    started = perf_counter()
    process = subprocess.Popen(
        command, stdout=its, stderr=its, stdin=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm"}
    )
    os.close(its)
    shown, first = b"", None
    # A terminal whose last program has ended is an error.
    with suppress(OSError):
        while chunk := os.read(ours, 1 << 16):
            shown += chunk
            if first is None and b"job" in shown:
                first = perf_counter() - started
    os.close(ours)
    assert (process.wait(), first is not None, b"stopped" in shown) == (0, True, True), shown.decode()
    return first or 0.0, perf_counter() - started


def _follow(folder: Path) -> None:
    """Measure the CPU time of `kdtui sft logs --follow` on a log with two lines a second, over twenty seconds."""
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
