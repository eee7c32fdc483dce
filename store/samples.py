"""Samples: named subsets of knowledge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from store.database import now
from store.errors import StoreError
from store.knowledge import sample_id
from store.records import Format
from store.sqlite import Database


class Draw(Struct, frozen=True):
    """How a part of a sample was drawn from one format of one dataset.

    Attributes:
        strategy: how its sessions were ordered, as `random`; "hand" for pieces that a user picked.
        ratio: share of the pieces at that time, 0..1.
    """

    dataset: str
    format: str
    strategy: str
    ratio: float
    seed: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A stored sample: how its parts were drawn, and its number of pieces."""

    name: str
    draws: tuple[Draw, ...]
    pieces: int
    created_at: str


@dataclass(frozen=True, slots=True)
class SampledPiece:
    """A piece of a sample, with just enough to recognize it."""

    number: int
    dataset: str
    format: Format
    statement: str


@dataclass(frozen=True, slots=True)
class SampleUses:
    """What refers to a sample: the numbers of runs, and the names of trainings."""

    runs: tuple[int, ...]
    trainings: tuple[str, ...]


def save_sample(db: Database, name: str, draws: Sequence[Draw], knowledge: Sequence[int], *, replace: bool) -> None:
    """Store a sample.

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
    """List all samples by name."""
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
    """Return one sample.

    Raises:
        NotFound: there is no such sample.
    """
    sample_id(db, name)
    return next(sample for sample in list_samples(db) if sample.name == name)


def pieces_of_sample(db: Database, name: str) -> list[int]:
    """Return the numbers of the pieces in a sample, ascending.

    Raises:
        NotFound: there is no such sample.
    """
    rows = db.execute(
        "SELECT knowledge_id FROM sample_knowledge WHERE sample_id = ? ORDER BY knowledge_id", [sample_id(db, name)]
    )
    return [row[0] for row in rows]


def count_formats(db: Database, name: str) -> dict[str, int]:
    """Count the pieces of a sample by format.

    Raises:
        NotFound: there is no such sample.
    """
    rows = db.execute(
        """
        SELECT format, count(*) FROM sample_knowledge JOIN knowledge ON knowledge.id = knowledge_id
        WHERE sample_id = ? GROUP BY format ORDER BY format
        """,
        [sample_id(db, name)],
    )
    return dict(rows.fetchall())


def count_contents(db: Database, name: str) -> dict[tuple[str, str, str], int]:
    """Count the pieces of a sample by dataset, format and status.

    Raises:
        NotFound: there is no such sample.
    """
    rows = db.execute(
        """
        SELECT datasets.name, format, status, count(*) FROM sample_knowledge
        JOIN knowledge ON knowledge.id = knowledge_id JOIN datasets ON datasets.id = dataset_id
        WHERE sample_id = ? GROUP BY datasets.name, format, status ORDER BY datasets.name, format, status
        """,
        [sample_id(db, name)],
    )
    return {(dataset, format, status): count for dataset, format, status, count in rows.fetchall()}


def sample_datasets(db: Database, name: str) -> list[str]:
    """Return the names of the datasets of a sample's kept pieces, sorted.

    Raises:
        NotFound: there is no such sample.
    """
    return sorted({dataset for dataset, _, status in count_contents(db, name) if status == "kept"})


def count_lengths(db: Database, name: str) -> dict[int, int]:
    """Count the statements of a sample by their length in characters.

    Raises:
        NotFound: there is no such sample.
    """
    rows = db.execute(
        """
        SELECT length(statement), count(*) FROM sample_knowledge JOIN knowledge ON knowledge.id = knowledge_id
        WHERE sample_id = ? GROUP BY 1
        """,
        [sample_id(db, name)],
    )
    return dict(rows.fetchall())


def count_products(db: Database, name: str) -> dict[int, int]:
    """Count the training sessions that a sample's pieces come from, by their number of products.

    Raises:
        NotFound: there is no such sample.
    """
    rows = db.execute(
        """
        WITH origins AS (
            SELECT DISTINCT session_id FROM sample_knowledge JOIN knowledge_sessions USING (knowledge_id)
            WHERE sample_id = ?
        )
        SELECT products, count(*)
        FROM (SELECT count(*) AS products FROM origins JOIN session_items USING (session_id) GROUP BY session_id)
        GROUP BY products
        """,
        [sample_id(db, name)],
    )
    return dict(rows.fetchall())


def count_without_session(db: Database, name: str) -> int:
    """Count the pieces of a sample without a session: patterns occur in too many sessions to list them.

    Raises:
        NotFound: there is no such sample.
    """
    row = db.execute(
        """
        SELECT count(*) FROM sample_knowledge WHERE sample_id = ? AND NOT EXISTS (
            SELECT 1 FROM knowledge_sessions WHERE knowledge_sessions.knowledge_id = sample_knowledge.knowledge_id
        )
        """,
        [sample_id(db, name)],
    ).fetchone()
    return int(row[0])


_SHARED = """
    FROM sample_knowledge AS one JOIN sample_knowledge AS other USING (knowledge_id)
    WHERE one.sample_id = ? AND other.sample_id = ?
"""


def count_shared(db: Database, one: str, other: str) -> int:
    """Count the pieces that two samples have in common.

    Raises:
        NotFound: one of the samples does not exist.
    """
    row = db.execute(f"SELECT count(*) {_SHARED}", [sample_id(db, one), sample_id(db, other)]).fetchone()
    return int(row[0])


def shared_pieces(db: Database, one: str, other: str, *, limit: int = -1) -> Iterator[SampledPiece]:
    """Iterate over the pieces that two samples have in common, by number.

    Raises:
        NotFound: one of the samples does not exist.
    """
    rows = db.execute(
        f"""
        SELECT knowledge.id, datasets.name, format, statement
        FROM (SELECT knowledge_id {_SHARED} ORDER BY knowledge_id LIMIT ?)
        JOIN knowledge ON knowledge.id = knowledge_id JOIN datasets ON datasets.id = dataset_id ORDER BY knowledge.id
        """,
        [sample_id(db, one), sample_id(db, other), limit],
    )
    return (SampledPiece(*row) for row in rows)


def dataset_to_draw_from(db: Database) -> str | None:
    """Return a dataset with kept knowledge, to draw a sample from; None if there is none."""
    row = db.execute(
        """
        SELECT datasets.name FROM knowledge JOIN datasets ON datasets.id = dataset_id WHERE status = 'kept' LIMIT 1
        """
    ).fetchone()
    return None if row is None else str(row[0])


def count_kept(db: Database) -> dict[str, dict[str, int]]:
    """Count the kept pieces that samples can be drawn from, by dataset and format."""
    counts: dict[str, dict[str, int]] = {}
    for dataset, format, count in db.execute(
        """
        SELECT datasets.name, format, count(*) FROM knowledge JOIN datasets ON datasets.id = dataset_id
        WHERE status = 'kept' GROUP BY datasets.name, format ORDER BY datasets.name, format
        """
    ):
        counts.setdefault(dataset, {})[format] = count
    return counts


def sample_uses(db: Database, name: str) -> SampleUses:
    """Return the runs and trainings that refer to a sample by name, whether or not it exists."""
    runs = db.execute("SELECT id FROM runs WHERE json_extract(settings, '$.sample') = ? ORDER BY id", [name])
    trainings = db.execute("SELECT name FROM jobs WHERE json_extract(settings, '$.sample') = ? ORDER BY id", [name])
    return SampleUses(tuple(row[0] for row in runs.fetchall()), tuple(row[0] for row in trainings.fetchall()))


def delete_sample(db: Database, name: str) -> None:
    """Delete a sample; its knowledge stays.

    Raises:
        NotFound: there is no such sample.
    """
    number = sample_id(db, name)
    with db.atomic():
        db.execute("DELETE FROM samples WHERE id = ?", [number])
