"""Default adapters: each dataset can have an adapter that answers it unless the user names another one."""

from store.database import now
from store.datasets import dataset_id
from store.models import named_model
from store.sqlite import Database


def default_adapters(db: Database) -> dict[str, str]:
    """Return the default adapters by dataset; datasets without one are missing."""
    rows = db.execute(
        """
        SELECT datasets.name, adapter FROM default_adapters JOIN datasets ON datasets.id = dataset_id
        ORDER BY datasets.name
        """
    ).fetchall()
    return {str(dataset): str(adapter) for dataset, adapter in rows}


def set_default_adapter(db: Database, dataset: str, adapter: str | None) -> None:
    """Set the default adapter of a dataset.

    Args:
        adapter: None for the shipped student.

    Raises:
        NotFound: there is no such dataset, or no such model.
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
