"""Where the database is, and how it is opened."""

import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep

from store.errors import StoreError, explain
from store.migrations import migrations
from store.sqlite import Database

ENVIRONMENT_VARIABLE = "KDTUI_DB"

_PATIENCE = 30.0
"""Seconds to wait for another process that is writing."""


def default_path() -> Path:
    """The file that KDTUI_DB names, or else `kdtui.db` in the platform's folder for a user's data."""
    if named := os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("kdtui") / "kdtui.db"


def open_database(path: Path) -> Database:
    """Open the store at `path`, made or migrated as needed. A connection belongs to the thread that opened it.

    Raises:
        StoreError: the file cannot be opened, is no database, or was made by a newer version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_PATIENCE)
    except (OSError, sqlite3.Error) as error:
        reason = explain(error) if isinstance(error, sqlite3.Error) else f"{error.strerror}; choose another with --db"
        raise StoreError(f"{path}: {reason}") from error
    try:
        return _prepare(connection)
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(f"{path}: {explain(error)}") from error
    except StoreError as error:
        connection.close()
        raise StoreError(f"{path}: {error}") from None


def _prepare(connection: sqlite3.Connection) -> Database:
    db = Database(connection)
    if _is_behind(db):
        # Another process may be making or migrating the same file: whoever comes second finds it done.
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            if _is_behind(db):
                migrations.apply(db)
    _use_write_ahead_log(db)
    connection.execute("PRAGMA foreign_keys = ON")
    return db


def _is_behind(db: Database) -> bool:
    """Whether migrations are to be applied.

    Raises:
        StoreError: the file is of a newer version, or no store at all.
    """
    known = [migration.name for migration in migrations.pending(Database(memory=True))]
    applied = [migration.name for migration in migrations.applied(db)]
    if unknown := sorted(set(applied) - set(known)):
        raise StoreError(f"made by a newer version of kdtui (it has {unknown[-1]}); upgrade kdtui to use it")
    if not applied and db.table_names():
        # Read again: another process may have made the tables between the two looks.
        if migrations.applied(db):
            return _is_behind(db)
        raise StoreError("this is another program's database; choose another file with --db")
    return len(applied) < len(known)


def _use_write_ahead_log(db: Database) -> None:
    """Let readers go on while something is written. The switch does not wait for other processes by itself."""
    deadline = monotonic() + _PATIENCE
    while db.journal_mode != "wal":
        try:
            db.enable_wal()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > deadline:
                raise
            sleep(0.02)


def now() -> str:
    """The time now as ISO 8601 in UTC, to the second: how every `…_at` column is written."""
    return datetime.now(UTC).isoformat(timespec="seconds")
