"""Creating and opening the database."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from weakref import finalize

from store.errors import Busy, StoreError, cannot_write, explain
from store.location import begin_use, database_exists, end_use
from store.migrations import migrations
from store.sqlite import PATIENCE, Database, execute_when_free, ignore_wait
from store.upgrade import needs_upgrade, upgrade

_READER_TIMEOUT = 30.0
"""Seconds that a reader waits for a writer to commit if there is no write-ahead log."""


def open_database(path: Path, *, make: bool = True, on_wait: Callable[[float], None] = ignore_wait) -> Database:
    """Open the store at `path`, and upgrade it if needed. A connection belongs to the thread that opened it.

    Args:
        make: whether to create a missing store now. If not, it reads as an empty one, and the first write transaction
            creates it.
        on_wait: called once a second while waiting for another process, with the seconds so far.

    Raises:
        StoreError: the file cannot be opened, is not a database, was made by a newer version, or was made by an older
            one and is read-only.
    """
    if not database_exists(path):
        if make:
            return Database(_create(path, on_wait), path, on_wait=on_wait)
        return Database(
            _connect_to_memory(), path, prepare=lambda empty: _create_in_place_of(empty, path, on_wait), on_wait=on_wait
        )
    with _explain_errors(path):
        connection = _open_existing(path)
        try:
            db = Database(connection, path, prepare=_use_write_ahead_log, on_wait=on_wait)
            if needs_upgrade(db):
                db.copy_before_upgrade = upgrade(db)
        except BaseException:
            connection.close()
            raise
    return db


@contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    """Add the file name to an error, and say what to do."""
    try:
        yield
    except Busy:
        raise
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {explain(error)}") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; choose another with --db") from error


class _Connection(sqlite3.Connection):
    """A connection that is counted as an open handle of its file; see `store.location.database_exists`."""

    end: "finalize[..., _Connection] | None" = None

    def close(self) -> None:
        super().close()
        if self.end is not None:
            self.end()


def _connect(path: Path, query: str) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?{query}"
    file = begin_use(path, make="mode=rwc" in query)
    try:
        connection = sqlite3.connect(
            address, uri=True, timeout=_READER_TIMEOUT, isolation_level="IMMEDIATE", factory=_Connection
        )
    except BaseException:
        end_use(file)
        raise
    # Runs even if the connection is never closed.
    connection.end = finalize(connection, end_use, file)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _connect_to_memory() -> sqlite3.Connection:
    """Connect to an empty store in memory."""
    connection = sqlite3.connect(":memory:")
    migrations.apply(Database(connection))
    return connection


def _create_in_place_of(empty: sqlite3.Connection, path: Path, on_wait: Callable[[float], None]) -> sqlite3.Connection:
    made = _create(path, on_wait)
    empty.close()
    return made


def _create(path: Path, on_wait: Callable[[float], None]) -> sqlite3.Connection:
    """Connect to a new store. If several processes create the file at once, the later ones find it complete."""
    with _explain_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = _connect(path, "mode=rwc")
        try:
            _use_write_ahead_log(connection, PATIENCE)
            upgrade(Database(connection, path, on_wait=on_wait))
        except BaseException:
            connection.close()
            raise
    return connection


def _open_existing(path: Path) -> sqlite3.Connection:
    """Connect to an existing file, which may be read-only.

    Raises:
        StoreError: another process has left changes in a log next to it, and the folder is read-only.
        sqlite3.Error: the file is not a database, or is damaged.
    """
    connection = _connect(path, "mode=rw")
    try:
        execute_when_free(connection, "SELECT count(*) FROM sqlite_schema", _READER_TIMEOUT).fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if not cannot_write(error):
            raise
    except BaseException:
        connection.close()
        raise
    else:
        return connection
    # With a write-ahead log, even readers create files in the folder. If they cannot, no process changes the database.
    for suffix in ("-wal", "-journal"):
        log = path.with_name(path.name + suffix)
        if log.exists() and log.stat().st_size:
            raise StoreError(
                f"{log.name} holds changes that can only be read where the folder can be written; copy both files "
                "to another folder, and name the copy with --db"
            )
    return _connect(path, "mode=ro&immutable=1")


def _use_write_ahead_log(connection: sqlite3.Connection, patience: float = 0.0) -> sqlite3.Connection:
    """Let readers continue during a write, if the file system supports it.

    Raises:
        Busy: other processes still use the file after `patience` seconds; never raised if that is 0.
    """
    try:
        execute_when_free(connection, "PRAGMA journal_mode = wal", patience).fetchone()
    except Busy:
        # The store works without the log; the next writer tries again.
        if patience:
            raise
    except sqlite3.OperationalError:
        # A read-only file fails at the first write, with a message of its own.
        pass
    return connection


def now() -> str:
    """Return the current time as ISO 8601 in UTC, to the second: the format of every `…_at` column."""
    return datetime.now(UTC).isoformat(timespec="seconds")
