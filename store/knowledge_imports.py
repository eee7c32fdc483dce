"""Imported knowledge: stored next to the existing pieces, with a record of its origin."""

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Literal, TypeAlias

from store.database import now
from store.datasets import dataset_id
from store.knowledge import NewKnowledge, put_knowledge
from store.records import Format
from store.sqlite import Database

ImportOutcome: TypeAlias = Literal["new", "again", "known"]
"""Of an imported piece: it is new, it was imported from the same dataset before, or it existed and is unchanged."""

_KEY = 16
"""Characters of the hash of a session's products."""


def record_import(db: Database, dataset: str, source: str | None, file: str) -> int:
    """Record an import, and return its number.

    Args:
        dataset: the dataset that gets the knowledge.
        source: the dataset it was exported from; None if unknown.

    Raises:
        NotFound: there is no such dataset.
    """
    number = db.execute(
        "INSERT INTO knowledge_imports (dataset_id, source, file, created_at) VALUES (?, ?, ?, ?)",
        [dataset_id(db, dataset), source, file, now()],
    ).lastrowid
    assert number is not None
    return number


def put_imported(
    db: Database, dataset: str, format: Format, teacher: str, piece: NewKnowledge, imported_by: int
) -> tuple[int, ImportOutcome]:
    """Store a piece of an import, and return its number. Pieces that the dataset has already stay unchanged.

    Raises:
        NotFound: there is no such dataset.
    """
    into = dataset_id(db, dataset)
    row = db.execute(
        """
        SELECT knowledge.id, own OR import_id IS NULL OR source IS NOT
            (SELECT source FROM knowledge_imports WHERE id = ?)
        FROM knowledge LEFT JOIN knowledge_imports ON knowledge_imports.id = import_id
        WHERE knowledge.dataset_id = ? AND format = ? AND teacher = ? AND statement = ?
        """,
        [imported_by, into, format, teacher, piece.statement],
    ).fetchone()
    if row is not None and row[1]:
        return int(row[0]), "known"
    number = put_knowledge(db, into, format, teacher, piece, imported_by=imported_by)
    return number, "new" if row is None else "again"


def held_out_among(db: Database, dataset: str, sessions: Iterable[str]) -> set[str]:
    """Return those of some sessions that are in the validation or the test split.

    Raises:
        NotFound: there is no such dataset.
    """
    rows = db.execute(
        """
        SELECT session FROM json_each(?) AS wanted CROSS JOIN sessions ON dataset_id = ? AND session = wanted.value
        WHERE split IN ('valid', 'test')
        """,
        [json.dumps(list(sessions)), dataset_id(db, dataset)],
    )
    return {session for (session,) in rows.fetchall()}


def session_keys(db: Database, dataset: str, sessions: Iterable[str]) -> dict[str, str]:
    """Return a hash of the product ids for each session: it identifies sessions that share an id with other datasets.

    Sessions that the dataset lacks are left out.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    keys = {}
    for session in set(sessions):
        items = db.execute(
            """
            SELECT item FROM sessions JOIN session_items ON session_id = sessions.id JOIN items ON items.id = item_id
            WHERE sessions.dataset_id = ? AND session = ? ORDER BY position
            """,
            [number, session],
        ).fetchall()
        if items:
            products = json.dumps([item for (item,) in items])
            keys[session] = sha256(products.encode()).hexdigest()[:_KEY]
    return keys
