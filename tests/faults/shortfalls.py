"""Why the results of `make soak` do not show what the page docs/reliability.md promises."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdtui.text import counted
from tests.faults.load_workers import STEPS
from tests.faults.soak import (
    LOAD,
    LOAD_SECONDS,
    PROMISED,
    SESSIONS,
    has_changes,
    planned_parts,
    planned_rows,
    version,
)
from tests.faults.trials import NO_CALL, NO_COPY, SIGNALS

LEAST_STEPS = 20
"""How often each kind of work is done under load at least."""

_GROWTH, _SLACK = 1.1, 15.0
"""Memory is flat if it grows by at most this factor, plus some megabytes, between half of the time and the end."""

_PROCESSOR_HOURS = 4.0
"""Hours that a whole run takes at most, times the processors: two on two."""


def found_load(folder: Path) -> dict[str, Any]:
    """Return what a load of this version has shown; nothing if there was none."""
    path = folder / LOAD
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found if found.get("version") == version() else {}


def shortfalls(
    folder: Path,
    promised: Mapping[str, int] = PROMISED,
    sessions: int = SESSIONS,
    steps: Sequence[str] = STEPS,
) -> list[str]:
    """Return why the results in a folder do not show what the page promises, a sentence each.

    Args:
        promised: how often each kind of fault and of input is tried.
        sessions: that one command answers.
        steps: kinds of work under load.
    """
    rows, load = planned_rows(folder), found_load(folder)
    return [
        *(["the code differs from the commit"] if has_changes() else []),
        *_missing_trials(folder, rows, promised),
        *(_problems_of_load(load, sessions, steps) if load else ["there was no load"]),
        *_too_long(rows, load),
    ]


def _missing_trials(folder: Path, rows: Sequence[Mapping[str, Any]], promised: Mapping[str, int]) -> Iterator[str]:
    tried = Counter[str]()
    for row in rows:
        tried[row["kind"]] += _faults_that_came(row)
    for kind, count in promised.items():
        if tried[kind] < count:
            yield f"{kind}: {tried[kind]:,} of {count:,} are tried"
    yield from _calls_that_never_failed(rows)
    if undone := len(planned_parts(folder)) - len(rows):
        yield f"{counted(undone, 'part')} of the plan to do"
    if losses := sum(len(row["losses"]) for row in rows):
        yield f"{counted(losses, 'trial')} with a loss"


def _calls_that_never_failed(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for name, (failed, kinds) in kinds_of_failed_calls(rows).items():
        if missing := sorted(kinds - failed):
            yield f"{name}: {counted(len(missing), 'kind')} of call never failed, such as {missing[0]!r}"


def kinds_of_failed_calls(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[set[str], set[str]]]:
    """Return, by command, the kinds of calls to the file system that failed, and those that each run of it makes."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for row in rows:
        if row["kind"] == "writes":
            failed, kinds = found.get(row["name"], (set(), {*row["kinds"]}))
            found[row["name"]] = failed | {*row["failed"]}, kinds & {*row["kinds"]}
    return {name: (failed & kinds, kinds) for name, (failed, kinds) in found.items()}


def _faults_that_came(row: Mapping[str, Any]) -> int:
    """Count the faults of a part that came before the command ended, or its inputs."""
    if row["kind"] == "kills":
        names = {number.name for number in SIGNALS}
        return sum(count * sum(each in names for each in fault.split("+")) for fault, count in row["faults"].items())
    if row["kind"] in ("writes", "copies"):
        return sum(count for fault, count in row["faults"].items() if fault not in (NO_CALL, NO_COPY))
    return int(row["count"])


def _problems_of_load(load: Mapping[str, Any], sessions: int, steps: Sequence[str]) -> Iterator[str]:
    if load["seconds"] < LOAD_SECONDS:
        yield f"the load lasted {load['seconds']:.0f} seconds"
    measured = [*load["latencies"], *load["many_sessions"]]
    counts = {each["work"]: each["count"] for each in load["latencies"]}
    for step in steps:
        if counts.get(step, 0) < LEAST_STEPS:
            yield f"{step}: done {counts.get(step, 0)} times under load"
    if errors := sum(len(each["errors"]) for each in measured):
        yield f"{counted(errors, 'error')} under load"
    if load["damage"]:
        yield f"damage after the load: {load['damage']}"
    for run in load["many_sessions"]:
        if run["answers"] < sessions:
            yield f"{run['student']} answered {run['answers']:,} of {sessions:,} sessions"
    memory = [*load["memory"].items(), *((run["student"], run["memory"]) for run in load["many_sessions"])]
    for name, (half, late) in memory:
        if late > _GROWTH * half + _SLACK:
            yield f"the memory of {name} grew from {half:,.0f} to {late:,.0f} MB"


def _too_long(rows: Sequence[Mapping[str, Any]], load: Mapping[str, Any]) -> Iterator[str]:
    hours = (sum(row["seconds"] for row in rows) + load.get("in_all", 0) * load.get("processors", 1)) / 3600
    if hours > _PROCESSOR_HOURS:
        yield f"it took {hours:.1f} hours of a processor, and {_PROCESSOR_HOURS:g} are promised"
