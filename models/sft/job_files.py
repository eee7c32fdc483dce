"""The files of a job directory that a trainer writes, and that tell any client how it is."""

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
"""The exit code of a trainer that was told to stop, and has left a checkpoint: what a shell reports of SIGTERM."""

KILLED = 137
"""The exit code of a training that was ended from here and had no time for a checkpoint: a shell's of SIGKILL."""

SPEAKER = "models.sft: "
"""What a line of the log begins with that says why a training has failed."""

LOG, LAUNCH, CHECKPOINTS = "log", "launch.json", "checkpoints"

ID = "id"
"""The file with the key of a training: two trainings of the same name have different keys."""

START = "start"
"""The folder with the adapter that the training begins from, if it begins from one."""

ANSWERS = "answers.jsonl"
"""In the folder of the adapter: what the model answers to the validation examples, before the training and after."""

LOG_PART = 1 << 16
"""Bytes of a log that are read at a time; part number n begins at n times that."""

_BEAT_SECONDS = 10.0

_ENDS = 5.0
"""Seconds that a trainer which was killed may take to let go of its directory."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def held(job: Path) -> Iterator[None]:
    """Hold a job directory: one trainer at a time works in it, and says who it is.

    Raises:
        ModelError: another one does.
    """
    # Opened without being emptied: what the other one has written stays.
    with (job / PID).open("a+", encoding="utf-8") as file:
        limit = monotonic() + _ENDS
        while not _is_locked(file):
            if _is_held(job) or monotonic() > limit:
                raise ModelError(f"{job}: another trainer is at work here; wait for it, or cancel it first")
            # It was killed, and some of its threads are there for a moment more.
            sleep(0.02)
        # First: who sees the new trainer must not see the end of the one before.
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
    """Whether the trainer that has said who it is is still there."""
    try:
        return is_alive(json.loads((job / PID).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


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
    # A disk that is full has no room for a new file, and a training is worth more than that.
    with suppress(OSError):
        (job / HEARTBEAT).touch()


@contextmanager
def beating(job: Path) -> Iterator[None]:
    """Say again and again that the trainer is alive, while it does one long thing."""
    is_done = Event()

    def go_on() -> None:
        beat(job)
        while not is_done.wait(_BEAT_SECONDS):
            beat(job)

    beats = Thread(target=go_on, daemon=True)
    beats.start()
    try:
        yield
    finally:
        is_done.set()
        beats.join()


def end(job: Path, code: int) -> None:
    """Say that the training has ended, and how: 0 done, `STOPPED`, `KILLED`, anything else failed."""
    write_whole(job / EXIT_CODE, f"{code}\n")


def add_metrics(job: Path, values: dict[str, Any]) -> None:
    """Add a line of metrics."""
    with (job / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def forget_metrics(job: Path, step: int, *, judges_anew: bool = False) -> None:
    """Drop the metrics of steps that will be done anew, and of the evaluation of the last one where that will be."""
    path = job / METRICS
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
            if values["step"] < step or (values["step"] == step and not (judges_anew and "valid_loss" in values)):
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            # Half a line, written when the trainer was killed.
            continue
    write_whole(path, "".join(kept))
