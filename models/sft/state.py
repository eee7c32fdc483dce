"""The state of a training, read only from its job directory: so any client can tell it."""

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

_FROM_OUTSIDE = "it was ended from outside (killed, out of memory, or the machine was restarted)"

KILL = "killed "
"""The beginning of the log line that says how a training was killed."""

_CURVE = 60
"""Points of the loss curve."""

State: TypeAlias = Literal["created", "queued", "running", "stalled", "stopped", "failed", "done"]

ACTIVE: tuple[State, ...] = ("queued", "running", "stalled")
"""States that can change by themselves."""


@dataclass(frozen=True, slots=True)
class MeasuredPace:
    """The speed and the needs of a training, to estimate later ones.

    Attributes:
        tokens_per_second: during steps only.
        start_seconds: until the first step.
        valid_seconds: of an evaluation, per token of the validation examples; None if there was none.
        peak_memory_bytes: of the GPU if there is one, otherwise of the process.
        device: the name of the GPU, or cpu.
        machine: its host name.
    """

    tokens_per_second: float
    start_seconds: float
    valid_seconds: float | None
    peak_memory_bytes: int
    device: str
    machine: str


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The state of a training.

    Attributes:
        step, steps: done, and in total; None before the first metrics.
        loss: the mean over the last logged steps.
        pair_f1: the best so far on the validation sessions.
        tokens_per_second, eta_seconds: speed, and remaining time at this speed.
        reason: why it failed (the last line of its log), what it waits for, or where a stopped training resumes.
        curve: the loss from the first step to the last, as means of at most 60 parts.
        evaluations: (step, validation loss, pair F1 or None).
        skipped: examples that are longer than the job or the base allows.
        pace: None before the first metrics, and for a trainer that did not measure it.
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
    pace: MeasuredPace | None = None


def job_status(folder: Path, state: State | None = None, reason: str | None = None) -> JobStatus:
    """Return the state of the training in a directory.

    Args:
        state, reason: from a scheduler; None if only the directory tells.
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
        reason = last_log_line(folder) if exit_code(folder) is not None else _last_words(folder) or _FROM_OUTSIDE
    if state == "stopped" and reason is None:
        reason = _kill(folder) if exit_code(folder) == KILLED else _left(folder, logged.get("step"))
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


def _pace(logged: dict[str, Any], valid_seconds: list[float]) -> MeasuredPace | None:
    """Return what a line of metrics has measured; None if it has not."""
    numbers = [logged.get(name) for name in ("step_tokens_per_second", "start_seconds", "peak_memory_bytes")]
    names = [logged.get(name) for name in ("device", "machine")]
    if not all(map(_is_number, numbers)) or not all(isinstance(each, str) for each in names):
        return None
    speed, start, memory = (float(each or 0) for each in numbers)
    mean = sum(valid_seconds) / len(valid_seconds) if valid_seconds else None
    return MeasuredPace(speed, start, mean, int(memory), *map(str, names)) if speed > 0 else None


def metrics(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of metrics so far; partial and malformed ones are skipped."""
    try:
        lines = (folder / METRICS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            continue
        # Users edit files, a full disk truncates them, and a host can send anything.
        if isinstance(content, dict) and type(step := content.get("step")) is int and _is_number(step):
            yield content


def last_log_line(folder: Path) -> str:
    """Return the last non-empty line of the log."""
    lines = _last_lines(folder)
    return "there is no log" if lines is None else next(reversed(lines), "the log is empty")


def _last_lines(folder: Path) -> list[str] | None:
    """Return the last non-empty lines of the log; None if there is no log."""
    try:
        with (folder / LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    return [line.strip() for line in lines if line.strip()]


def _kill(folder: Path) -> str:
    """Return how a training was killed, by its log; its launcher can have added lines after that."""
    lines = [line for line in _last_lines(folder) or () if line.startswith(KILL)]
    return next(reversed(lines), f"{KILL}without a checkpoint; {resume_point(folder)}")


def last_checkpoint(folder: Path) -> int | None:
    """Return the step of the newest complete checkpoint; None if there is none."""
    names = [path.name for path in (folder / CHECKPOINTS).glob("step-*") if path.suffix != ".part"]
    return max((int(each) for name in names if (each := name.removeprefix("step-")).isdecimal()), default=None)


def resume_point(folder: Path) -> str:
    """Return where an ended training resumes, as the end of a sentence."""
    step = last_checkpoint(folder)
    return "there is no checkpoint, so it starts again" if step is None else f"it resumes from step {step:,}"


def _left(folder: Path, step: int | None) -> str:
    """Return what a stopped training has left."""
    saved = last_checkpoint(folder)
    if saved is not None and saved >= (step or 0):
        return f"it left a checkpoint at step {saved:,}"
    at = "it had not reached its first checkpoint" if step is None else f"it wrote no checkpoint at step {step:,}"
    return f"{at}; {resume_point(folder)}"


def _last_words(folder: Path) -> str | None:
    """Return why the last trainer failed, by its log, if a full disk kept it from writing more."""
    try:
        # Lines from before its start belong to an earlier trainer.
        if (folder / LOG).stat().st_mtime < (folder / PID).stat().st_mtime:
            return None
    except OSError:
        return None
    line = last_log_line(folder)
    return line if line.startswith(SPEAKER) else None


def trainer_pid(folder: Path) -> int | None:
    """Return the process that trains in a directory; None if none runs."""
    return _alive(folder / PID)


def starter_pid(folder: Path) -> int | None:
    """Return the process that was started to train in a directory, or to wait for its turn."""
    return _alive(folder / LAUNCH)


def exit_code(folder: Path) -> int | None:
    """Return the exit code of a training; None if it has not written one."""
    try:
        return int((folder / EXIT_CODE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def own_state(folder: Path) -> State:
    """Return the state by the files of a directory, and by the processes of this machine that they name."""
    code = exit_code(folder)
    if code is not None:
        return state_of_exit_code(code)
    if trainer_pid(folder) is not None:
        return "running" if is_beating(folder) else "stalled"
    if starter_pid(folder) is not None:
        return "queued" if launch_of(folder).get("after") and not (folder / PID).exists() else "running"
    # It started, and was killed before it could write how it ended.
    return "failed" if (folder / PID).exists() or (folder / LAUNCH).exists() else "created"


def state_of_exit_code(code: int) -> State:
    """Return the state that an exit code stands for."""
    return {0: "done", STOPPED: "stopped", KILLED: "stopped"}.get(code, "failed")  # type: ignore[return-value]


def launch_of(folder: Path) -> dict[str, Any]:
    """Return how the training in a directory was started; empty if it was not, or if that cannot be read."""
    try:
        content = json.loads((folder / LAUNCH).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def is_beating(folder: Path) -> bool:
    """Tell whether a trainer wrote a heartbeat recently. Before the first batch it loads the base."""
    times = [file.stat().st_mtime for name in (HEARTBEAT, PID) if (file := folder / name).exists()]
    return bool(times) and max(times) > time() - _SILENCE


def _alive(path: Path) -> int | None:
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
        pid = int(recorded["pid"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return pid if is_alive(recorded) else None


def _is_number(value: object) -> bool:
    # JSON of Python can hold integers of any size, which other programs cannot read.
    return (isinstance(value, float) and math.isfinite(value)) or (type(value) is int and abs(value) < 1 << 63)


def _means(values: list[float]) -> Iterator[float]:
    """Return at most 60 values, each the mean of a part."""
    width = min(_CURVE, len(values))
    for number in range(width):
        part = values[number * len(values) // width : (number + 1) * len(values) // width]
        yield sum(part) / len(part)
