"""A cache of text vectors by dataset, encoder and hash of the text."""

from collections.abc import Iterable, Mapping, Sequence

from store.datasets import dataset_id
from store.sqlite import Database

_AT_ONCE = 500
"""Hashes in one query; older versions of SQLite allow 999 values."""


def kept_text_vectors(db: Database, dataset: str, encoder: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the stored vectors of these texts by hash, each as 16-bit floats.

    Args:
        encoder: SHA-256 of the encoder's file.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    vectors: dict[bytes, bytes] = {}
    row = db.execute("SELECT id FROM encoders WHERE sha256 = ?", [encoder]).fetchone()
    if row is None:
        return vectors
    for first in range(0, len(hashes), _AT_ONCE):
        part = hashes[first : first + _AT_ONCE]
        marks = ",".join("?" * len(part))
        vectors.update(
            db.execute(
                "SELECT text_hash, vector FROM text_vectors "
                f"WHERE dataset_id = ? AND encoder_id = ? AND text_hash IN ({marks})",
                [number, row[0], *part],
            )
        )
    return vectors


def save_text_vectors(db: Database, dataset: str, encoder: str, vectors: Mapping[bytes, bytes]) -> None:
    """Store vectors of texts in one transaction, and replace earlier ones.

    Raises:
        NotFound: there is no such dataset.
    """
    with db.atomic():
        number = dataset_id(db, dataset)
        db.execute("INSERT OR IGNORE INTO encoders (sha256) VALUES (?)", [encoder])
        [encoder_id] = db.execute("SELECT id FROM encoders WHERE sha256 = ?", [encoder]).fetchone()
        rows: Iterable[tuple[object, ...]] = ((number, encoder_id, *each) for each in vectors.items())
        db.conn.executemany("INSERT OR REPLACE INTO text_vectors VALUES (?, ?, ?, ?)", rows)


def try_to_save_text_vectors(db: Database, dataset: str, encoder: str, vectors: Mapping[bytes, bytes]) -> bool:
    """Store vectors unless that requires waiting, or this connection is in a transaction.

    Return whether they were stored; see `Database.try_to_write`.

    Raises:
        NotFound: there is no such dataset.
    """
    return not db.conn.in_transaction and db.try_to_write(lambda: save_text_vectors(db, dataset, encoder, vectors))


def delete_text_vectors(db: Database, dataset: str) -> None:
    """Delete the text vectors of a dataset, of all encoders.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    with db.atomic():
        db.execute("DELETE FROM text_vectors WHERE dataset_id = ?", [number])


def has_text_vectors(db: Database, dataset: str, encoder: str) -> bool:
    """Whether the dataset has any text vector of this encoder.

    Raises:
        NotFound: there is no such dataset.
    """
    [exists] = db.execute(
        "SELECT EXISTS (SELECT 1 FROM text_vectors WHERE dataset_id = ? "
        "AND encoder_id = (SELECT id FROM encoders WHERE sha256 = ?))",
        [dataset_id(db, dataset), encoder],
    ).fetchone()
    return bool(exists)


def count_text_vectors(db: Database, dataset: str) -> int:
    """Count the text vectors of a dataset, of all encoders.

    Raises:
        NotFound: there is no such dataset.
    """
    [count] = db.execute("SELECT count(*) FROM text_vectors WHERE dataset_id = ?", [dataset_id(db, dataset)]).fetchone()
    return int(count)
