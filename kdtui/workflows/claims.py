"""Claims of work that only one process does at a time, such as a paid call or the answers of a run.

A claim is a lock on one byte of a file next to the database. The system releases the claims of a process that dies.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import Lock

from kdtui.errors import BadFile, KdtuiError
from store.sqlite import Database


class Claims:
    """The claims on the work of one database, of all threads of this process.

    Raises:
        BadFile: the file for the claims cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # It stays open until the process ends: to close a descriptor releases all locks of the process on the file.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BadFile(path, str(error.strerror)) from error
        self._taken: set[str] = set()
        self._lock = Lock()

    def take(self, work: str) -> bool:
        """Claim work, and return whether nobody else has it.

        Raises:
            BadFile: the file system has no locks.
        """
        with self._lock:
            if work in self._taken:
                return False
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte_of(work))
            except (BlockingIOError, PermissionError):
                # Systems differ in the error for a locked byte.
                return False
            except OSError as error:
                raise BadFile(self._path, str(error.strerror)) from error
            self._taken.add(work)
            return True

    def release(self, work: str) -> None:
        """Give work back that this process has claimed."""
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _byte_of(work))
            self._taken.remove(work)


def claims_of(db: Database) -> Claims | None:
    """Return the claims on the work of a database; None if the database is in memory.

    Raises:
        BadFile: the file for the claims cannot be opened.
    """
    return None if db.path is None else _claims(db.path.with_name(f"{db.path.name}.claims").absolute())


@contextmanager
def claimed(db: Database, work: str, refusal: str) -> Iterator[None]:
    """Do work that nobody else does meanwhile.

    Raises:
        KdtuiError: somebody else does it; the message is the refusal.
    """
    claims = claims_of(db)
    if claims is None:
        yield
        return
    if not claims.take(work):
        raise KdtuiError(refusal)
    try:
        yield
    finally:
        claims.release(work)


_claims = cache(Claims)


def _byte_of(work: str) -> int:
    # A position in a file has 63 bits.
    return int.from_bytes(sha256(work.encode()).digest()[:7])
