"""Samples: named subsets of knowledge."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct
from sqlite_utils import Database

from store.database import now
from store.errors import StoreError
from store.knowledge import sample_id


class Draw(Struct, frozen=True):
    """How a part of a sample was drawn: from one format of one dataset.

    Attributes:
        strategy: random, length, diversity or difficulty.
        ratio: the share of the pieces that there were, 0..1.
    """

    dataset: str
    format: str
    strategy: str
    ratio: float
    seed: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample as it is stored: how its parts were drawn, and how many pieces it has."""

    name: str
    draws: tuple[Draw, ...]
    pieces: int
    created_at: str


def save_sample(db: Database, name: str, draws: Sequence[Draw], knowledge: Sequence[int], *, replace: bool) -> None:
    """Store a sample under a name.

    Raises:
        StoreError: the name is taken (without `replace`).
    """
    with db.atomic():
        if replace:
            db.execute("DELETE FROM samples WHERE name = ?", [name])
        elif db.execute("SELECT 1 FROM samples WHERE name = ?", [name]).fetchone():
            raise StoreError(f"sample {name!r} exists already; choose another name, or replace it with --replace")
        number = db.execute(
            "INSERT INTO samples (name, settings, created_at) VALUES (?, ?, ?)",
            [name, msgspec.json.encode(draws).decode(), now()],
        ).lastrowid
        for piece in knowledge:
            db.execute("INSERT OR IGNORE INTO sample_knowledge VALUES (?, ?)", [number, piece])


def list_samples(db: Database) -> list[Sample]:
    """All samples by name."""
    rows = db.execute(
        """
        SELECT name, settings, (SELECT count(*) FROM sample_knowledge WHERE sample_id = samples.id), created_at
        FROM samples ORDER BY name
        """
    )
    return [
        Sample(name, msgspec.json.decode(settings, type=tuple[Draw, ...]), pieces, created_at)
        for name, settings, pieces, created_at in rows
    ]


def get_sample(db: Database, name: str) -> Sample:
    """One sample.

    Raises:
        NotFound: there is none of that name.
    """
    sample_id(db, name)
    return next(sample for sample in list_samples(db) if sample.name == name)


def pieces_of(db: Database, name: str) -> list[int]:
    """The numbers of the knowledge in a sample, ascending.

    Raises:
        NotFound: there is no such sample.
    """
    rows = db.execute(
        "SELECT knowledge_id FROM sample_knowledge WHERE sample_id = ? ORDER BY knowledge_id", [sample_id(db, name)]
    )
    return [row[0] for row in rows]


def delete_sample(db: Database, name: str) -> None:
    """Delete a sample; its knowledge stays.

    Raises:
        NotFound: there is no such sample.
    """
    with db.atomic():
        db.execute("DELETE FROM samples WHERE id = ?", [sample_id(db, name)])
