"""Where the database is, and whether what is there can be one. Asking this imports no SQLite."""

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
"""A device, and the number of a file on it."""

_in_use: Counter[_File] = Counter()
"""How many connections this process has to files."""

_lock = Lock()


def default_path() -> Path:
    """The file that KDTUI_DB names, or else `kdtui.db` in the platform's folder for a user's data."""
    if named := os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("kdtui") / "kdtui.db"


def is_named() -> bool:
    """Whether KDTUI_DB names the file."""
    return bool(os.environ.get(ENVIRONMENT_VARIABLE))


def is_there(path: Path) -> bool:
    """Whether anything has been stored at `path` so far.

    Raises:
        StoreError: what is there can be no database, or it cannot be looked at.
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
        # Whoever closes a file gives up all locks that the process has on it (fcntl(2)), those of its connections too;
        # the next process that leaves would then take itself for the last, and delete the log that these write to.
        beginning = _MAGIC if _in_use[_file(status)] else _beginning(path)
    if beginning not in (b"", _MAGIC):
        raise StoreError(f"{path}: this file is not an SQLite database; choose another one with --db")
    return bool(beginning)


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; choose another with --db") from error


def _file(status: os.stat_result) -> _File:
    return status.st_dev, status.st_ino


def begin_use(path: Path, *, make: bool) -> _File:
    """Note that a connection to a file is about to be opened; `end_use` says that it is closed.

    Args:
        make: whether an empty file is made where there is none.

    Raises:
        OSError: there is no file, or it cannot be made.
    """
    with _lock:
        if make and not path.exists():
            # Another process may just have made it.
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644))
        file = _file(path.stat())
        _in_use[file] += 1
        return file


def end_use(file: _File) -> None:
    """Note that a connection is closed."""
    with _lock:
        _in_use[file] -= 1
        if not _in_use[file]:
            del _in_use[file]
