"""How a training is, read from the files of its job directory alone: so any client can tell, whoever started it."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any, Literal, TypeAlias

from models.sft.job_files import (
    CHECKPOINTS,
    EXIT_CODE,
    HEARTBEAT,
    KILLED,
    LAUNCH,
    LOG,
    METRICS,
    PID,
    SPEAKER,
    STOPPED,
    is_alive,
)

_SILENCE = 300.0
"""Seconds without a heartbeat, which comes with every batch, after which a training counts as stalled."""

_FROM_OUTSIDE = "it was ended from outside (killed, out of memory, or the machine was started anew)"

KILL = "killed "
"""What the line of the log begins with that says how a training was killed."""

_CURVE = 60
"""Points of the loss that are told."""

State: TypeAlias = Literal["created", "queued", "running", "stalled", "stopped", "failed", "done"]

ACTIVE: tuple[State, ...] = ("queued", "running", "stalled")
"""States that may change by themselves."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a training was, and what it needed: what the next one can be judged by.

    Attributes:
        tokens_per_second: in steps alone.
        start_seconds: until the first step.
        valid_seconds: of an evaluation, for each token of the validation examples; None where there was none.
        peak_memory_bytes: of the GPU where there is one, otherwise of the process.
        device: the name of the GPU, or cpu.
        machine: what it calls itself.
    """

    tokens_per_second: float
    start_seconds: float
    valid_seconds: float | None
    peak_memory_bytes: int
    device: str
    machine: str


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a training is.

    Attributes:
        step, steps: done, and to be done; None before the first metrics.
        loss: the mean over the last steps that were logged.
        pair_f1: the best so far on the validation sessions.
        tokens_per_second, eta_seconds: speed, and what is left at it.
        reason: why it failed: the last line of its log; or what it waits for; or from where one that has stopped goes
            on.
        curve: the loss from the first step to the last, as means of at most 60 parts.
        evaluations: (step, validation loss, pair F1 or None).
        skipped: examples that are longer than the job or the base allows.
        pace: None before the first metrics, and of a trainer that did not measure it.
    """

    state: State
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    pair_f1: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    reason: str | None = None
    curve: tuple[float, ...] = ()
    evaluations: tuple[tuple[int, float, float | None], ...] = ()
    skipped: int | None = None
    pace: Pace | None = None


def job_status(folder: Path, state: State | None = None, reason: str | None = None) -> JobStatus:
    """How the training in a directory is.

    Args:
        state, reason: what a scheduler says; None where nobody but the directory knows.
    """
    state = state or own_state(folder)
    logged: dict[str, Any] = {}
    losses: list[float] = []
    evaluations: list[tuple[int, float, float | None]] = []
    valid_seconds: list[float] = []
    for line in metrics(folder):
        if _is_number(line.get("loss")):
            logged = line
            losses.append(line["loss"])
        if _is_number(line.get("valid_loss")):
            value = line.get("pair_f1")
            evaluations.append((line["step"], line["valid_loss"], value if _is_number(value) else None))
            took, of = line.get("valid_seconds"), line.get("valid_tokens")
            if _is_number(took) and _is_number(of) and of:
                valid_seconds.append(took / of)
    if state == "failed" and reason is None:
        reason = last_line(folder) if ended(folder) is not None else _last_words(folder) or _FROM_OUTSIDE
    if state == "stopped" and reason is None:
        reason = _kill(folder) if ended(folder) == KILLED else _left(folder, logged.get("step"))
    return JobStatus(
        state,
        logged.get("step"),
        steps if type(steps := logged.get("steps")) is int and _is_number(steps) else None,
        logged.get("loss"),
        max((value for _, _, value in evaluations if value is not None), default=None),
        speed if _is_number(speed := logged.get("tokens_per_second")) else None,
        left if state == "running" and _is_number(left := logged.get("eta_seconds")) else None,
        reason,
        tuple(_means(losses)),
        tuple(evaluations),
        skipped if type(skipped := logged.get("skipped")) is int else None,
        _pace(logged, valid_seconds),
    )


def _pace(logged: dict[str, Any], valid_seconds: list[float]) -> Pace | None:
    """What a line of metrics has measured, if it has."""
    numbers = [logged.get(name) for name in ("step_tokens_per_second", "start_seconds", "peak_memory_bytes")]
    names = [logged.get(name) for name in ("device", "machine")]
    if not all(map(_is_number, numbers)) or not all(isinstance(each, str) for each in names):
        return None
    speed, start, memory = (float(each or 0) for each in numbers)
    mean = sum(valid_seconds) / len(valid_seconds) if valid_seconds else None
    return Pace(speed, start, mean, int(memory), *map(str, names)) if speed > 0 else None


def metrics(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of metrics so far; what is no line yet is left out."""
    try:
        lines = (folder / METRICS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        # People edit files, and a disk that is full cuts them.
        if isinstance(found, dict) and type(step := found.get("step")) is int and _is_number(step):
            yield found


def last_line(folder: Path) -> str:
    """The last line of the log that says something."""
    lines = _last_lines(folder)
    return "there is no log" if lines is None else next(reversed(lines), "the log is empty")


def _last_lines(folder: Path) -> list[str] | None:
    """The last lines of the log that say something; None where there is no log."""
    try:
        with (folder / LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    return [line.strip() for line in lines if line.strip()]


def _kill(folder: Path) -> str:
    """How a training was killed, as its log says; behind that, what started it may have had its own words."""
    lines = [line for line in _last_lines(folder) or () if line.startswith(KILL)]
    return next(reversed(lines), f"{KILL}without a checkpoint; {goes_on_from(folder)}")


def last_checkpoint(folder: Path) -> int | None:
    """The step of the newest checkpoint that is whole; None where there is none."""
    names = [path.name for path in (folder / CHECKPOINTS).glob("step-*") if path.suffix != ".part"]
    return max((int(each) for name in names if (each := name.removeprefix("step-")).isdecimal()), default=None)


def goes_on_from(folder: Path) -> str:
    """Where a training goes on that was ended, as the end of a sentence."""
    step = last_checkpoint(folder)
    return "there is no checkpoint, so it begins anew" if step is None else f"it goes on from step {step:,}"


def _left(folder: Path, step: int | None) -> str:
    """What one has left that was told to stop."""
    saved = last_checkpoint(folder)
    if saved is not None and saved >= (step or 0):
        return f"it left a checkpoint at step {saved:,}"
    at = "it had not come to its first checkpoint" if step is None else f"it wrote no checkpoint at step {step:,}"
    return f"{at}; {goes_on_from(folder)}"


def _last_words(folder: Path) -> str | None:
    """Why the last trainer failed, as its log says, where there was no room to say more: on a disk that was full."""
    try:
        # Lines from before it began are those of another one.
        if (folder / LOG).stat().st_mtime < (folder / PID).stat().st_mtime:
            return None
    except OSError:
        return None
    line = last_line(folder)
    return line if line.startswith(SPEAKER) else None


def trainer(folder: Path) -> int | None:
    """The process that trains in a directory; None where there is none any more."""
    return _alive(folder / PID)


def starter(folder: Path) -> int | None:
    """The process that was started to train in a directory, or to wait until it may."""
    return _alive(folder / LAUNCH)


def ended(folder: Path) -> int | None:
    """The exit code of a training that has said how it ended."""
    try:
        return int((folder / EXIT_CODE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def own_state(folder: Path) -> State:
    """What the files of a directory say, and the processes of this machine that they name."""
    code = ended(folder)
    if code is not None:
        return state_of_exit_code(code)
    if trainer(folder) is not None:
        return "running" if is_beating(folder) else "stalled"
    if starter(folder) is not None:
        return "queued" if launch_of(folder).get("after") and not (folder / PID).exists() else "running"
    # It began, and somebody ended it who gave it no time to say so.
    return "failed" if (folder / PID).exists() or (folder / LAUNCH).exists() else "created"


def state_of_exit_code(code: int) -> State:
    """What an exit code means."""
    return {0: "done", STOPPED: "stopped", KILLED: "stopped"}.get(code, "failed")  # type: ignore[return-value]


def launch_of(folder: Path) -> dict[str, Any]:
    """How the training in a directory was started; empty where it was not, or cannot be read."""
    try:
        found = json.loads((folder / LAUNCH).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_beating(folder: Path) -> bool:
    """Whether a trainer has been heard of lately. Before the first batch the base is loaded."""
    times = [file.stat().st_mtime for name in (HEARTBEAT, PID) if (file := folder / name).exists()]
    return bool(times) and max(times) > time() - _SILENCE


def _alive(path: Path) -> int | None:
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
        pid = int(recorded["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if is_alive(recorded) else None


def _is_number(value: object) -> bool:
    # Python's integers have no end, and those of others do.
    return (isinstance(value, float) and math.isfinite(value)) or (type(value) is int and abs(value) < 1 << 63)


def _means(values: list[float]) -> Iterator[float]:
    """So many values as a curve has points, each the mean of a part."""
    width = min(_CURVE, len(values))
    for number in range(width):
        part = values[number * len(values) // width : (number + 1) * len(values) // width]
        yield sum(part) / len(part)
