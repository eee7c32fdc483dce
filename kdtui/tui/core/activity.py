"""Activities: work in a thread of its own, independent of the screen, that can be stopped between two steps."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, cast

from textual.message import Message
from textual.types import NoActiveAppError

from kdtui.tui.core.store_worker import Unwanted, sentence_of, waiting_callback
from models.errors import Cancelled
from models.llama.cancellation import Cancellation

if TYPE_CHECKING:
    from store.sqlite import Database


class Happened(Message):
    """An activity has made progress; `event` is what its workflow yielded or reported."""

    def __init__(self, activity: "Activity", event: object) -> None:
        super().__init__()
        self.activity, self.event = activity, event


class Ended(Message):
    """An activity is over.

    Attributes:
        problem: why it failed; None if it succeeded or was cancelled.
        details: details of the problem.
    """

    def __init__(self, activity: "Activity", problem: str | None, details: str = "") -> None:
        super().__init__()
        self.activity, self.problem, self.details = activity, problem, details


class Activity:
    """A workflow that runs in the background.

    Args:
        work: yields the events of the workflow; gets the store, which is opened and closed for it.
        post: receives the messages; thread-safe, such as `post_message` of a screen.
        stop: asks the workflow to end, for one that reaches its next step late; it then ends by itself.
    """

    def __init__(
        self,
        name: str,
        database: Path,
        work: "Callable[[Database], Iterator[object]]",
        post: Callable[[Message], object],
        *,
        stop: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self._database, self._work, self._receive, self._stop = database, work, post, stop
        self._cancellation = Cancellation()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    @property
    def is_cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._cancellation.is_cancelled

    @property
    def is_running(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def thread(self) -> Thread:
        return self._thread

    @property
    def when_left(self) -> str:
        """What happens to the running activity when the user quits, and what resumes it; empty where it is obvious."""
        return ""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop after the current step. Its results are kept; a student stops in the middle of its answer."""
        self._cancellation.cancel()
        if self._stop is not None:
            self._stop()

    def report(self, event: object) -> None:
        """Post an event in addition to the yielded ones; for its thread.

        Raises:
            Unwanted: the activity was asked to stop.
        """
        self._post(Happened(self, event))
        self._check()

    def _post(self, message: Message) -> None:
        # Nobody reads it once the app has ended, which can be at any moment.
        with suppress(NoActiveAppError):
            self._receive(message)

    def _check(self) -> None:
        if self.is_cancelled and self._stop is None:
            raise Unwanted

    def _run(self) -> None:
        problem, details = None, ""
        try:
            with self._cancellation.in_force():
                self._do()
        except (Cancelled, Unwanted):
            # Stopped in the middle of a batch, or while it waited for the store.
            pass
        except Exception as error:
            # An exception in a thread would go unnoticed, so even a fault of the program becomes a message.
            problem, details = sentence_of(error)
        self._post(Ended(self, problem, details))

    def _do(self) -> None:
        from store.database import open_database

        db = open_database(self._database, make=False, on_wait=waiting_callback(self._post, self._check))
        try:
            with closing(cast("Generator[object]", self._work(db))) as events:
                for event in events:
                    self._post(Happened(self, event))
                    if self.is_cancelled and self._stop is None:
                        break
        finally:
            db.close()
