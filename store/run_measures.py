"""A cache of each session's contribution to a run's measures, valid until the answers or the code change."""

from dataclasses import dataclass

import msgspec

from store.database import now
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class CachedMeasures:
    """The measures of the answered sessions of a run.

    Attributes:
        sessions: session ids, in the order of the split.
        values: 64-bit floats, little-endian: for each measure, a total and a weight for each session.
    """

    sessions: tuple[str, ...]
    values: bytes


def cached_measures(db: Database, run: int, version: str) -> CachedMeasures | None:
    """Return the cached measures of a run for its current answers and this code version; None if there are none."""
    row = db.execute(
        """
        SELECT sessions, content FROM run_measures WHERE run_id = ? AND version = ?
            AND answered = (SELECT count(*) FROM predictions WHERE predictions.run_id = run_measures.run_id)
        """,
        [run, version],
    ).fetchone()
    return None if row is None else CachedMeasures(msgspec.json.decode(row[0], type=tuple[str, ...]), row[1])


def cache_measures(db: Database, run: int, version: str, measures: CachedMeasures) -> None:
    """Store measures and replace earlier ones, if that is possible without waiting."""
    sessions = msgspec.json.encode(measures.sessions).decode()
    db.try_to_write(
        lambda: db.execute(
            "INSERT OR REPLACE INTO run_measures (run_id, version, answered, sessions, content, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            [run, version, len(measures.sessions), sessions, measures.values, now()],
        )
    )
