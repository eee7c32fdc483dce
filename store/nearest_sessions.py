"""The training sessions whose products are most similar to those of a session."""

from collections.abc import Iterable

import msgspec

from store.datasets import dataset_id
from store.full_text import match_any, session_words
from store.records import Session
from store.sqlite import Database

_NEAR_ITEMS = 1_000
"""Similar products to look at first when searching for the sessions that contain them."""


def nearest_sessions(db: Database, dataset: str, session: Session, limit: int) -> list[str]:
    """Return the ids of the training sessions with the most similar products, nearest first.

    The measure is BM25 over titles and categories. The session itself is excluded.

    Raises:
        NotFound: there is no such dataset.
    """
    return [id for _, id in nearest_sessions_of(db, dataset, [dataset], session, limit)]


def nearest_sessions_of(
    db: Database, own: str, datasets: Iterable[str], session: Session, limit: int
) -> list[tuple[str, str]]:
    """Search the training sessions of several datasets in the same way; return dataset and id of each session.

    Args:
        own: the dataset of the session.

    Raises:
        NotFound: one of the datasets does not exist.
    """
    number = dataset_id(db, own)
    numbers = msgspec.json.encode([dataset_id(db, each) for each in datasets]).decode()
    looked_at = _NEAR_ITEMS
    while True:
        near = db.execute(
            "SELECT rowid, rank FROM items_fts WHERE items_fts MATCH ? ORDER BY rank LIMIT ?",
            [match_any(session_words(session)), looked_at],
        ).fetchall()
        rows = db.execute(
            """
            SELECT datasets.name, session FROM json_each(?) AS near JOIN session_items ON item_id = near.value ->> 0
            JOIN sessions ON sessions.id = session_id JOIN datasets ON datasets.id = dataset_id
            WHERE dataset_id IN (SELECT value FROM json_each(?)) AND split = 'train'
                AND NOT (dataset_id = ? AND session = ?)
            GROUP BY session_id ORDER BY sum(near.value ->> 1), session_id LIMIT ?
            """,
            [msgspec.json.encode(near).decode(), numbers, number, session.id, limit],
        ).fetchall()
        # The most similar products may belong to other datasets, or to no training session.
        if len(rows) == limit or len(near) < looked_at:
            return [(row[0], row[1]) for row in rows]
        looked_at *= 8
