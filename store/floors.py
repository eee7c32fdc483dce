"""Scores of floors, kept because they take seconds: what computed them says when they are of no use any more."""

import sqlite3
from contextlib import suppress

import msgspec

from store.errors import Busy
from store.records import Split
from store.sqlite import Database

_PATIENCE = 0.2
"""Seconds to wait for another process that is writing: what is not kept is computed again."""


def kept_floors(
    db: Database, dataset: str, split: Split, subset: tuple[int | None, int | None], version: str
) -> str | None:
    """What `keep_floors` was given for these sessions by the same version; None where there is nothing."""
    row = db.execute(
        """
        SELECT scores FROM floors JOIN datasets ON datasets.id = dataset_id
        WHERE name = ? AND split = ? AND subset = ? AND version = ?
        """,
        [dataset, split, _text(subset), version],
    ).fetchone()
    return None if row is None else str(row[0])


def keep_floors(
    db: Database, dataset: str, split: Split, subset: tuple[int | None, int | None], version: str, scores: str
) -> None:
    """Keep the scores of floors in place of earlier ones.

    They can be computed again, so nobody waits for it: a store that another process is writing to, or that may not be
    written to, stays as it is.

    Args:
        subset: how many sessions of the split, and the seed that draws them.
        version: of all that computes them.
        scores: JSON, for whoever computed them to read.
    """
    with suppress(Busy, sqlite3.OperationalError), db.waiting(_PATIENCE), db.atomic():
        db.execute(
            """
            INSERT OR REPLACE INTO floors (dataset_id, split, subset, version, scores)
            SELECT id, ?, ?, ?, ? FROM datasets WHERE name = ?
            """,
            [split, _text(subset), version, scores, dataset],
        )


def _text(subset: tuple[int | None, int | None]) -> str:
    return msgspec.json.encode(subset).decode()
