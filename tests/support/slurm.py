"""A real one-node Slurm on 127.0.0.1 with its own munge, separate from any installed cluster."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname

from tests.support.sshd import free_port
from tests.support.waiting import PATIENCE

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
_NEEDED = ("slurmctld", "slurmd", "squeue", "sbatch", "munged", "mungekey")


def missing() -> str | None:
    """Return why Slurm cannot run on this machine; None if it can."""
    absent = [name for name in _NEEDED if shutil.which(name, path=_PATH) is None]
    if absent:
        return f"there is no Slurm: {', '.join(absent)} not installed"
    return None if os.getuid() == 0 else "the daemons of Slurm need root"


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Run a Slurm with its files in a folder; yields the environment variables for its commands."""
    folder.mkdir(mode=0o755)
    node = gethostname().partition(".")[0]
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o755)
    key, socket = folder / "munge" / "key", folder / "munge" / "socket"
    subprocess.run([_which("mungekey"), "--create", "--keyfile", str(key)], check=True)
    controller, daemon = free_port(), free_port()
    (folder / "slurm.conf").write_text(
        f"""
ClusterName=kdtui
SlurmctldHost={node}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={socket}
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName={node} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN
PartitionName=short Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
    )
    environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _PATH}
    commands = [
        [_which("munged"), "--foreground", "--force", f"--key-file={key}", f"--socket={socket}"]
        + [f"--{name}={folder}/munge/{name}" for name in ("pid-file", "log-file", "seed-file")],
        [_which("slurmctld"), "-D"],
        [_which("slurmd"), "-D", "-N", node],
    ]
    processes = []
    try:
        for command in commands:
            with (folder / "daemons.log").open("ab") as log:
                processes.append(
                    subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | environment
                    )
                )
            end = time.monotonic() + PATIENCE
            while command is commands[0] and not socket.exists() and time.monotonic() < end:
                time.sleep(0.05)
        _wait_for_node(os.environ | environment, folder)
        yield environment
    finally:
        # Shown if a test fails.
        for command in (["squeue", "--long"], ["sinfo", "--list-reasons"], ["sinfo", "--long"]):
            subprocess.run(command, env=os.environ | environment, check=False)
        if (folder / "slurmctld.log").exists():
            print(*(folder / "slurmctld.log").read_text().splitlines()[-40:], sep="\n")
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for_node(environment: dict[str, str], folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        told = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, env=environment, check=False
        )
        if told.stdout.strip() == "idle":
            return
        time.sleep(0.2)
    raise AssertionError((folder / "daemons.log").read_text() + (folder / "slurmctld.log").read_text())


def _which(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    assert found is not None
    return found
