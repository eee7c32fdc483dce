"""The files of a job directory that a trainer writes, and from which any client reads its state."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import IO, Any

from models.errors import ModelError
from models.files.whole_files import write_whole

JOB, TRAIN, VALID = "job.json", "train.jsonl", "valid.jsonl"
PID, METRICS, HEARTBEAT, ADAPTER, EXIT_CODE = "pid", "metrics.jsonl", "heartbeat", "adapter", "exit_code"
STOPPED = 143
"""The exit code of a trainer that stopped with a checkpoint on request: what a shell reports for SIGTERM."""

KILLED = 137
"""The exit code of a training that kdtui killed without a checkpoint: what a shell reports for SIGKILL."""

SPEAKER = "models.sft: "
"""The beginning of the log line that says why a training failed."""

LOG, LAUNCH, CHECKPOINTS = "log", "launch.json", "checkpoints"

ID = "id"
"""The file with the key of a training: two trainings of the same name have different keys."""

START = "start"
"""The folder with the adapter that the training begins from, if there is one."""

ANSWERS = "answers.jsonl"
"""In the folder of the adapter: the model's answers to the validation examples, before and after the training."""

LOG_PART = 1 << 16
"""Bytes of a log that are read at a time; part number n begins at n times that."""

_BEAT_SECONDS = 10.0

_ENDS = 5.0
"""Seconds until a killed trainer releases its directory."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def locked_job(job: Path) -> Iterator[None]:
    """Lock a job directory for one trainer, and write which process that is.

    Raises:
        ModelError: another trainer works in it.
    """
    # Opened without truncating it, because another trainer can have written to it.
    with (job / PID).open("a+", encoding="utf-8") as file:
        limit = monotonic() + _ENDS
        while not _is_locked(file):
            if _is_held(job) or monotonic() > limit:
                raise ModelError(f"{job}: another trainer is running in it; wait for it, or cancel it first")
            # It was killed, and some of its threads still exist for a moment.
            sleep(0.02)
        # First: a client that sees the new trainer must not see the exit code of the previous one.
        (job / EXIT_CODE).unlink(missing_ok=True)
        file.truncate(0)
        json.dump(identity(os.getpid()), file)
        file.flush()
        yield


def _is_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_held(job: Path) -> bool:
    """Tell whether the trainer that wrote its identity still runs."""
    try:
        return is_alive(json.loads((job / PID).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return False


def identity(pid: int) -> dict[str, Any]:
    """Return the identity of a process, which no later process with the same id has.

    It is the process id, the start time (in ticks since the start of the machine; None if it is unknown), and the id of
    that start of the machine.
    """
    try:
        # The name of the program, in parentheses, can hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        if fields[0] == "Z":
            # It has ended, but its parent has not read the exit code.
            return {"pid": pid, "started": None, "boot": None}
        return {"pid": pid, "started": int(fields[19]), "boot": _BOOT.read_text(encoding="ascii").strip()}
    except (OSError, IndexError, ValueError):
        return {"pid": pid, "started": None, "boot": None}


def is_alive(recorded: dict[str, Any]) -> bool:
    """Tell whether the process of an `identity` still exists."""
    # Process ids are reused, and processes can start at the same tick after each start of the machine.
    return recorded.get("started") is not None and {
        key: recorded.get(key) for key in ("pid", "started", "boot")
    } == identity(int(recorded["pid"]))


def beat(job: Path) -> None:
    """Write a heartbeat: the trainer is alive."""
    # A full disk has no room for a new file, but the training must continue.
    with suppress(OSError):
        (job / HEARTBEAT).touch()


@contextmanager
def beating(job: Path) -> Iterator[None]:
    """Write heartbeats in the background during one long operation."""
    is_done = Event()

    def beat_until_done() -> None:
        beat(job)
        while not is_done.wait(_BEAT_SECONDS):
            beat(job)

    beats = Thread(target=beat_until_done, daemon=True)
    beats.start()
    try:
        yield
    finally:
        is_done.set()
        beats.join()


def write_exit_code(job: Path, code: int) -> None:
    """Write how the training ended: 0 for done, `STOPPED`, `KILLED`, anything else for failed."""
    write_whole(job / EXIT_CODE, f"{code}\n")


def add_metrics(job: Path, values: dict[str, Any]) -> None:
    """Append a line of metrics."""
    with (job / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def forget_metrics(job: Path, step: int, *, judges_anew: bool = False) -> None:
    """Drop the metrics of steps that will be repeated; with `judges_anew` also of the last step's evaluation."""
    path = job / METRICS
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
            if values["step"] < step or (values["step"] == step and not (judges_anew and "valid_loss" in values)):
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError, RecursionError):
            # A partial line, written when the trainer was killed, or what a host has sent.
            continue
    write_whole(path, "".join(kept))
