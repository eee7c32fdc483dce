"""What is in a dataset, and what would go with it."""

from dataclasses import dataclass

from store.datasets import dataset_id
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class DatasetContents:
    """How much there is of a dataset.

    Attributes:
        knowledge: pieces, rejected ones too.
        samples: those that hold some of these pieces.
        vectors: sessions that have one, counted once for each embedding model.
        calibrations: strategies of students that were calibrated on it.
    """

    name: str
    sessions: int
    knowledge: int
    samples: int
    runs: int
    vectors: int
    calibrations: int


def dataset_contents(db: Database, name: str) -> DatasetContents:
    """Count what is in a dataset.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, name)
    [counts] = db.execute(
        """
        SELECT
            (SELECT count(*) FROM sessions WHERE dataset_id = ?1),
            (SELECT count(*) FROM knowledge WHERE dataset_id = ?1),
            (SELECT count(DISTINCT sample_id) FROM sample_knowledge JOIN knowledge ON knowledge.id = knowledge_id
             WHERE dataset_id = ?1),
            (SELECT count(*) FROM runs WHERE dataset_id = ?1),
            (SELECT count(*) FROM session_vectors JOIN sessions ON sessions.id = session_id WHERE dataset_id = ?1),
            (SELECT count(*) FROM calibrations WHERE dataset_id = ?1)
        """,
        [number],
    ).fetchall()
    return DatasetContents(name, *counts)
