"""What pattern students have learned, kept until the sessions of their dataset change."""

import sqlite3

from store.database import now
from store.datasets import dataset_id
from store.errors import Busy
from store.sqlite import Database


def kept_pattern_student(db: Database, dataset: str, fingerprint: str) -> str | None:
    """What was learned from the sessions of this fingerprint, as JSON; None where that is not kept.

    Raises:
        NotFound: there is no such dataset.
    """
    row = db.execute(
        "SELECT learned FROM pattern_students WHERE dataset_id = ? AND fingerprint = ?",
        [dataset_id(db, dataset), fingerprint],
    ).fetchone()
    return None if row is None else str(row[0])


def keep_pattern_student(db: Database, dataset: str, fingerprint: str, learned: str) -> bool:
    """Keep what was learned in the place of what was there; whether that could be done.

    It can be learned again, so nobody waits for it: a store that another process is writing to, or that may not be
    written to, stays as it is.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    try:
        with db.waiting(0.0), db.atomic():
            db.execute(
                "INSERT OR REPLACE INTO pattern_students (dataset_id, fingerprint, learned, created_at) "
                "VALUES (?, ?, ?, ?)",
                [number, fingerprint, learned, now()],
            )
    except (Busy, sqlite3.OperationalError):
        return False
    return True
