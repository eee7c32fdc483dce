"""Trainings as Slurm jobs: submitted once, looked up in the queue, and cancelled.

This module needs only Python and Slurm's own commands: it runs on the login node of a cluster.
"""

import json
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from time import monotonic

from models.errors import ModelError
from models.files.whole_files import write_whole
from models.sft.job_files import EXIT_CODE, LAUNCH, STOPPED, write_exit_code
from models.sft.processes import HasStopped, Stopping, launch_lock, record_kill, wait_for_stop
from models.sft.state import State, exit_code, is_beating, launch_of, state_of_exit_code

SCRIPT = "slurm.sh"
CANCELLED = "cancelled"
"""A file that tells the script not to requeue its job."""

_QUEUED = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
_RUNNING = {"RUNNING", "SIGNALING", "STAGE_OUT", "SUSPENDED", "STOPPED", "RESIZING"}
_ENDING = "COMPLETING"
_LOOK = 0.5
_TIMEOUT = 60.0
"""Seconds for one of Slurm's commands."""


def submit(folder: Path, job_id: str, script: str, after: Path | None) -> int:
    """Submit the script of a training unless it is queued, and return Slurm's job number.

    Raises:
        ModelError: Slurm refuses; the message is Slurm's.
    """
    with launch_lock(folder):
        name = f"kdtui-{job_id}"
        # Looked up by name: the answer to an earlier submission can have been lost.
        known = [
            line.split("|")
            for line in _output_lines(["squeue", "--noheader", "--me", f"--name={name}", "--format=%i|%T"])
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
            if after is not None and exit_code(after) != 0:
                before = launch_of(after).get("slurm")
                if before is None:
                    raise ModelError(f"{after}: Slurm does not know this training, so none can wait for it")
                command += [f"--dependency=afterok:{before}", "--kill-on-invalid-dep=yes"]
            number = int(_output_lines([*command, str(folder / SCRIPT)], cwd=folder)[0].partition(";")[0])
        write_whole(folder / LAUNCH, json.dumps({"launcher": "slurm", "slurm": number}))
        return number


def cancel_job(folder: Path, grace: float) -> Iterator[Stopping | HasStopped]:
    """Stop a training with a checkpoint, and remove it from the queue.

    Args:
        grace: seconds until it is killed; 0 kills it at once, even if another client is waiting for it.

    Raises:
        ModelError: Slurm refuses.
    """
    with launch_lock(folder) if grace else nullcontext():
        number = launch_of(folder).get("slurm")
        if type(number) is not int:
            raise ModelError(f"{folder / LAUNCH}: it has no number of a Slurm job any more; squeue --me shows it")
        state = _current_state(folder)
        (folder / CANCELLED).touch()
        if state in _QUEUED:
            _output_lines(["scancel", str(number)])
        elif state in _RUNNING and grace:
            # Only to the steps of the job: its script still writes how it ended.
            _output_lines(["scancel", "--signal=TERM", str(number)])
        began = monotonic()
        yield from wait_for_stop(folder, grace, lambda: _current_state(folder) in _RUNNING | _QUEUED | {_ENDING}, _LOOK)
        killed: tuple[str, ...] = ()
        if _current_state(folder) in _RUNNING | _QUEUED:
            killed = (f"killed Slurm job {number}",)
            # First: another client that waits for its end has to see what ended it.
            record_kill(folder, monotonic() - began)
            if not grace:
                _output_lines(["scancel", "--signal=KILL", "--full", str(number)])
            _output_lines(["scancel", str(number)])
        if exit_code(folder) is None:
            write_exit_code(folder, STOPPED)
        yield HasStopped(killed)


def _current_state(folder: Path) -> str | None:
    """Return Slurm's current state of a training.

    Raises:
        ModelError: Slurm does not answer, which tells nothing about the training.
    """
    queue = SlurmQueue([folder])
    if queue.problem is not None:
        raise ModelError(queue.problem)
    return queue.word(folder)


class SlurmQueue:
    """Slurm's states of trainings, all from one query."""

    def __init__(self, folders: Iterable[Path]) -> None:
        launches = {folder: launch_of(folder) for folder in folders}
        # Slurm, which can be missing, is not asked about other trainings.
        numbers = {
            folder: str(launch.get("slurm")) for folder, launch in launches.items() if launch.get("launcher") == "slurm"
        }
        self._numbers = numbers
        self._states: dict[str, tuple[str, str]] = {}
        self.problem: str | None = None
        """Why Slurm did not answer; None if it did."""
        if not numbers:
            return
        try:
            # A query for all jobs does not fail for jobs that have left the queue.
            lines = _output_lines(
                ["squeue", "--noheader", "--me", "--states=all", "--format=%i|%T|%r"],
            )
        except ModelError as error:
            self.problem = str(error)
            return
        for line in lines:
            number, word, reason = line.split("|", 2)
            self._states[number] = (word, reason)

    def word(self, folder: Path) -> str | None:
        """Return Slurm's state of a training; None if Slurm does not know it any more."""
        return self._states.get(self._numbers.get(folder, ""), (None, ""))[0]

    def state(self, folder: Path) -> tuple[State, str | None]:
        """Return the state of a training, and the reason."""
        if self.problem is not None:
            code = exit_code(folder)
            return ("stalled" if code is None else state_of_exit_code(code)), self.problem
        word, reason = self._states.get(self._numbers[folder], (None, ""))
        if word in _QUEUED:
            return "queued", f"Slurm: {reason}"
        code = exit_code(folder)
        if word in (*_RUNNING, _ENDING) and code == STOPPED and not (folder / CANCELLED).exists():
            # The time limit was reached: its script requeues it, or it has started again.
            return "running", None
        if code is not None:
            return state_of_exit_code(code), None
        if word in (*_RUNNING, _ENDING):
            return ("running" if is_beating(folder) or word == _ENDING else "stalled"), None
        return "failed", f"Slurm has ended it ({_history(self._numbers[folder]) or word or 'without an error message'})"


def _history(number: str) -> str | None:
    """Return how a job ended, if Slurm keeps accounts."""
    try:
        lines = _output_lines(
            ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={number}", "--format=State"]
        )
    except ModelError:
        return None
    return lines[0] if lines else None


def _output_lines(command: list[str], cwd: Path | None = None) -> list[str]:
    """Run a command, and return the lines that it prints.

    Raises:
        ModelError: it fails; the message is that of the command.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False, cwd=cwd)
    except FileNotFoundError as error:
        raise ModelError(f"{command[0]}: there is no such command; is this the login node of a cluster?") from error
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{command[0]}: Slurm does not answer") from error
    if done.returncode:
        errors = done.stderr.strip().splitlines()
        raise ModelError(f"{command[0]}: {errors[-1] if errors else f'it failed with {done.returncode}'}")
    return [line for line in done.stdout.splitlines() if line.strip()]
