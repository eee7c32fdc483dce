"""What runs took: tokens by their answers, energy and memory by the stretches in which a process worked on them."""

from dataclasses import dataclass

from store.database import now
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class Stretch:
    """A process has answered sessions of a run, without a break.

    Attributes:
        sessions: how many.
        seconds: from the first question to the last answer.
        joules: that the machine took meanwhile; None where no meter can be read.
        meters: by which that is known.
        peak_memory_bytes: the most that the process has held; None where that is not known.
    """

    sessions: int
    seconds: float
    joules: float | None
    meters: str | None
    peak_memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class TokenTotals:
    """Tokens that the answers of a run took, and of how many of them that is known."""

    known: int
    prompt: int
    completion: int


def begin_stretch(db: Database, run: int) -> int | None:
    """Store that a process begins to answer; the number of the stretch, or None where the run is deleted."""
    with db.atomic():
        done = db.execute(
            "INSERT INTO run_stretches (run_id, began_at, sessions, seconds) SELECT id, ?, 0, 0 FROM runs WHERE id = ?",
            [now(), run],
        )
        return done.lastrowid if done.rowcount else None


def update_stretch(db: Database, number: int, stretch: Stretch) -> None:
    """Store how far it is; nothing is done where the run is deleted."""
    with db.atomic():
        db.execute(
            "UPDATE run_stretches SET sessions = ?, seconds = ?, joules = ?, meters = ?, peak_memory_bytes = ? "
            "WHERE id = ?",
            [stretch.sessions, stretch.seconds, stretch.joules, stretch.meters, stretch.peak_memory_bytes, number],
        )


def stretches(db: Database) -> dict[int, list[Stretch]]:
    """The stretches of all runs, by the number of the run, those first that were first."""
    found: dict[int, list[Stretch]] = {}
    for run, *values in db.execute(
        "SELECT run_id, sessions, seconds, joules, meters, peak_memory_bytes FROM run_stretches ORDER BY id"
    ):
        found.setdefault(run, []).append(Stretch(*values))
    return found


def token_totals(db: Database, run: int | None = None) -> dict[int, TokenTotals]:
    """What the answers took of all runs, or of one, by its number; runs of whose answers nothing is known have none."""
    where, values = ("", []) if run is None else ("AND run_id = ?", [run])
    rows = db.execute(
        "SELECT run_id, count(*), sum(prompt_tokens), sum(completion_tokens) FROM predictions "
        f"WHERE prompt_tokens IS NOT NULL AND completion_tokens IS NOT NULL {where} GROUP BY run_id",
        values,
    )
    return {number: TokenTotals(*totals) for number, *totals in rows}
