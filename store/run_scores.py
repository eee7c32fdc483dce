"""Scores of runs, kept because they take minutes where a run has answered a million sessions."""

import sqlite3
from contextlib import suppress

from store.errors import Busy
from store.sqlite import Database

_PATIENCE = 0.2
"""Seconds to wait for another process that is writing: what is not kept is computed again."""


def kept_scores(db: Database, run: int, answered: int, version: str) -> str | None:
    """What `keep_scores` was given for a run by the same version, when it had answered as many sessions; None where
    there is nothing."""
    row = db.execute(
        "SELECT scores FROM run_scores WHERE run_id = ? AND answered = ? AND version = ?", [run, answered, version]
    ).fetchone()
    return None if row is None else str(row[0])


def keep_scores(db: Database, run: int, answered: int, version: str, scores: str) -> None:
    """Keep the scores of a run in place of earlier ones.

    They can be computed again, so nobody waits for it: a store that another process is writing to, or that may not be
    written to, stays as it is.

    Args:
        answered: how many sessions it has answered; an answer that is there never changes.
        version: of all that computes them, and of what else they depend on.
        scores: JSON, for whoever computed them to read.
    """
    with suppress(Busy, sqlite3.OperationalError), db.waiting(_PATIENCE), db.atomic():
        db.execute(
            "INSERT OR REPLACE INTO run_scores (run_id, answered, version, scores) SELECT id, ?, ?, ? FROM runs "
            "WHERE id = ?",
            [answered, version, scores, run],
        )
