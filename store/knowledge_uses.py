"""Where a piece of knowledge was used, or could have been used, and since when a use shows all of it."""

import json
from collections.abc import Sequence

from store.datasets import dataset_id
from store.knowledge import Knowledge
from store.sqlite import Database


def samples_with(db: Database, number: int) -> tuple[str, ...]:
    """Return the names of the samples that contain a piece."""
    rows = db.execute(
        """
        SELECT name FROM sample_knowledge JOIN samples ON samples.id = sample_id WHERE knowledge_id = ? ORDER BY name
        """,
        [number],
    )
    return tuple(name for (name,) in rows.fetchall())


def runs_that_could_use(db: Database, piece: Knowledge, samples: Sequence[str]) -> tuple[int, ...]:
    """Return the runs that could use a piece, newest first. The store does not record for which sessions they did.

    Args:
        samples: the samples that contain it.
    """
    rows = db.execute(
        f"SELECT id FROM runs WHERE dataset_id = ? AND {_OFFERED} ORDER BY id DESC",
        [dataset_id(db, piece.dataset), *_values(piece, samples)],
    )
    return tuple(number for (number,) in rows.fetchall()) if piece.status == "kept" else ()


def trainings_that_could_use(db: Database, piece: Knowledge, samples: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the trainings that could use a piece, newest first.

    Args:
        samples: the samples that contain it.
    """
    rows = db.execute(
        f"""
        SELECT name FROM jobs WHERE ? IN (SELECT value FROM json_each(settings, '$.datasets')) AND {_OFFERED}
        ORDER BY id DESC
        """,
        [piece.dataset, *_values(piece, samples)],
    )
    return tuple(name for (name,) in rows.fetchall()) if piece.status == "kept" else ()


def newest_kept_piece(db: Database, dataset: str, formats: Sequence[str]) -> str | None:
    """Return when the newest kept piece of these formats was added or imported; None if there is none.

    A deleted piece leaves no trace, and a piece that was found again with another content keeps its time.

    Raises:
        NotFound: there is no such dataset.
    """
    row = db.execute(
        """
        SELECT max(max(knowledge.created_at, ifnull(knowledge_imports.created_at, '')))
        FROM knowledge LEFT JOIN knowledge_imports ON knowledge_imports.id = import_id
        WHERE knowledge.dataset_id = ? AND status = 'kept' AND format IN (SELECT value FROM json_each(?))
        """,
        [dataset_id(db, dataset), json.dumps(list(formats))],
    ).fetchone()
    return None if row[0] is None else str(row[0])


_OFFERED = """
    ? IN (SELECT value FROM json_each(settings, '$.knowledge')) AND created_at >= ?
    AND (json_extract(settings, '$.sample') IS NULL
        OR json_extract(settings, '$.sample') IN (SELECT value FROM json_each(?)))
"""


def _values(piece: Knowledge, samples: Sequence[str]) -> list[object]:
    return [piece.format, piece.created_at, json.dumps(list(samples))]
