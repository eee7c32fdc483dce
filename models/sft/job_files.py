"""The files of a job directory that a trainer writes, and that tell any client how it is."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.errors import ModelError

JOB, TRAIN, VALID = "job.json", "train.jsonl", "valid.jsonl"
PID, METRICS, HEARTBEAT, ADAPTER, EXIT_CODE = "pid", "metrics.jsonl", "heartbeat", "adapter", "exit_code"
STOPPED = 143
"""The exit code of a trainer that was told to stop, and has left a checkpoint: what a shell reports of SIGTERM."""

LOG, LAUNCH, CHECKPOINTS = "log", "launch.json", "checkpoints"

LOG_PART = 1 << 16
"""Bytes of a log that are read at a time; part number n begins at n times that."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def held(job: Path) -> Iterator[None]:
    """Hold a job directory: one trainer at a time works in it, and says who it is.

    Raises:
        ModelError: another one does.
    """
    # Opened without being emptied: what the other one has written stays.
    with (job / PID).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ModelError(f"{job}: another trainer is at work here; wait for it, or cancel it first") from error
        # First: who sees the new trainer must not see the end of the one before.
        (job / EXIT_CODE).unlink(missing_ok=True)
        file.truncate(0)
        json.dump(identity(os.getpid()), file)
        file.flush()
        yield


def identity(pid: int) -> dict[str, Any]:
    """A process that no later one of the same number is taken for: its number, when it started (in ticks since the
    machine did; None where that cannot be told), and which start of the machine that was."""
    try:
        # The name of the program, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        if fields[0] == "Z":
            # It has ended, and nobody has asked how.
            return {"pid": pid, "started": None, "boot": None}
        return {"pid": pid, "started": int(fields[19]), "boot": _BOOT.read_text(encoding="ascii").strip()}
    except (OSError, IndexError, ValueError):
        return {"pid": pid, "started": None, "boot": None}


def is_alive(recorded: dict[str, Any]) -> bool:
    """Whether a process that was told by `identity` is still there."""
    # A number is used again, and processes start at the same ticks after every start of the machine.
    return recorded.get("started") is not None and {
        key: recorded.get(key) for key in ("pid", "started", "boot")
    } == identity(int(recorded["pid"]))


def beat(job: Path) -> None:
    """Say that the trainer is alive."""
    (job / HEARTBEAT).touch()


def end(job: Path, code: int) -> None:
    """Say that the training has ended, and how: 0 done, `STOPPED`, anything else failed."""
    write_whole(job / EXIT_CODE, f"{code}\n")


def add_metrics(job: Path, values: dict[str, Any]) -> None:
    """Add a line of metrics."""
    with (job / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def forget_metrics(job: Path, step: int) -> None:
    """Drop the metrics of steps that will be done anew."""
    path = job / METRICS
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            # Half a line, written when the trainer was killed.
            continue
    write_whole(path, "".join(kept))


def write_whole(path: Path, text: str) -> None:
    """Write a file under another name, and rename it: nobody sees a part of it."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
