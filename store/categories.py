"""Category paths of items, which the store keeps as JSON."""

from collections.abc import Sequence

import msgspec

from store.datasets import dataset_id
from store.records import CategoryPath
from store.sqlite import Database

encode_categories = msgspec.json.Encoder().encode


decode_categories = msgspec.json.Decoder(tuple[tuple[str, ...], ...]).decode


def count_items_with_categories(db: Database, dataset: str, texts: Sequence[str]) -> int:
    """How many items of a dataset have one of the texts in their category paths, as these are stored: in JSON.

    Raises:
        NotFound: there is no such dataset.
    """
    found = " OR ".join("instr(categories, ?)" for _ in texts)
    row = db.execute(
        f"SELECT count(*) FROM items WHERE dataset_id = ? AND ({found})", [dataset_id(db, dataset), *texts]
    )
    return int(row.fetchone()[0])


def main_categories(db: Database, name: str) -> set[CategoryPath]:
    """The main categories of the products of a dataset, and all that these lie in.

    Raises:
        NotFound: there is no dataset of that name.
    """
    rows = db.execute("SELECT DISTINCT categories FROM items WHERE dataset_id = ?", [dataset_id(db, name)])
    found: set[CategoryPath] = set()
    for (categories,) in rows:
        for path in decode_categories(categories)[:1]:
            found.update(path[:level] for level in range(1, len(path) + 1))
    return found
