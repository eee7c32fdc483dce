"""sqlite-utils, for all of the program: imported from here, it is quick, and its transactions wait for each other.

By itself it imports numpy and pandas where they are installed, to know the column types of their values when it makes a
table of such. Ours are made by migrations; the two would take longer than most commands do.
"""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from store.errors import Busy

__all__ = ["Database", "Migrations", "PlainDatabase", "is_busy", "patiently", "say_nothing"]


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Have imports find modules missing, those that are not imported yet."""
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

PATIENCE = 600.0
"""Seconds to wait for another process that is writing: a large import takes minutes."""

_LOOK = 1.0
"""Seconds after which whoever waits is told, and told again."""

_LEAST_PAUSE = 0.05
"""Seconds between two tries where SQLite itself does not wait."""


def say_nothing(_seconds: float) -> None:
    """For whoever need not be told that something waits."""


class Database(PlainDatabase):
    """A connection to the store. It belongs to the thread that opened it.

    Args:
        prepare: called once, before the first transaction, with the connection; it returns the one to use from then on.

    Attributes:
        path: the file; None for a store in memory alone.
        patience: seconds to wait for another process that is writing, before `atomic` gives up.
        told: called once a second while it waits, with the seconds so far. What it raises ends the waiting.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path | None = None,
        *,
        prepare: Callable[[sqlite3.Connection], sqlite3.Connection] | None = None,
        told: Callable[[float], None] = say_nothing,
    ) -> None:
        super().__init__(connection)
        self.path = path
        self.patience = PATIENCE
        self.told = told
        self._prepare = prepare

    @contextmanager
    def atomic(self) -> Iterator["Database"]:
        """A transaction that writes: all of it is stored, or nothing.

        It waits for other writers before its first statement. SQLite does not wait when a transaction that has read
        comes to write, since what it has read may be out of date then.

        Raises:
            Busy: another process has been writing all the time.
        """
        if self.conn.in_transaction:
            with super().atomic():
                yield self
            return
        if self._prepare is not None:
            self.conn = self._prepare(self.conn)
            self._prepare = None
        patiently(self.conn, "BEGIN IMMEDIATE", self.patience, self.told)
        try:
            yield self
            # Without a write-ahead log, readers are waited for here.
            patiently(self.conn, "COMMIT", self.patience, self.told)
        except BaseException:
            self.rollback()
            raise

    @contextmanager
    def snapshot(self) -> Iterator["Database"]:
        """A transaction that reads: what others write meanwhile is not seen in it. It may fill temporary tables."""
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
        """Have `atomic` wait for so many seconds: 0 to give up at once, infinity to never do."""
        before, self.patience = self.patience, patience
        try:
            yield self
        finally:
            self.patience = before


def patiently(
    connection: sqlite3.Connection, statement: str, patience: float, told: Callable[[float], None] = say_nothing
) -> sqlite3.Cursor:
    """Execute a statement, and wait for other processes as long as SQLite reports them busy.

    Raises:
        Busy: they are still so after `patience` seconds.
    """
    [usual] = connection.execute("PRAGMA busy_timeout").fetchone()
    began = monotonic()
    try:
        while True:
            tried = monotonic()
            left = max(0.0, began + patience - tried)
            connection.execute(f"PRAGMA busy_timeout = {round(1000 * min(_LOOK, left))}")
            try:
                return connection.execute(statement)
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                if monotonic() - began >= patience:
                    raise Busy(patience) from error
            sleep(max(0.0, tried + min(_LEAST_PAUSE, left) - monotonic()))
            if monotonic() - began >= _LOOK:
                told(monotonic() - began)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {usual}")


def is_busy(error: sqlite3.Error) -> bool:
    """Whether SQLite reports that another connection is in the way."""
    # The lowest byte is the kind of an error, the others tell more of it.
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
