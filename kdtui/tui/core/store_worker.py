"""What worker threads do: ask the store, and put what goes wrong into a sentence.

The imports are in the functions: opening the store takes longer than the first paint may.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from textual.message import Message
from textual.worker import get_current_worker

if TYPE_CHECKING:
    from store.sqlite import Database

Answer = TypeVar("Answer")

_STEPS = 10_000
"""SQLite instructions between two looks at whether the answer is still wanted: about a millisecond."""


def ask_store(path: Path, question: "Callable[[Database], Answer]") -> Answer:
    """Open the store, ask, close it again. To be called in a thread worker; a cancelled one stops within its query."""
    from store.database import open_database

    worker = get_current_worker()
    db = open_database(path, make=False, on_wait=tell_waiting(worker.node.post_message, still_wanted))
    try:
        assert db.conn is not None
        db.conn.set_progress_handler(lambda: worker.is_cancelled, _STEPS)
        return question(db)
    finally:
        db.close()


class StoreBusy(Message):
    """The store is waited for; `sentence` says so."""

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self.sentence = sentence


def tell_waiting(
    post: Callable[[Message], object], check: Callable[[], object] = lambda: None
) -> Callable[[float], None]:
    """What to tell a store that waits for another process; what `check` raises ends the waiting.

    Args:
        post: must be safe to call from a thread; its messages have to reach the app.
    """
    from kdtui.workflows.waiting import WaitNotice

    return WaitNotice(lambda sentence: post(StoreBusy(sentence)), check)


class Unwanted(Exception):
    """Nobody waits for the answer any more."""


def still_wanted() -> None:
    """Look, in a thread worker, whether its answer is still waited for.

    Raises:
        Unwanted: it has been cancelled.
    """
    if get_current_worker().is_cancelled:
        raise Unwanted


def named_database(path: Path) -> Path | None:
    """The path where a command has to be told it; None where the command finds it by itself."""
    from store.location import default_path

    return None if path == default_path() else path


def sentence_of(error: Exception) -> tuple[str, str]:
    """What to tell the user of an error, and the details, which faults of the program have."""
    sentence = explained(error)
    return fault(error) if sentence is None else (sentence, "")


def fault(error: BaseException) -> tuple[str, str]:
    """A fault of the program: that there is one, and where it comes from."""
    import traceback

    return f"a fault of kdtui: {type(error).__name__}: {error}", "".join(traceback.format_exception(error))


def explained(error: Exception) -> str | None:
    """What to tell the user; None for what is a fault of the program."""
    import sqlite3

    from kdtui.errors import KdtuiError
    from models.errors import ModelError
    from store.errors import StoreError, explain

    if isinstance(error, KdtuiError | ModelError | StoreError):
        return str(error)
    if isinstance(error, sqlite3.Error):
        return explain(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return None
