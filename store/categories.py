"""Category paths of items, stored as JSON."""

from collections.abc import Sequence

import msgspec

from store.datasets import dataset_id
from store.records import CategoryPath
from store.sqlite import Database

encode_categories = msgspec.json.Encoder().encode
decode_categories = msgspec.json.Decoder(tuple[tuple[str, ...], ...]).decode


def count_items_with_categories(db: Database, dataset: str, texts: Sequence[str]) -> int:
    """Count the items of a dataset whose category paths, in their stored JSON, contain one of the texts.

    Raises:
        NotFound: there is no such dataset.
    """
    condition = " OR ".join("instr(categories, ?)" for _ in texts)
    row = db.execute(
        f"SELECT count(*) FROM items WHERE dataset_id = ? AND ({condition})", [dataset_id(db, dataset), *texts]
    )
    return int(row.fetchone()[0])


def main_categories(db: Database, name: str) -> set[CategoryPath]:
    """Return the main categories of a dataset's products, with all their parent categories.

    Raises:
        NotFound: there is no such dataset.
    """
    rows = db.execute("SELECT DISTINCT categories FROM items WHERE dataset_id = ?", [dataset_id(db, name)])
    paths: set[CategoryPath] = set()
    for (categories,) in rows:
        for path in decode_categories(categories)[:1]:
            paths.update(path[:level] for level in range(1, len(path) + 1))
    return paths
