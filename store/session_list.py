"""Rows for a list of sessions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from store.datasets import dataset_id
from store.errors import NotFound
from store.full_text import match_words
from store.hits import Hits, hits_of
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session in a list.

    Attributes:
        number: its row number.
        session: its id.
        items, bundles: how many it has.
        first_title: the title of its first item.
    """

    number: int
    session: str
    split: str | None
    items: int
    bundles: int
    first_title: str | None


def session_hits(db: Database, dataset: str, text: str = "") -> Iterator[Hits]:
    """Find sessions by their id or by the words of their items' titles and categories, in import order.

    Raises:
        NotFound: there is no such dataset.
    """
    where = "dataset_id = ?"
    values: list[object] = [dataset_id(db, dataset)]
    if text.strip():
        where += """
            AND (instr(lower(session), lower(?)) OR id IN (
                SELECT session_id FROM items_fts JOIN session_items ON item_id = items_fts.rowid
                WHERE items_fts MATCH ?))"""
        values += [text.strip(), match_words(text)]
    yield from hits_of(db, f"SELECT id FROM sessions WHERE {where} ORDER BY id", values)


def session_position(db: Database, dataset: str, session: str) -> tuple[int, int]:
    """Return the row number of a session, and how many sessions of its dataset precede it.

    Raises:
        NotFound: there is no such dataset, or no such session in it.
    """
    within = dataset_id(db, dataset)
    row = db.execute("SELECT id FROM sessions WHERE dataset_id = ? AND session = ?", [within, session]).fetchone()
    if row is None:
        raise NotFound(f"there is no session {session!r} in dataset {dataset!r}")
    before = db.execute("SELECT count(*) FROM sessions WHERE dataset_id = ? AND id < ?", [within, row[0]])
    return int(row[0]), int(before.fetchone()[0])


def session_rows(db: Database, numbers: Sequence[int]) -> list[SessionRow]:
    """Return rows for a list of sessions, ordered by row number; skip deleted sessions."""
    rows = db.execute(
        """
        SELECT sessions.id, session, split,
            (SELECT count(*) FROM session_items WHERE session_id = sessions.id),
            (SELECT count(*) FROM bundles WHERE session_id = sessions.id),
            (SELECT title FROM session_items JOIN items ON items.id = item_id
             WHERE session_id = sessions.id AND position = 1)
        FROM json_each(?) AS wanted JOIN sessions ON sessions.id = wanted.value ORDER BY sessions.id
        """,
        [msgspec.json.encode(list(numbers)).decode()],
    )
    return [SessionRow(*row) for row in rows]
