"""Costs of runs: tokens by answer; energy and memory by stretch of time in which a process worked on the run."""

from dataclasses import dataclass

from store.database import now
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time in which one process answered sessions of a run without a break.

    Attributes:
        sessions: number of answered sessions.
        seconds: of work, from the first prompt to the last answer.
        joules: energy that the machine used; None if no meter can be read.
        meters: the meters that measured it.
        peak_memory_bytes: peak memory of the process; None if unknown.
    """

    sessions: int
    seconds: float
    joules: float | None
    meters: str | None
    peak_memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class TokenTotals:
    """Tokens of a run's answers; `known` counts the answers with known numbers of tokens."""

    known: int
    prompt: int
    completion: int


def begin_stretch(db: Database, run: int) -> int | None:
    """Store that a process begins to answer; return the number of the stretch, or None if the run is deleted."""
    with db.atomic():
        done = db.execute(
            "INSERT INTO run_stretches (run_id, began_at, sessions, seconds) SELECT id, ?, 0, 0 FROM runs WHERE id = ?",
            [now(), run],
        )
        return done.lastrowid if done.rowcount else None


def update_stretch(db: Database, number: int, stretch: Stretch) -> None:
    """Store the progress of a stretch; do nothing if the run is deleted."""
    with db.atomic():
        db.execute(
            "UPDATE run_stretches SET sessions = ?, seconds = ?, joules = ?, meters = ?, peak_memory_bytes = ? "
            "WHERE id = ?",
            [stretch.sessions, stretch.seconds, stretch.joules, stretch.meters, stretch.peak_memory_bytes, number],
        )


def stretches(db: Database) -> dict[int, list[Stretch]]:
    """Return the stretches of all runs by run number, oldest first."""
    by_run: dict[int, list[Stretch]] = {}
    for run, *values in db.execute(
        "SELECT run_id, sessions, seconds, joules, meters, peak_memory_bytes FROM run_stretches ORDER BY id"
    ):
        by_run.setdefault(run, []).append(Stretch(*values))
    return by_run


def token_totals(db: Database, run: int | None = None) -> dict[int, TokenTotals]:
    """Return the tokens of one run or of all, by run number; runs without known tokens are missing."""
    where, values = ("", []) if run is None else ("AND run_id = ?", [run])
    rows = db.execute(
        "SELECT run_id, count(*), sum(prompt_tokens), sum(completion_tokens) FROM predictions "
        f"WHERE prompt_tokens IS NOT NULL AND completion_tokens IS NOT NULL {where} GROUP BY run_id",
        values,
    )
    return {number: TokenTotals(*totals) for number, *totals in rows}
