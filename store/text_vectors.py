"""Vectors of texts, kept under the encoder that made them: by the hash of the text, for one dataset."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from store.datasets import dataset_id
from store.errors import Busy
from store.sqlite import Database

_AT_ONCE = 500
"""Hashes that one statement looks for; older versions of SQLite take no more than 999 values."""


def kept_text_vectors(db: Database, dataset: str, encoder: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
    """The vectors that are kept of these texts, by hash, each as 16-bit floats.

    Args:
        encoder: the sha256 of its file.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    found: dict[bytes, bytes] = {}
    row = db.execute("SELECT id FROM encoders WHERE sha256 = ?", [encoder]).fetchone()
    if row is None:
        return found
    for first in range(0, len(hashes), _AT_ONCE):
        part = hashes[first : first + _AT_ONCE]
        marks = ",".join("?" * len(part))
        found.update(
            db.execute(
                "SELECT text_hash, vector FROM text_vectors "
                f"WHERE dataset_id = ? AND encoder_id = ? AND text_hash IN ({marks})",
                [number, row[0], *part],
            )
        )
    return found


def save_text_vectors(db: Database, dataset: str, encoder: str, vectors: Mapping[bytes, bytes]) -> None:
    """Keep vectors of texts, in one transaction, in the place of those that they had.

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
    """The same, unless somebody would have to wait for it; whether it was done.

    They can be made again: a store that another process is writing to, or that may not be written to, stays as it is,
    and so does one that is being read in a transaction.

    Raises:
        NotFound: there is no such dataset.
    """
    if db.conn.in_transaction:
        return False
    try:
        with db.waiting(0.0):
            save_text_vectors(db, dataset, encoder, vectors)
    except (Busy, sqlite3.OperationalError):
        return False
    return True


def delete_text_vectors(db: Database, dataset: str) -> None:
    """Delete the vectors of the texts of a dataset, by whichever encoder.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    with db.atomic():
        db.execute("DELETE FROM text_vectors WHERE dataset_id = ?", [number])


def has_text_vectors(db: Database, dataset: str, encoder: str) -> bool:
    """Whether any vector is kept that this encoder made of a text of the dataset.

    Raises:
        NotFound: there is no such dataset.
    """
    [found] = db.execute(
        "SELECT EXISTS (SELECT 1 FROM text_vectors WHERE dataset_id = ? "
        "AND encoder_id = (SELECT id FROM encoders WHERE sha256 = ?))",
        [dataset_id(db, dataset), encoder],
    ).fetchone()
    return bool(found)


def count_text_vectors(db: Database, dataset: str) -> int:
    """How many vectors of texts a dataset has, of all encoders.

    Raises:
        NotFound: there is no such dataset.
    """
    [count] = db.execute("SELECT count(*) FROM text_vectors WHERE dataset_id = ?", [dataset_id(db, dataset)]).fetchone()
    return int(count)
