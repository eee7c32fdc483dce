"""Check whether the file of a database is whole."""

import sqlite3

from store.errors import has_code
from store.sqlite import Database


def first_damage(db: Database) -> str | None:
    """Return what SQLite finds wrong first: in the file and its indexes, or a reference to a row that is gone.

    Raises:
        sqlite3.Error: it cannot be checked.
    """
    try:
        (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            return " ".join(str(found).split())
        reference = db.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.DatabaseError as error:
        if has_code(error, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return str(error)
        raise
    return None if reference is None else f"a row of {reference[0]} refers to a row of {reference[2]} that is gone"
