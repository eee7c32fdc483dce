"""A fast import of sqlite-utils, and transactions that wait for each other.

When imported, sqlite-utils imports numpy and pandas if they are installed, to derive column types from their values.
Here, migrations define the tables, and importing the two would take longer than most commands.
"""

import errno
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from store.errors import Busy, NoLocks, has_code

__all__ = ["Database", "Migrations", "PlainDatabase", "execute_when_free", "ignore_wait", "is_busy"]


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Hide modules from imports, unless they are imported already."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _without("numpy", "pandas"):
    from sqlite_utils import Database as PlainDatabase
    from sqlite_utils.migrations import Migrations

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PATIENCE = 600.0
"""Seconds to wait for another process that is writing: a large import takes minutes."""

_NOTIFY_INTERVAL = 1.0
"""Seconds between notifications of a caller that waits."""

_PROBES = 3
"""Attempts to lock a file before a file system counts as one that cannot."""

_LEAST_PAUSE = 0.05
"""Seconds between two attempts if SQLite itself does not wait."""


def ignore_wait(_seconds: float) -> None:
    """Ignore the notification that something waits."""


class Database(PlainDatabase):
    """A connection to the store. It belongs to the thread that opened it.

    Args:
        prepare: called once with the connection, before the first transaction; returns the connection to use from then
            on.

    Attributes:
        path: the file; None for a store in memory.
        patience: seconds that `atomic` waits for another process that is writing.
        on_wait: called once a second while waiting, with the seconds so far; an exception from it ends the wait.
        copy_before_upgrade: a copy of the file as it was, if opening it has upgraded it.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path | None = None,
        *,
        prepare: Callable[[sqlite3.Connection], sqlite3.Connection] | None = None,
        on_wait: Callable[[float], None] = ignore_wait,
    ) -> None:
        super().__init__(connection)
        self.path = path
        self.patience = PATIENCE
        self.on_wait = on_wait
        self.copy_before_upgrade: Path | None = None
        self._prepare = prepare

    @contextmanager
    def atomic(self) -> Iterator["Database"]:
        """Open a write transaction: either everything in it is stored, or nothing.

        It waits for other writers before its first statement. Otherwise SQLite would refuse, without waiting, to let a
        transaction write that has read before, as what it has read may be outdated.

        Raises:
            Busy: another process has been writing for too long.
        """
        if self.conn.in_transaction:
            with super().atomic():
                yield self
            return
        if self._prepare is not None:
            self.conn = self._prepare(self.conn)
            self._prepare = None
        execute_when_free(self.conn, "BEGIN IMMEDIATE", self.patience, self.on_wait)
        try:
            yield self
            # Without a write-ahead log, the commit waits for readers.
            execute_when_free(self.conn, "COMMIT", self.patience, self.on_wait)
        except BaseException:
            self.rollback()
            raise

    def try_to_write(self, write: Callable[[], object], patience: float = 0.0) -> bool:
        """Write in a transaction what can be computed again; return whether it was stored.

        Nothing is stored if the store is read-only or full, if another process is writing to it for longer than
        `patience` seconds, or if a row that this belongs to has just been deleted.
        """
        try:
            with self.waiting(patience), self.atomic():
                write()
        except (Busy, NoLocks, sqlite3.OperationalError, sqlite3.IntegrityError):
            return False
        return True

    @contextmanager
    def snapshot(self) -> Iterator["Database"]:
        """Open a read transaction, which does not see later writes of other processes. It can fill temporary tables."""
        if self.conn.in_transaction:
            yield self
            return
        self.conn.execute("BEGIN DEFERRED")
        try:
            yield self
        finally:
            self.rollback()

    @contextmanager
    def waiting(self, patience: float) -> Iterator["Database"]:
        """Change how many seconds `atomic` waits: 0 not to wait, infinity to wait without limit."""
        before, self.patience = self.patience, patience
        try:
            yield self
        finally:
            self.patience = before


def execute_when_free(
    connection: sqlite3.Connection, statement: str, patience: float, on_wait: Callable[[float], None] = ignore_wait
) -> sqlite3.Cursor:
    """Execute a statement, and wait for other processes as long as SQLite reports them busy.

    Raises:
        Busy: they are still busy after `patience` seconds.
        NoLocks: the file system cannot lock files, which SQLite does not tell from a lock.
    """
    [usual] = connection.execute("PRAGMA busy_timeout").fetchone()
    began, is_lockable = monotonic(), None
    try:
        while True:
            tried = monotonic()
            left = max(0.0, began + patience - tried)
            connection.execute(f"PRAGMA busy_timeout = {round(1000 * min(_NOTIFY_INTERVAL, left))}")
            try:
                return connection.execute(statement)
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                if is_lockable is None:
                    is_lockable = _can_lock(connection)
                if not is_lockable:
                    raise NoLocks from error
                if monotonic() - began >= patience:
                    raise Busy(patience) from error
            sleep(max(0.0, tried + min(_LEAST_PAUSE, left) - monotonic()))
            if monotonic() - began >= _NOTIFY_INTERVAL:
                on_wait(monotonic() - began)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {usual}")


def _can_lock(connection: sqlite3.Connection) -> bool:
    """Whether the file system of a store can lock files. Some network file systems cannot."""
    # On macOS, SQLite then uses files as locks.
    if fcntl is None or sys.platform == "darwin":
        return True
    # Imported here: importing it takes longer than opening a store.
    from tempfile import TemporaryFile

    _, _, path = connection.execute("PRAGMA database_list").fetchone()
    # The error can be a passing one of a network.
    for _ in range(_PROBES if path else 0):
        try:
            # Not the store itself: closing a file releases all locks that this process has on it.
            with TemporaryFile(dir=Path(path).parent) as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
                return True
        sleep(_LEAST_PAUSE)
    return not path


def is_busy(error: sqlite3.Error) -> bool:
    """Whether SQLite reports that another connection holds a lock."""
    return has_code(error, sqlite3.SQLITE_BUSY)
