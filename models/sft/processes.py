"""Trainings as processes of a machine: they outlive the program that started them, and end with all their children.

This module needs only Python: it runs on hosts, before anything is installed there.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from models.errors import ModelError
from models.files.whole_files import write_whole
from models.sft.job_files import EXIT_CODE, KILLED, LAUNCH, LOG, STOPPED, identity, write_exit_code
from models.sft.state import (
    ACTIVE,
    KILL,
    exit_code,
    last_log_line,
    own_state,
    resume_point,
    starter_pid,
    state_of_exit_code,
    trainer_pid,
)

GRACE = 120.0
"""Seconds that a trainer has to write a checkpoint before it is killed."""

TORCHRUN_ENVIRONMENT = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(int(GRACE) - 10)}
"""Has torchrun wait almost as long for a checkpoint, in seconds, instead of killing its processes after 30. Older
versions ignore the variable, but would refuse the option of the same name."""

_MARK = "KDTUI_JOB"
"""An environment variable of a trainer and of all its children, by which they can be found anywhere."""

_STARTS = 1.0
"""Seconds in which a trainer that cannot run at all fails."""

_ENDS = 10.0
"""Seconds until a process is gone after it wrote its exit code."""

_LOOK = 2.0
"""Seconds between two checks of a training that another one waits for."""


@contextmanager
def launch_lock(folder: Path) -> Iterator[None]:
    """Lock the start and the end of the training in a directory against other clients.

    Raises:
        ModelError: another client starts or ends it.
    """
    with (folder / "launch.lock").open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ModelError(f"{folder}: another client is starting or ending this training; try again") from error
        yield


def start_trainer(
    folder: Path,
    *,
    python: str | None = None,
    code: str | None = None,
    processes: int = 1,
    after: Path | None = None,
) -> int:
    """Start or resume the trainer of a job directory, and return its process id; a running trainer is left alone.

    Args:
        python: the Python with the packages of the trainer; None for this one.
        code: the path of the package `models`; None if Python finds it by itself.
        processes: number of processes of torchrun, one for each GPU.
        after: the directory of a training that has to be done first.

    Raises:
        ModelError: it does not start.
    """
    with launch_lock(folder):
        if (running := _running_process(folder)) is not None:
            return running
        (folder / EXIT_CODE).unlink(missing_ok=True)
        command = [python or sys.executable, *trainer_arguments(folder, processes)]
        if after is not None:
            command = [sys.executable, "-m", "models.sft.processes", "wait", str(after), str(folder), *command]
        try:
            process = _spawn(folder, command, code=code, after=after)
        except OSError as error:
            raise ModelError(f"{command[0]}: {error.strerror}; a Python with torch and peft is needed there") from error
    limit = monotonic() + _STARTS
    while trainer_pid(folder) is None and process.poll() is None and after is None and monotonic() < limit:
        sleep(0.02)
    if process.poll() is not None and exit_code(folder) is None:
        raise ModelError(f"the trainer did not start ({last_log_line(folder)}); its log is {folder / LOG}")
    return process.pid


def start_commands(folder: Path, commands: Sequence[Sequence[str]]) -> int:
    """Run commands in turn, in the same way as a training, and return the process id; running commands are left alone.

    Raises:
        ModelError: another client starts them right now.
    """
    with launch_lock(folder):
        if (running := _running_process(folder)) is not None:
            return running
        (folder / EXIT_CODE).unlink(missing_ok=True)
        command = [sys.executable, "-m", "models.sft.processes", "run", str(folder), json.dumps(commands)]
        return _spawn(folder, command).pid


def _running_process(folder: Path) -> int | None:
    """Return the process of a training; a process that has written its exit code gets some time to end."""
    limit = monotonic() + _ENDS
    while (running := trainer_pid(folder) or starter_pid(folder)) is not None:
        if exit_code(folder) is None or monotonic() > limit:
            return running
        sleep(0.05)
    return None


def _spawn(
    folder: Path, command: Sequence[str], *, code: str | None = None, after: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Run a command that outlives this process; write its output and its identity to the folder."""
    # PYTHONSAFEPATH: otherwise a folder of the user's in the working directory, named like one of the packages, would
    # be imported in its place, also by what torchrun starts.
    environment = {**os.environ, _MARK: str(folder), "PYTHONSAFEPATH": "1", **TORCHRUN_ENVIRONMENT}
    if code is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH"))))
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            # Neither an interrupt nor the end of the terminal reaches it.
            start_new_session=True,
        )
    launch = {**identity(process.pid), "launcher": "direct", "after": None if after is None else str(after)}
    write_whole(folder / LAUNCH, json.dumps(launch))
    return process


def trainer_arguments(folder: Path, processes: int) -> list[str]:
    """Return the arguments of Python that train in a directory."""
    if processes == 1:
        return ["-m", "models.sft", str(folder)]
    return [
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)),
        *("-m", "models.sft", str(folder)),
    ]


@dataclass(frozen=True, slots=True)
class Stopping:
    """A training was asked to stop, and is waited for.

    Attributes:
        seconds: since then.
        grace: seconds after which it is killed.
        log_line: the last line of its log.
    """

    seconds: float
    grace: float
    log_line: str


@dataclass(frozen=True, slots=True)
class HasStopped:
    """A training has ended.

    Attributes:
        left: one text for each process that had to be killed, or that could not be.
    """

    left: tuple[str, ...]


def stop_trainer(folder: Path, *, grace: float = GRACE) -> Iterator[Stopping | HasStopped]:
    """Stop a trainer and wait for it; kill the rest of it and of its children afterwards.

    If the caller closes the iterator early, the trainer still stops by itself.

    Args:
        grace: seconds until it is killed; 0 kills it at once, even if another client is waiting for it.

    Raises:
        ModelError: another client starts or ends it right now.
    """
    with launch_lock(folder) if grace else nullcontext():
        pid = trainer_pid(folder) or starter_pid(folder)
        if pid is not None and grace:
            _signal(pid, signal.SIGTERM)
        began = monotonic()
        yield from wait_for_stop(folder, grace, lambda: bool(_family(folder)))
        if family := _family(folder):
            # First: another client that waits for its end has to see what ended it.
            record_kill(folder, monotonic() - began)
        killed = []
        for process in family:
            killed.append(f"{process} ({_command(process)})")
            _signal(process, signal.SIGKILL)
        limit = monotonic() + 10
        while (left := _family(folder)) and monotonic() < limit:
            sleep(0.05)
        if left and exit_code(folder) == KILLED:
            (folder / EXIT_CODE).unlink()
        if not left and exit_code(folder) is None:
            # It was stopped before it could write this itself.
            write_exit_code(folder, STOPPED)
        yield HasStopped(
            (
                *(f"killed {each}" for each in killed),
                *(f"cannot end {each} ({_command(each)})" for each in left),
            )
        )


def wait_for_stop(folder: Path, grace: float, is_there: Callable[[], bool], pause: float = 0.05) -> Iterator[Stopping]:
    """Wait until a training has stopped, at most `grace` seconds, and report once per second."""
    began = monotonic()
    reported_at = 0
    if grace:
        yield Stopping(0.0, grace, last_log_line(folder))
    while (seconds := monotonic() - began) < grace and is_there():
        if seconds >= reported_at + 1:
            reported_at = int(seconds)
            yield Stopping(seconds, grace, last_log_line(folder))
        sleep(pause)


def record_kill(folder: Path, seconds: float) -> None:
    """Write to the log and as exit code that a training is killed, `seconds` after it was asked to stop."""
    after = f"after {seconds:.0f} s without a checkpoint" if seconds >= 1 else "at once, without a checkpoint"
    # A training on a full disk has to be killed all the same.
    with suppress(OSError):
        with (folder / LOG).open("a", encoding="utf-8") as log:
            # The trainer can be in the middle of a line.
            log.write(f"\n{KILL}{after}; {resume_point(folder)}\n")
        write_exit_code(folder, KILLED)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _family(folder: Path) -> list[int]:
    """Return the processes of a training, including children in sessions of their own."""
    mark = f"{_MARK}={folder}".encode()
    # A trainer that was started by hand has no mark.
    pids = [pid for pid in (trainer_pid(folder), starter_pid(folder)) if pid is not None]
    pids += [child for pid in pids for child in _children(pid)]
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "environ").read_bytes().split(b"\0") and identity(int(path.name))["started"] is not None:
                pids.append(int(path.name))
        except OSError:
            # It has ended, or belongs to another user.
            continue
    return [pid for pid in dict.fromkeys(pids) if pid != os.getpid()]


def _children(pid: int) -> list[int]:
    """Return all descendants of a process."""
    try:
        own = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []
    return [each for child in own for each in (child, *_children(child))]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()[:200]
    except OSError:
        return "it has ended"


def wait_and_train(before: Path, folder: Path, command: Sequence[str]) -> None:
    """Wait until another training is done, then become the trainer; if it failed or was stopped, fail too."""
    while own_state(before) in ("created", *ACTIVE):
        sleep(_LOOK)
    code = exit_code(before)
    if code is None or state_of_exit_code(code) != "done":
        print(f"the previous training, {before}, is not done; start this one anyway with kdtui sft resume")
        write_exit_code(folder, 1)
        return
    os.execvp(command[0], list(command))


def run_commands(folder: Path, commands: Sequence[Sequence[str]]) -> None:
    """Run commands until one fails, and write the exit code to the folder."""
    code = 1
    try:
        for command in commands:
            print(f"$ {' '.join(command)}", flush=True)
            code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
            if code:
                break
    finally:
        write_exit_code(folder, code)


if __name__ == "__main__":
    if sys.argv[1] == "wait":
        wait_and_train(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    else:
        run_commands(Path(sys.argv[2]), json.loads(sys.argv[3]))
