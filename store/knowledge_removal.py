"""Deletion of knowledge: what depends on pieces, and how a deletion is undone."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from store.errors import NotFound, StoreError
from store.sqlite import Database

_LINKS = {
    "knowledge_sessions": "knowledge_id IN (SELECT id FROM chosen)",
    "knowledge_parents": "knowledge_id IN (SELECT id FROM chosen) OR parent_id IN (SELECT id FROM chosen)",
    "sample_knowledge": "knowledge_id IN (SELECT id FROM chosen)",
}
"""The tables that refer to pieces, and the condition for rows that are deleted with them."""

_RESTORABLE = {
    "knowledge_sessions": "EXISTS (SELECT 1 FROM sessions WHERE id = ?2)",
    "knowledge_parents": "EXISTS (SELECT 1 FROM knowledge WHERE id = ?1) "
    "AND EXISTS (SELECT 1 FROM knowledge WHERE id = ?2)",
    "sample_knowledge": "EXISTS (SELECT 1 FROM samples WHERE id = ?1)",
}
"""Conditions for restoring a row: the rows it refers to, other than the restored pieces, still exist."""


@dataclass(frozen=True, slots=True)
class Dependents:
    """What depends on pieces.

    Attributes:
        pieces: number of the pieces.
        samples: names of the samples that contain any of them.
        sampled: how many of the pieces are in samples.
        children: other pieces whose teacher had any of them in its prompt.
        sessions: number of their references to sessions.
        asked: how many of the pieces a model produced.
        imported: how many of the pieces were imported.
    """

    pieces: int
    samples: tuple[str, ...]
    sampled: int
    children: int
    sessions: int
    asked: int
    imported: int


@dataclass(frozen=True, slots=True)
class RemovedKnowledge:
    """Everything that was deleted, row by row."""

    knowledge: list[tuple[Any, ...]]
    links: dict[str, list[tuple[int, int]]]

    @property
    def numbers(self) -> list[int]:
        """Numbers of the pieces."""
        return [row[0] for row in self.knowledge]


def dependents_of(db: Database, numbers: Iterable[int]) -> Dependents:
    """Return what depends on pieces.

    Raises:
        NotFound: none of the pieces exists.
    """
    with db.snapshot():
        count = _choose(db, numbers)
        samples = db.execute(
            """
            SELECT name FROM samples WHERE EXISTS (
                SELECT 1 FROM sample_knowledge WHERE sample_id = samples.id
                    AND knowledge_id IN (SELECT id FROM chosen)
            ) ORDER BY name
            """
        ).fetchall()
        children = db.execute(
            """
            SELECT count(DISTINCT knowledge_id) FROM knowledge_parents
            WHERE parent_id IN (SELECT id FROM chosen) AND knowledge_id NOT IN (SELECT id FROM chosen)
            """
        ).fetchone()[0]
        sessions = db.execute(
            "SELECT count(*) FROM knowledge_sessions WHERE knowledge_id IN (SELECT id FROM chosen)"
        ).fetchone()[0]
        sampled = db.execute(
            "SELECT count(*) FROM chosen WHERE id IN (SELECT knowledge_id FROM sample_knowledge)"
        ).fetchone()[0]
        asked, imported = db.execute(
            "SELECT count(call_id), count(import_id) FROM knowledge WHERE id IN (SELECT id FROM chosen)"
        ).fetchone()
    return Dependents(count, tuple(name for (name,) in samples), sampled, children, sessions, asked, imported)


def remove_knowledge(db: Database, numbers: Iterable[int], *, keep: bool = False) -> RemovedKnowledge:
    """Delete pieces, and remove them from samples and from the sources of other pieces.

    Args:
        keep: whether to return the deleted rows, for `restore_knowledge`.

    Raises:
        NotFound: none of the pieces exists.
    """
    with db.atomic():
        _choose(db, numbers)
        rows = db.execute("SELECT * FROM knowledge WHERE id IN (SELECT id FROM chosen)").fetchall() if keep else []
        links = {
            table: db.execute(f"SELECT * FROM {table} WHERE {condition}").fetchall() if keep else []
            for table, condition in _LINKS.items()
        }
        db.execute("DELETE FROM knowledge WHERE id IN (SELECT id FROM chosen)")
    return RemovedKnowledge(rows, links)


def restore_knowledge(db: Database, removed: RemovedKnowledge) -> None:
    """Restore deleted pieces completely, with their numbers. References to rows that no longer exist are left out.

    Raises:
        StoreError: an equal piece has been added meanwhile, or the dataset is gone; nothing is restored.
    """
    try:
        with db.atomic():
            _insert(db, "knowledge", removed.knowledge)
            for table, rows in removed.links.items():
                condition = _RESTORABLE[table]
                for row in rows:
                    db.execute(f"INSERT OR IGNORE INTO {table} SELECT ?1, ?2 WHERE {condition}", row)
    except sqlite3.IntegrityError as error:
        raise StoreError(
            "the deleted knowledge cannot be restored: an equal piece has been added meanwhile, or its dataset is gone"
        ) from error


def _insert(db: Database, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    for row in rows:
        db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def _choose(db: Database, numbers: Iterable[int]) -> int:
    """Fill the temporary table `chosen` with the numbers that have a piece, and return how many there are."""
    assert db.conn is not None
    db.execute("CREATE TEMP TABLE IF NOT EXISTS chosen (id INTEGER PRIMARY KEY)")
    db.execute("DELETE FROM chosen")
    db.conn.executemany("INSERT OR IGNORE INTO chosen VALUES (?)", ((number,) for number in numbers))
    db.execute("DELETE FROM chosen WHERE id NOT IN (SELECT id FROM knowledge)")
    count = int(db.execute("SELECT count(*) FROM chosen").fetchone()[0])
    if not count:
        raise NotFound("there is no knowledge of these numbers; kdtui knowledge ls shows the numbers")
    return count
