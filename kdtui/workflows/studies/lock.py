"""The lock that lets only one process at a time run a study on a store, and its holder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from kdtui.errors import KdtuiError
from store.location import next_to
from store.sqlite import Database

_PATIENCE = 0.5
"""Seconds to wait for the lock: a process that checks whether a study runs holds it for a moment."""


@dataclass(frozen=True, slots=True)
class Runner:
    """The process that runs a study.

    Attributes:
        process: its id; None if the lock does not say.
        study: the name of the study; empty if the lock does not say.
    """

    process: int | None
    study: str

    @property
    def in_words(self) -> str:
        """The process, as a part of a sentence."""
        return "another process" if self.process is None else f"process {self.process}"


@contextmanager
def study_lock(db: Database, study: str) -> Iterator[None]:
    """Hold the lock for running studies on this store.

    Raises:
        KdtuiError: another process holds it; the message says which.
    """
    with _path(db).open("a+", encoding="utf-8") as file:
        deadline = monotonic() + _PATIENCE
        while not _is_locked(file.fileno(), fcntl.LOCK_EX):
            if monotonic() > deadline:
                runner = _read(_path(db))
                process = "" if runner.process is None else f" (process {runner.process})"
                raise KdtuiError(
                    f"another kdtui runs a study on this database{process}; wait until it is done, or stop it: its "
                    "results are kept"
                )
            sleep(0.02)
        file.truncate(0)
        file.write(f"{os.getpid()}\n{study}\n")
        file.flush()
        yield


def runner_of(db: Database) -> Runner | None:
    """Return the process that runs a study on this store at the moment; None if there is none."""
    path = _path(db)
    try:
        with path.open(encoding="utf-8") as file:
            return None if _is_locked(file.fileno(), fcntl.LOCK_SH) else _read(path)
    except FileNotFoundError:
        return None


def _path(db: Database) -> Path:
    assert db.path is not None
    return next_to(db.path, ".study-lock")


def _is_locked(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path) -> Runner:
    process, study, *_ = [*path.read_text(encoding="utf-8").split("\n"), "", ""]
    return Runner(int(process) if process.isdecimal() else None, study)
