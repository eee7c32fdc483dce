"""How the database is made, opened and migrated."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from weakref import finalize

from store.errors import Busy, StoreError, explain
from store.migrations import migrations
from store.place import begin_use, end_use, is_there
from store.sqlite import PATIENCE, Database, patiently, say_nothing

_READING = 30.0
"""Seconds that a reader waits, where there is no write-ahead log and a writer is just putting its changes in."""


def open_database(path: Path, *, make: bool = True, told: Callable[[float], None] = say_nothing) -> Database:
    """Open the store at `path`, migrated as needed. A connection belongs to the thread that opened it.

    Args:
        make: whether a store that is not there is made at once. Otherwise it is read as an empty one, and made with the
            first transaction that writes.
        told: called once a second while another process is waited for, with the seconds so far.

    Raises:
        StoreError: the file cannot be opened, is no database, was made by a newer version, or by an older one where it
            cannot be written.
    """
    if not is_there(path):
        if make:
            return Database(_made(path, told), path, told=told)
        return Database(_empty(), path, prepare=lambda empty: _in_place_of(empty, path, told), told=told)
    with _explained(path):
        connection = _opened(path)
        try:
            db = Database(connection, path, prepare=_use_write_ahead_log, told=told)
            if _is_behind(db):
                _migrate(db)
        except BaseException:
            connection.close()
            raise
    return db


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Name the file in what goes wrong, and say what to do."""
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
    """A connection of which is known that it has its file open; see `store.place.is_there`."""

    end: "finalize[..., _Connection] | None" = None

    def close(self) -> None:
        """Close it."""
        super().close()
        if self.end is not None:
            self.end()


def _connect(path: Path, query: str) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?{query}"
    file = begin_use(path, make="mode=rwc" in query)
    try:
        connection = sqlite3.connect(
            address, uri=True, timeout=_READING, isolation_level="IMMEDIATE", factory=_Connection
        )
    except BaseException:
        end_use(file)
        raise
    # Also where nobody closes it.
    connection.end = finalize(connection, end_use, file)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _empty() -> sqlite3.Connection:
    """What a store would be that has just been made, without a file."""
    connection = sqlite3.connect(":memory:")
    migrations.apply(Database(connection))
    return connection


def _in_place_of(empty: sqlite3.Connection, path: Path, told: Callable[[float], None]) -> sqlite3.Connection:
    made = _made(path, told)
    empty.close()
    return made


def _made(path: Path, told: Callable[[float], None]) -> sqlite3.Connection:
    """A connection to a new store. Others may be making the same file: whoever comes second finds it done."""
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = _connect(path, "mode=rwc")
        try:
            _use_write_ahead_log(connection, PATIENCE)
            _migrate(Database(connection, told=told))
        except BaseException:
            connection.close()
            raise
    return connection


def _opened(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there, which may be one that can only be read.

    Raises:
        StoreError: others have left changes beside it, which cannot be read here.
        sqlite3.Error: it is no database, or is damaged.
    """
    connection = _connect(path, "mode=rw")
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
    except BaseException:
        connection.close()
        raise
    else:
        return connection
    # With a write-ahead log even readers make files in the folder. Where they cannot, nobody changes the file either.
    for suffix in ("-wal", "-journal"):
        beside = path.with_name(path.name + suffix)
        if beside.exists() and beside.stat().st_size:
            raise StoreError(
                f"{beside.name} holds changes that can only be read where the folder can be written; copy both files "
                "to another folder, and name the copy with --db"
            )
    return _connect(path, "mode=ro&immutable=1")


def _migrate(db: Database) -> None:
    try:
        with db.atomic():
            if _is_behind(db):
                migrations.apply(db)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        if not db.table_names():
            raise
        raise StoreError(
            "made by an older version of kdtui, and it cannot be upgraded where it cannot be written; copy it to "
            "another folder, and name the copy with --db"
        ) from error


def _is_behind(db: Database) -> bool:
    """Whether migrations are to be applied.

    Raises:
        StoreError: the file is of a newer version, or no store at all.
    """
    with closing(sqlite3.connect(":memory:")) as nothing:
        known = [migration.name for migration in migrations.pending(Database(nothing))]
    applied = [migration.name for migration in migrations.applied(db)]
    if unknown := sorted(set(applied) - set(known)):
        raise StoreError(f"made by a newer version of kdtui (it has {unknown[-1]}); upgrade kdtui to use it")
    if not applied and db.table_names():
        # Read again: another process may have made the tables between the two looks.
        if migrations.applied(db):
            return _is_behind(db)
        raise StoreError("this is another program's database; choose another file with --db")
    return len(applied) < len(known)


def _use_write_ahead_log(connection: sqlite3.Connection, patience: float = 0.0) -> sqlite3.Connection:
    """Let readers go on while something is written, where the file system can do that.

    Raises:
        Busy: others use the file, and still do after so many seconds; never where these are none.
    """
    try:
        patiently(connection, "PRAGMA journal_mode = wal", patience).fetchone()
    except Busy:
        # A store can do without; whoever writes next tries again.
        if patience:
            raise
    except sqlite3.OperationalError:
        # A file that cannot be written says so with what is written first.
        pass
    return connection


def now() -> str:
    """The time now as ISO 8601 in UTC, to the second: how every `…_at` column is written."""
    return datetime.now(UTC).isoformat(timespec="seconds")
