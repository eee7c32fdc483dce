"""Where the database is, and whether what is there can be one. Asking this imports no SQLite."""

import os
import stat
from pathlib import Path

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
    try:
        with path.open("rb") as file:
            beginning = file.read(len(_MAGIC))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; choose another with --db") from error
    if beginning not in (b"", _MAGIC):
        raise StoreError(f"{path}: this file is not an SQLite database; choose another one with --db")
    return bool(beginning)
