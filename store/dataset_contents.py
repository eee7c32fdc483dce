"""What a dataset contains, and what is deleted with it."""

from dataclasses import dataclass

from store.datasets import dataset_id
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class DatasetContents:
    """The size of a dataset.

    Attributes:
        knowledge: pieces, including rejected ones.
        samples: samples that contain some of these pieces.
        vectors: sessions with a vector, counted once for each embedding model.
        calibrations: strategies of students that were calibrated on it.
        default_adapters: 1 if an adapter answers it by default.
    """

    name: str
    sessions: int
    knowledge: int
    samples: int
    runs: int
    vectors: int
    calibrations: int
    default_adapters: int


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
            (SELECT count(*) FROM calibrations WHERE dataset_id = ?1),
            (SELECT count(*) FROM default_adapters WHERE dataset_id = ?1)
        """,
        [number],
    ).fetchall()
    return DatasetContents(name, *counts)
