"""The adapter that a dataset is answered with where none is named."""

from store.database import now
from store.datasets import dataset_id
from store.models import named_model
from store.sqlite import Database


def default_adapters(db: Database) -> dict[str, str]:
    """The names of the adapters, by dataset; datasets without one are not in it."""
    rows = db.execute(
        """
        SELECT datasets.name, adapter FROM default_adapters JOIN datasets ON datasets.id = dataset_id
        ORDER BY datasets.name
        """
    ).fetchall()
    return {str(dataset): str(adapter) for dataset, adapter in rows}


def set_default_adapter(db: Database, dataset: str, adapter: str | None) -> None:
    """Have a dataset answered with this adapter where none is named; None for the shipped student.

    Raises:
        NotFound: there is no such dataset, or no model of that name.
    """
    with db.atomic():
        number = dataset_id(db, dataset)
        db.execute("DELETE FROM default_adapters WHERE dataset_id = ?", [number])
        if adapter is not None:
            named_model(db, adapter)
            db.execute(
                "INSERT INTO default_adapters (dataset_id, adapter, created_at) VALUES (?, ?, ?)",
                [number, adapter, now()],
            )
