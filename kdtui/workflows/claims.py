"""Claims of work that only one process does at a time, such as a paid call or the answers of a run.

A claim is a lock on one byte of a file next to the database. The system releases the claims of a process that dies.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from threading import RLock
from time import sleep

from kdtui.errors import BadFile, KdtuiError
from store.location import next_to
from store.sqlite import Database

_TRIES = 3
"""Tries of a lock: a file system can be short of locks for a moment."""


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
        # The end of an abandoned generator can release a claim at any moment, also while this thread takes one.
        self._lock = RLock()

    def take(self, work: str) -> bool:
        """Claim work, and return whether nobody else has it.

        Raises:
            BadFile: the file system has no locks.
        """
        with self._lock:
            if work in self._taken or not self._is_locked(work):
                return False
            self._taken.add(work)
            return True

    def release(self, work: str) -> None:
        """Give work back that this process has claimed."""
        with self._lock, suppress(OSError):
            self._taken.discard(work)
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _byte_of(work))

    def _is_locked(self, work: str) -> bool:
        for left in reversed(range(_TRIES)):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte_of(work))
            except OSError as error:
                # Systems differ in the error for a byte that is locked.
                if error.errno in (errno.EAGAIN, errno.EACCES):
                    return False
                if not left:
                    raise BadFile(self._path, str(error.strerror)) from error
                sleep(0.05)
            else:
                break
        return True


_claims: dict[Path, Claims] = {}
_opening = RLock()


def claims_of(db: Database) -> Claims | None:
    """Return the claims on the work of a database; None if the database is in memory.

    Raises:
        BadFile: the file for the claims cannot be opened.
    """
    if db.path is None:
        return None
    path = next_to(db.path, ".claims")
    with _opening:
        if path not in _claims:
            _claims[path] = Claims(path)
        return _claims[path]


@contextmanager
def claimed(db: Database, work: str, refusal: str) -> Iterator[None]:
    """Do work that nobody else does meanwhile.

    Raises:
        KdtuiError: somebody else does it; the message is the refusal.
    """
    claims = claims_of(db)
    if claims is not None and not claims.take(work):
        raise KdtuiError(refusal)
    try:
        yield
    finally:
        if claims is not None:
            claims.release(work)


def _byte_of(work: str) -> int:
    # A position in a file has 63 bits.
    return int.from_bytes(sha256(work.encode()).digest()[:7])
