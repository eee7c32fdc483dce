"""A cache of what pattern students have learned, valid until the sessions of their dataset change."""

from store.database import now
from store.datasets import dataset_id
from store.sqlite import Database


def cached_pattern_student(db: Database, dataset: str, fingerprint: str) -> str | None:
    """Return what was learned from the sessions with this fingerprint, as JSON; None if it is not stored.

    Raises:
        NotFound: there is no such dataset.
    """
    row = db.execute(
        "SELECT learned FROM pattern_students WHERE dataset_id = ? AND fingerprint = ?",
        [dataset_id(db, dataset), fingerprint],
    ).fetchone()
    return None if row is None else str(row[0])


def cache_pattern_student(db: Database, dataset: str, fingerprint: str, learned: str) -> bool:
    """Store what was learned, and replace the previous entry, if that is possible without waiting.

    Return whether it was stored; see `Database.try_to_write`.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    return db.try_to_write(
        lambda: db.execute(
            "INSERT OR REPLACE INTO pattern_students (dataset_id, fingerprint, learned, created_at) "
            "VALUES (?, ?, ?, ?)",
            [number, fingerprint, learned, now()],
        )
    )
