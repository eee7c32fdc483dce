"""Trainings that Slurm starts: submitted once, looked up in its queue, and told to stop by it.

Everything here needs Python and Slurm's own commands alone: it runs on the login node of a cluster.
"""

import json
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from time import monotonic

from models.errors import ModelError
from models.files.whole_files import write_whole
from models.sft.job_files import EXIT_CODE, LAUNCH, STOPPED, end
from models.sft.processes import HasStopped, Stopping, launching, tell_kill, waited_for
from models.sft.state import State, ended, is_beating, launch_of, state_of_exit_code

SCRIPT = "slurm.sh"
CANCELLED = "cancelled"
"""A file that tells the script not to have itself put back into the queue."""

_QUEUED = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
_RUNNING = {"RUNNING", "SIGNALING", "STAGE_OUT", "SUSPENDED", "STOPPED", "RESIZING"}
_ENDING = "COMPLETING"
_LOOK = 0.5
_TIMEOUT = 60.0
"""Seconds that one of Slurm's commands may take."""


def submit(folder: Path, job_id: str, script: str, after: Path | None) -> int:
    """Submit the script of a training, unless it is in the queue, and return Slurm's number for it.

    Raises:
        ModelError: Slurm refuses it; the message is its own.
    """
    with launching(folder):
        name = f"kdtui-{job_id}"
        # Looked up by name: the answer to an earlier submission may have been lost.
        known = [
            line.split("|") for line in _told(["squeue", "--noheader", "--me", f"--name={name}", "--format=%i|%T"])
        ]
        if any(state == _ENDING for _, state in known):
            raise ModelError(f"{folder}: Slurm is still ending this training; try again in a moment")
        queued = [int(number) for number, state in known if state in _QUEUED | _RUNNING]
        number = queued[0] if queued else None
        if number is None:
            for old in (EXIT_CODE, CANCELLED):
                (folder / old).unlink(missing_ok=True)
            write_whole(folder / SCRIPT, script)
            command = ["sbatch", "--parsable", f"--job-name={name}"]
            if after is not None and ended(after) != 0:
                before = launch_of(after).get("slurm")
                if before is None:
                    raise ModelError(f"{after}: Slurm does not know this training, so none can wait for it")
                command += [f"--dependency=afterok:{before}", "--kill-on-invalid-dep=yes"]
            number = int(_told([*command, str(folder / SCRIPT)], cwd=folder)[0].partition(";")[0])
        write_whole(folder / LAUNCH, json.dumps({"launcher": "slurm", "slurm": number}))
        return number


def cancel(folder: Path, grace: float) -> Iterator[Stopping | HasStopped]:
    """Tell a training to stop with a checkpoint, and take it out of the queue.

    Args:
        grace: seconds that it has; 0 kills it at once, though somebody else may be waiting for it.

    Raises:
        ModelError: Slurm refuses.
    """
    with launching(folder) if grace else nullcontext():
        number = launch_of(folder).get("slurm")
        if type(number) is not int:
            raise ModelError(f"{folder / LAUNCH}: it has no number of a Slurm job any more; squeue --me shows it")
        state = _asked(folder)
        (folder / CANCELLED).touch()
        if state in _QUEUED:
            _told(["scancel", str(number)])
        elif state in _RUNNING and grace:
            # To the steps of the job alone: its script still says how it ended.
            _told(["scancel", "--signal=TERM", str(number)])
        began = monotonic()
        yield from waited_for(folder, grace, lambda: _asked(folder) in _RUNNING | _QUEUED | {_ENDING}, _LOOK)
        killed: tuple[str, ...] = ()
        if _asked(folder) in _RUNNING | _QUEUED:
            killed = (f"killed Slurm job {number}",)
            # First: whoever else waits for its end is to see what has ended it.
            tell_kill(folder, monotonic() - began)
            if not grace:
                _told(["scancel", "--signal=KILL", "--full", str(number)])
            _told(["scancel", str(number)])
        if ended(folder) is None:
            end(folder, STOPPED)
        yield HasStopped(killed)


def _asked(folder: Path) -> str | None:
    """What Slurm calls the state of a training now.

    Raises:
        ModelError: it does not answer, and nothing may be concluded from that.
    """
    queue = Queue([folder])
    if queue.problem is not None:
        raise ModelError(queue.problem)
    return queue.word(folder)


class Queue:
    """What Slurm says of trainings, asked once for all of them."""

    def __init__(self, folders: Iterable[Path]) -> None:
        launches = {folder: launch_of(folder) for folder in folders}
        # Of the others Slurm, which may not be there at all, is not asked.
        numbers = {
            folder: str(state_of_exit_code.get("slurm"))
            for folder, state_of_exit_code in launches.items()
            if state_of_exit_code.get("launcher") == "slurm"
        }
        self._numbers = numbers
        self._told: dict[str, tuple[str, str]] = {}
        self.problem: str | None = None
        """Why Slurm has not answered."""
        if not numbers:
            return
        try:
            # Jobs that have left the queue are no error where several are asked for.
            lines = _told(
                ["squeue", "--noheader", "--me", "--states=all", "--format=%i|%T|%r"],
            )
        except ModelError as error:
            self.problem = str(error)
            return
        for line in lines:
            number, word, reason = line.split("|", 2)
            self._told[number] = (word, reason)

    def word(self, folder: Path) -> str | None:
        """What Slurm calls the state of a training; None where it knows it no more."""
        return self._told.get(self._numbers.get(folder, ""), (None, ""))[0]

    def state(self, folder: Path) -> tuple[State, str | None]:
        """The state of a training, and why."""
        if self.problem is not None:
            code = ended(folder)
            return ("stalled" if code is None else state_of_exit_code(code)), self.problem
        word, reason = self._told.get(self._numbers[folder], (None, ""))
        if word in _QUEUED:
            return "queued", f"Slurm: {reason}"
        code = ended(folder)
        if word in (*_RUNNING, _ENDING) and code == STOPPED and not (folder / CANCELLED).exists():
            # The time was up: its script is having it put back into the queue, or has begun anew.
            return "running", None
        if code is not None:
            return state_of_exit_code(code), None
        if word in (*_RUNNING, _ENDING):
            return ("running" if is_beating(folder) or word == _ENDING else "stalled"), None
        return "failed", f"Slurm has ended it ({_history(self._numbers[folder]) or word or 'it says no more'})"


def _history(number: str) -> str | None:
    """How a job ended, where Slurm keeps accounts."""
    try:
        lines = _told(["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={number}", "--format=State"])
    except ModelError:
        return None
    return lines[0] if lines else None


def _told(command: list[str], cwd: Path | None = None) -> list[str]:
    """The lines that a command prints.

    Raises:
        ModelError: it fails, with what it says.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False, cwd=cwd)
    except FileNotFoundError as error:
        raise ModelError(f"{command[0]}: there is no such command; is this the login node of a cluster?") from error
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{command[0]}: Slurm does not answer") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ModelError(f"{command[0]}: {said[-1] if said else f'it failed with {done.returncode}'}")
    return [line for line in done.stdout.splitlines() if line.strip()]
