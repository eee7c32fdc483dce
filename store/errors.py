"""Errors of the store, each explained in one sentence."""

import sqlite3


class StoreError(Exception):
    """The store cannot do, or refuses to do, what was asked; the message is one sentence for the user."""


class NotFound(StoreError):
    """There is no row with this name or number."""


class Busy(StoreError):
    """Another process has been writing for this number of seconds, or is writing and the caller does not wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"another process has been writing to the database for {seconds:g} seconds; {_TRY_AGAIN}")


class NoLocks(StoreError):
    """The file system of the store cannot lock files."""

    def __init__(self) -> None:
        super().__init__(_NO_LOCKS)


class DuplicateSession(StoreError):
    """A dataset that is being written has the same session twice. `session` is its id."""

    def __init__(self, session: str) -> None:
        super().__init__(f"session {session!r} comes twice; session ids must be unique in a dataset")
        self.session = session


_TRY_AGAIN = "try again when it is done"

_NO_LOCKS = (
    "the file system of the database cannot lock files, as some network file systems cannot; choose a database on a "
    "local disk with --db"
)

_NO_SHARED_MEMORY = (
    "the file system of the database cannot share memory between programs, as some network file systems cannot; "
    "choose a database on a local disk with --db"
)

# What SQLite reports, and what a user can do about it.
_ADVICE = {
    "readonly database": "the database cannot be written to; check the permissions of the file and of its folder, or "
    "choose another one with --db",
    "disk is full": "the disk is full; nothing of this command was kept, so free some space and run it again",
    "unable to open": "the database cannot be opened; check that its folder exists and may be written to, and that the "
    "disk can hold more files",
    "not a database": "this file is not an SQLite database; choose another one with --db",
    "malformed": "the database is damaged; restore a copy, or choose another one with --db",
    "locking protocol": _NO_LOCKS,
    "locked": f"another program has been writing to the database for too long; {_TRY_AGAIN}",
    "disk I/O": "the disk reports an error; nothing of this command was kept",
}


def has_code(error: sqlite3.Error, *codes: int) -> bool:
    """Return whether SQLite reports one of these primary error codes."""
    # The primary code is the lowest byte; the others add details.
    return error.sqlite_errorcode & 0xFF in codes


def cannot_write(error: sqlite3.Error) -> bool:
    """Return whether SQLite reports that the file or its folder cannot be written."""
    return has_code(error, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


def explain(error: sqlite3.Error) -> str:
    """Return one sentence on SQLite's error and what to do; SQLite's own message if there is no better one."""
    # Errors of the module itself have no code.
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_IOERR_SHMMAP:
        return _NO_SHARED_MEMORY
    # On a full disk, not even the index of the log can grow.
    message = "disk is full" if code == sqlite3.SQLITE_IOERR_SHMSIZE else str(error)
    for part, advice in _ADVICE.items():
        if part in message:
            return advice
    return f"the database refused: {message}"
