"""A cache of runs' scores, which take minutes to compute for a run of a million sessions."""

from store.sqlite import Database

_PATIENCE = 0.2
"""Seconds to wait for another process that is writing; scores that are not stored are computed again."""


def cached_scores(db: Database, run: int, answered: int, version: str) -> str | None:
    """Return what `cache_scores` stored for these arguments; None if there is nothing."""
    row = db.execute(
        "SELECT scores FROM run_scores WHERE run_id = ? AND answered = ? AND version = ?", [run, answered, version]
    ).fetchone()
    return None if row is None else str(row[0])


def cache_scores(db: Database, run: int, answered: int, version: str, scores: str) -> None:
    """Store the scores of a run, and replace earlier ones, unless that requires a long wait.

    Args:
        answered: number of answered sessions; an existing answer never changes.
        version: identifies the code and data that the scores depend on.
        scores: JSON, opaque to the store.
    """
    db.try_to_write(
        lambda: db.execute(
            "INSERT OR REPLACE INTO run_scores (run_id, answered, version, scores) SELECT id, ?, ?, ? FROM runs "
            "WHERE id = ?",
            [answered, version, scores, run],
        ),
        _PATIENCE,
    )
