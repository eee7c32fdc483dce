"""The location of the database file, and a check that it can be one. Importing this does not import SQLite."""

import os
import stat
from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Lock

from store.errors import StoreError

ENVIRONMENT_VARIABLE = "KDTUI_DB"

_MAGIC = b"SQLite format 3\0"

_KINDS = (
    (stat.S_ISDIR, "a folder; name a file in it"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


_File = tuple[int, int]
"""A device, and the inode of a file on it."""

_in_use: Counter[_File] = Counter()
"""Number of open connections of this process, by file."""

_lock = Lock()


def next_to(database: Path, suffix: str) -> Path:
    """Return the path of a file next to a database. It is the same under each name of the database."""
    database = database.resolve()
    return database.with_name(f"{database.name}{suffix}")


def default_path() -> Path:
    """Return the path in KDTUI_DB, or `kdtui.db` in the platform's folder for user data."""
    if named := os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("kdtui") / "kdtui.db"


def is_path_configured() -> bool:
    """Whether KDTUI_DB names the database."""
    return bool(os.environ.get(ENVIRONMENT_VARIABLE))


def database_exists(path: Path) -> bool:
    """Whether there is a database at `path` that has content.

    Raises:
        StoreError: the file cannot be a database, or cannot be accessed.
    """
    if str(path) == ":memory:" or str(path).startswith("file:"):
        raise StoreError(f"{str(path)!r} names no file; name one with --db, such as kdtui.db")
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; choose another with --db") from error
    for is_kind, kind in _KINDS:
        if is_kind(status.st_mode):
            raise StoreError(f"{path}: a database is a file, and this is {kind}")
    if not status.st_size:
        return False
    with _lock:
        # Closing a file releases all locks that the process holds on it (fcntl(2)), including those of its connections.
        # The next process to close the database would then believe it is the last one, and delete the log in use.
        beginning = _MAGIC if _in_use[_file_key(status)] else _read_beginning(path)
    if beginning not in (b"", _MAGIC):
        raise StoreError(f"{path}: this file is not an SQLite database; choose another one with --db")
    return bool(beginning)


def _read_beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; choose another with --db") from error


def _file_key(status: os.stat_result) -> _File:
    return status.st_dev, status.st_ino


def begin_use(path: Path, *, make: bool) -> _File:
    """Count a connection that is about to be opened; call `end_use` when it is closed.

    Args:
        make: whether to create an empty file if there is none.

    Raises:
        OSError: the file does not exist or cannot be created.
    """
    with _lock:
        if make and not path.exists():
            # Another process may have created it in the meantime.
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        file = _file_key(path.stat())
        _in_use[file] += 1
        return file


def end_use(file: _File) -> None:
    """Stop counting a closed connection."""
    with _lock:
        _in_use[file] -= 1
        if not _in_use[file]:
            del _in_use[file]
