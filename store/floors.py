"""A cache of floors' scores, which take seconds to compute. The caller's version says when they are outdated."""

import msgspec

from store.records import Split
from store.sqlite import Database

_PATIENCE = 0.2
"""Seconds to wait for another process that is writing; scores that are not stored are computed again."""


def cached_floors(
    db: Database, dataset: str, split: Split, subset: tuple[int | None, int | None], version: str
) -> str | None:
    """Return what `cache_floors` stored for these sessions and this version; None if there is nothing."""
    row = db.execute(
        """
        SELECT scores FROM floors JOIN datasets ON datasets.id = dataset_id
        WHERE name = ? AND split = ? AND subset = ? AND version = ?
        """,
        [dataset, split, _text(subset), version],
    ).fetchone()
    return None if row is None else str(row[0])


def cache_floors(
    db: Database, dataset: str, split: Split, subset: tuple[int | None, int | None], version: str, scores: str
) -> None:
    """Store the scores of floors, and replace earlier ones, unless that requires a long wait.

    Args:
        subset: number of sessions of the split, and the seed that draws them.
        version: identifies the code and data that the scores depend on.
        scores: JSON, opaque to the store.
    """
    db.try_to_write(
        lambda: db.execute(
            """
            INSERT OR REPLACE INTO floors (dataset_id, split, subset, version, scores)
            SELECT id, ?, ?, ?, ? FROM datasets WHERE name = ?
            """,
            [split, _text(subset), version, scores, dataset],
        ),
        _PATIENCE,
    )


def _text(subset: tuple[int | None, int | None]) -> str:
    return msgspec.json.encode(subset).decode()
