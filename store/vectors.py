"""Session vectors, as an embedding model computes them.

Python's SQLite may not be able to load extensions, so vectors are blobs (32-bit floats, little-endian) that
numpy scores. It is imported only to read vectors: most callers just ask whether there are any.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from store.datasets import dataset_id
from store.sqlite import Database

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Vectors: TypeAlias = "npt.NDArray[np.float32]"

_STORED = "<f4"

_AT_ONCE = 2048
"""Vectors read in one batch."""


def save_vectors(db: Database, dataset: str, model: str, vectors: Iterable[tuple[str, Vectors]]) -> None:
    """Store session vectors in one transaction, and replace earlier ones of the same model.

    Args:
        vectors: pairs of a session id and its vector, (dimensions,).

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    with db.atomic():
        for session, vector in vectors:
            db.execute(
                """
                INSERT OR REPLACE INTO session_vectors (session_id, model, vector)
                SELECT id, ?, ? FROM sessions WHERE dataset_id = ? AND session = ?
                """,
                [model, vector.astype(_STORED).tobytes(), number, session],
            )


def delete_vectors(db: Database, dataset: str, model: str) -> None:
    """Delete all vectors of a model in a dataset.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    with db.atomic():
        db.execute(
            """
            DELETE FROM session_vectors
            WHERE model = ? AND session_id IN (SELECT id FROM sessions WHERE dataset_id = ?)
            """,
            [model, number],
        )


def vector_models(db: Database, dataset: str) -> dict[str, int]:
    """Return the number of sessions with a vector, by model.

    Raises:
        NotFound: there is no such dataset.
    """
    rows = db.execute(
        """
        SELECT model, count(*) FROM sessions JOIN session_vectors ON session_id = sessions.id
        WHERE dataset_id = ? GROUP BY model ORDER BY model
        """,
        [dataset_id(db, dataset)],
    )
    return dict(rows)


def sessions_without_vector(db: Database, dataset: str, model: str) -> list[str]:
    """Return the ids of the sessions without a vector of this model, in import order.

    Raises:
        NotFound: there is no such dataset.
    """
    rows = db.execute(
        """
        SELECT session FROM sessions WHERE dataset_id = ? AND NOT EXISTS
            (SELECT 1 FROM session_vectors WHERE session_id = sessions.id AND model = ?)
        ORDER BY id
        """,
        [dataset_id(db, dataset), model],
    )
    return [row[0] for row in rows]


def session_vector(db: Database, dataset: str, session: str, model: str) -> "Vectors | None":
    """Return the vector of a session, (dimensions,); None if it has none.

    Raises:
        NotFound: there is no such dataset.
    """
    import numpy as np

    row = db.execute(
        """
        SELECT vector FROM sessions JOIN session_vectors ON session_id = sessions.id
        WHERE dataset_id = ? AND session = ? AND model = ?
        """,
        [dataset_id(db, dataset), session, model],
    ).fetchone()
    return None if row is None else np.frombuffer(row[0], _STORED)


def training_vectors(db: Database, dataset: str, model: str) -> "Iterator[tuple[list[int], Vectors]]":
    """Iterate over the training sessions with a vector: batches of row numbers and vectors, (sessions, dimensions).

    Raises:
        NotFound: there is no such dataset.
    """
    import numpy as np

    rows = db.execute(
        """
        SELECT sessions.id, vector FROM sessions JOIN session_vectors ON session_id = sessions.id
        WHERE dataset_id = ? AND split = 'train' AND model = ? ORDER BY sessions.id
        """,
        [dataset_id(db, dataset), model],
    )
    while part := rows.fetchmany(_AT_ONCE):
        vectors = np.frombuffer(b"".join(row[1] for row in part), _STORED)
        yield [row[0] for row in part], vectors.reshape(len(part), -1)


def session_ids(db: Database, rows: Sequence[int]) -> list[str]:
    """Return the ids of the sessions in these rows, in the same order; skip missing rows."""
    marks = ", ".join("?" * len(rows))
    names = dict(db.execute(f"SELECT id, session FROM sessions WHERE id IN ({marks})", list(rows)).fetchall())
    return [names[row] for row in rows if row in names]
