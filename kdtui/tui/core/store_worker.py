"""What worker threads need: read the store, and turn an error into a sentence.

The imports are inside the functions: opening the store takes longer than the first paint can wait.
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
"""SQLite instructions between two checks for cancellation: about a millisecond."""


def ask_store(path: Path, question: "Callable[[Database], Answer]") -> Answer:
    """Open the store, ask a question, and close the store; for thread workers. Cancelling stops the query."""
    worker = get_current_worker()

    def ask(db: "Database") -> Answer:
        assert db.conn is not None
        db.conn.set_progress_handler(lambda: worker.is_cancelled, _STEPS)
        return question(db)

    return _use_store(path, ask, waiting_callback(worker.node.post_message, still_wanted), worker.node.post_message)


def change_store(
    path: Path, change: "Callable[[Database], StoreChanged]", post: Callable[[Message], object]
) -> "StoreChanged":
    """Open the store, change it, and close it; for threads. Nothing cancels the change.

    Args:
        post: receives messages about the store; thread-safe.
    """
    return _use_store(path, change, waiting_callback(post), post)


def _use_store(
    path: Path,
    use: "Callable[[Database], Answer]",
    on_wait: Callable[[float], None],
    post: Callable[[Message], object],
) -> Answer:
    from store.database import open_database

    db = open_database(path, make=False, on_wait=on_wait)
    try:
        if db.copy_before_upgrade is not None:
            from store.upgrade import upgrade_in_words

            post(StoreNotice(upgrade_in_words(db.copy_before_upgrade)))
        return use(db)
    finally:
        db.close()


class StoreChanged(Message):
    """The user has changed the store; the sentence says what is different now."""

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self.sentence = sentence


class StoreNotice(Message):
    """A worker waits for the store, or has upgraded it; the sentence says so."""

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self.sentence = sentence


def waiting_callback(
    post: Callable[[Message], object], check: Callable[[], object] = lambda: None
) -> Callable[[float], None]:
    """Return the callback for a store that waits for another process. An exception from `check` ends the waiting.

    Args:
        post: thread-safe; its messages have to reach the app.
    """
    from kdtui.workflows.waiting import WaitNotice

    return WaitNotice(lambda sentence: post(StoreNotice(sentence)), check)


class Unwanted(Exception):
    """The answer is no longer needed."""


def still_wanted() -> None:
    """Check in a thread worker that it is not cancelled.

    Raises:
        Unwanted: the worker is cancelled.
    """
    if get_current_worker().is_cancelled:
        raise Unwanted


def named_database(path: Path) -> Path | None:
    """Return the path of the store if commands have to name it; None for the default store."""
    from store.location import default_path

    return None if path == default_path() else path


def sentence_of(error: Exception) -> tuple[str, str]:
    """Return a sentence about an error for the user, and details, which only a fault of the program has."""
    sentence = user_sentence(error)
    return fault(error) if sentence is None else (sentence, "")


def fault(error: BaseException) -> tuple[str, str]:
    """Return a sentence about a fault of the program, and its traceback."""
    import traceback

    return f"a fault of kdtui: {type(error).__name__}: {error}", "".join(traceback.format_exception(error))


def user_sentence(error: Exception) -> str | None:
    """Return a sentence about an error for the user; None for a fault of the program."""
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
