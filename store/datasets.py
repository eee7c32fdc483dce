"""Datasets by name: list them, look them up and delete them."""

from collections.abc import Sequence
from dataclasses import dataclass

from store.errors import NotFound
from store.similar import suggestion
from store.sqlite import Database

_LISTED = 50
"""Most names that a message lists."""


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """A dataset and its size. The splits count sessions; `bundled` counts the sessions that have bundles."""

    name: str
    source: str
    created_at: str
    items: int
    sessions: int
    bundled: int
    bundles: int
    train: int
    valid: int
    test: int


def delete_dataset(db: Database, name: str) -> None:
    """Delete a dataset with everything that belongs to it: sessions, knowledge and runs.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, name)
    with db.atomic():
        db.execute("DELETE FROM datasets WHERE id = ?", [number])


def list_datasets(db: Database) -> list[DatasetSummary]:
    """List all datasets by name."""
    rows = db.execute(
        """
        SELECT name, source, created_at,
            (SELECT count(*) FROM items WHERE dataset_id = datasets.id),
            count(sessions.id),
            count(sessions.id) FILTER (WHERE EXISTS (SELECT 1 FROM bundles WHERE session_id = sessions.id)),
            (SELECT count(*) FROM bundles JOIN sessions AS s ON s.id = session_id WHERE s.dataset_id = datasets.id),
            count(*) FILTER (WHERE split = 'train'),
            count(*) FILTER (WHERE split = 'valid'),
            count(*) FILTER (WHERE split = 'test')
        FROM datasets LEFT JOIN sessions ON sessions.dataset_id = datasets.id
        GROUP BY datasets.id ORDER BY name
        """
    )
    return [DatasetSummary(*row) for row in rows]


def dataset_names(db: Database) -> list[str]:
    """Return the names of all datasets, sorted."""
    return [row[0] for row in db.execute("SELECT name FROM datasets ORDER BY name")]


def dataset_id(db: Database, name: str) -> int:
    """Return the row number of a dataset.

    Raises:
        NotFound: there is no such dataset; the message lists the existing ones.
    """
    row = db.execute("SELECT id FROM datasets WHERE name = ?", [name]).fetchone()
    if row:
        return int(row[0])
    names = dataset_names(db)
    if not names:
        raise NotFound(f"there is no dataset {name!r} yet; import one with: kdtui data import PATH --dataset {name}")
    raise NotFound(f"there is no dataset {name!r}; {suggestion(name, names, f'there are: {_listed(names)}')}")


def dataset_source(db: Database, name: str) -> str:
    """Return what a dataset was imported from.

    Raises:
        NotFound: there is no such dataset.
    """
    row = db.execute("SELECT source FROM datasets WHERE id = ?", [dataset_id(db, name)]).fetchone()
    return str(row[0])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
