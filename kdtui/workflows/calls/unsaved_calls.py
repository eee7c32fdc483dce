"""Paid answers of teachers that could not be stored yet, in files next to the store.

A file is written when the store has been busy for a second, or refuses the call. It is deleted when its answer is
stored: by the process that paid for it, or by the next one that asks a teacher. Storing an answer twice is harmless.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from models.files.whole_files import PRIVATE, write_whole
from store.calls import is_recorded, record_call
from store.location import next_to
from store.sqlite import Database

_FOLDER = "-unsaved-calls"
"""Suffix of the folder, after the name of the store."""


class PaidCall(Struct, frozen=True, kw_only=True):
    """A call that has ended; see `store.calls.Call`."""

    key: str
    teacher: str
    step: str
    request: str
    response: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    seconds: float
    attempts: int
    error: str | None = None
    is_estimated: bool = False
    is_final: bool = False
    replace: bool = False

    def record(self, db: Database) -> None:
        """Store it; see `record_call`."""
        record_call(db, **msgspec.structs.asdict(self))


def folder_of(database: Path) -> Path:
    """Return the folder with the waiting answers of a database."""
    return next_to(database, _FOLDER)


def _file_of(database: Path, key: str) -> Path:
    return folder_of(database) / f"{key}.json"


def set_aside(database: Path, call: PaidCall) -> Path:
    """Write a call to a file, and return its path.

    Raises:
        OSError: it cannot be written.
    """
    path = _file_of(database, call.key)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, msgspec.json.encode(call), PRIVATE)
    return path


def delete_unsaved_call(path: Path) -> None:
    """Delete the file of a stored call, and the folder with the last one."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()


def waiting_calls(database: Path) -> list[Path]:
    """Return the files of calls that are not stored yet."""
    return sorted(folder_of(database).glob("*.json"))


def store_unsaved_calls(db: Database) -> int:
    """Store the calls that wait in files, and return their number. Unreadable files are left where they are.

    Raises:
        Busy: another process is writing.
    """
    return 0 if db.path is None else _store(db, waiting_calls(db.path))


def store_unsaved_call(db: Database, key: str) -> None:
    """Store the call of a question that waits in a file, if there is one; otherwise like `store_unsaved_calls`."""
    if db.path is not None and (path := _file_of(db.path, key)).exists():
        _store(db, [path])


def _store(db: Database, paths: Sequence[Path]) -> int:
    if not paths:
        return 0
    stored = []
    with db.atomic():
        for path in paths:
            # Another process can have stored it meanwhile.
            with suppress(OSError, msgspec.MsgspecError):
                call = msgspec.json.decode(path.read_bytes(), type=PaidCall)
                # It can have been stored just before its process ended.
                if not is_recorded(db, call.key, call.response, call.error):
                    call.record(db)
                stored.append(path)
    for path in stored:
        delete_unsaved_call(path)
    return len(stored)
