"""How much goes with what is deleted, or names it."""

from dataclasses import dataclass

from store.datasets import dataset_id
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class OfDataset:
    """What goes with a dataset. `samples` are those that lose pieces."""

    sessions: int
    knowledge: int
    runs: int
    vectors: int
    samples: int


def of_dataset(db: Database, name: str) -> OfDataset:
    """What goes with a dataset.

    Raises:
        NotFound: there is no such dataset.
    """
    row = db.execute(
        """
        SELECT (SELECT count(*) FROM sessions WHERE dataset_id = :id),
            (SELECT count(*) FROM knowledge WHERE dataset_id = :id),
            (SELECT count(*) FROM runs WHERE dataset_id = :id),
            (SELECT count(*) FROM session_vectors JOIN sessions ON sessions.id = session_id WHERE dataset_id = :id),
            (SELECT count(DISTINCT sample_id) FROM sample_knowledge JOIN knowledge ON knowledge.id = knowledge_id
             WHERE dataset_id = :id)
        """,
        {"id": dataset_id(db, name)},
    ).fetchone()
    return OfDataset(*row)


def runs_of_model(db: Database, name: str) -> int:
    """How many runs name a model as the student or an adapter; they stay, and cannot be repeated."""
    row = db.execute(
        """
        SELECT count(*) FROM runs WHERE json_extract(settings, '$.student') = :name
            OR EXISTS (SELECT 1 FROM json_each(settings, '$.adapters') WHERE value ->> 0 = :name)
        """,
        {"name": name},
    ).fetchone()
    return int(row[0])
