"""How a training is, read from the files of its job directory alone: so any client can tell, whoever started it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any, Literal, TypeAlias

from models.sft.job_files import EXIT_CODE, HEARTBEAT, METRICS, PID, identity

LOG = "log"
STOPPED = 143
"""The exit code of a trainer that was told to stop, and has left a checkpoint."""

_SILENCE = 300.0
"""Seconds without a heartbeat, which comes with every batch, after which a training counts as stalled."""

State: TypeAlias = Literal["created", "running", "stalled", "stopped", "failed", "done"]


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a training is.

    Attributes:
        step, steps: done, and to be done; None before the first metrics.
        loss: of the last step that was logged.
        pair_f1: the best so far on the validation sessions.
        tokens_per_second, eta_seconds: speed, and what is left at it.
        reason: why it failed: the last line of its log.
    """

    state: State
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    pair_f1: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    reason: str | None = None


def job_status(folder: Path) -> JobStatus:
    """How the training in a directory is."""
    state = _state(folder)
    logged: dict[str, Any] = {}
    best: float | None = None
    for line in metrics(folder):
        if "loss" in line:
            logged = line
        if "pair_f1" in line:
            best = max(best or 0.0, line["pair_f1"])
    return JobStatus(
        state,
        logged.get("step"),
        logged.get("steps"),
        logged.get("loss"),
        best,
        logged.get("tokens_per_second"),
        logged.get("eta_seconds") if state == "running" else None,
        last_line(folder) if state == "failed" else None,
    )


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
        if isinstance(found, dict):
            yield found


def last_line(folder: Path) -> str:
    """The last line of the log that says something."""
    try:
        with (folder / LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return "there is no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "the log is empty")


def trainer(folder: Path) -> int | None:
    """The process that trains in a directory; None where there is none any more."""
    try:
        recorded = json.loads((folder / PID).read_text(encoding="utf-8"))
        pid = int(recorded["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # A number is used again, and processes start at the same ticks after every start of the machine.
    return pid if recorded == identity(pid) and recorded["started"] is not None else None


def _state(folder: Path) -> State:
    try:
        code = int((folder / EXIT_CODE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if trainer(folder) is not None:
            return "running" if _is_beating(folder) else "stalled"
        # It began, and somebody ended it who gave it no time to say so.
        return "failed" if (folder / PID).exists() else "created"
    return {0: "done", STOPPED: "stopped"}.get(code, "failed")  # type: ignore[return-value]


def _is_beating(folder: Path) -> bool:
    # Before the first batch the base is loaded.
    files = [folder / HEARTBEAT, folder / PID]
    return max(file.stat().st_mtime for file in files if file.exists()) > time() - _SILENCE
