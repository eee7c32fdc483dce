"""Where a piece of knowledge was used, or could have been."""

import json
from collections.abc import Sequence

from store.datasets import dataset_id
from store.knowledge import Knowledge
from store.sqlite import Database


def samples_with(db: Database, number: int) -> tuple[str, ...]:
    """The names of the samples that hold a piece."""
    rows = db.execute(
        """
        SELECT name FROM sample_knowledge JOIN samples ON samples.id = sample_id WHERE knowledge_id = ? ORDER BY name
        """,
        [number],
    )
    return tuple(name for (name,) in rows.fetchall())


def runs_that_could_use(db: Database, piece: Knowledge, samples: Sequence[str]) -> tuple[int, ...]:
    """The runs that a piece was offered to, the newest first. Nothing that is kept says for which of their sessions.

    Args:
        samples: those that hold it.
    """
    rows = db.execute(
        f"SELECT id FROM runs WHERE dataset_id = ? AND {_OFFERED} ORDER BY id DESC",
        [dataset_id(db, piece.dataset), *_values(piece, samples)],
    )
    return tuple(number for (number,) in rows.fetchall()) if piece.status == "kept" else ()


def trainings_that_could_use(db: Database, piece: Knowledge, samples: Sequence[str]) -> tuple[str, ...]:
    """The names of the trainings that a piece was offered to, the newest first.

    Args:
        samples: those that hold it.
    """
    rows = db.execute(
        f"""
        SELECT name FROM jobs WHERE ? IN (SELECT value FROM json_each(settings, '$.datasets')) AND {_OFFERED}
        ORDER BY id DESC
        """,
        [piece.dataset, *_values(piece, samples)],
    )
    return tuple(name for (name,) in rows.fetchall()) if piece.status == "kept" else ()


_OFFERED = """
    ? IN (SELECT value FROM json_each(settings, '$.knowledge')) AND created_at >= ?
    AND (json_extract(settings, '$.sample') IS NULL
        OR json_extract(settings, '$.sample') IN (SELECT value FROM json_each(?)))
"""


def _values(piece: Knowledge, samples: Sequence[str]) -> list[object]:
    return [piece.format, piece.created_at, json.dumps(list(samples))]
