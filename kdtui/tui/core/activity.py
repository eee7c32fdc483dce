"""Work that goes on in a thread of its own, whatever screen is looked at, and can be stopped between two steps."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, cast

from textual.message import Message

from kdtui.tui.core.store_worker import Unwanted, sentence_of, tell_waiting
from models.errors import Cancelled
from models.llama.cancellation import Cancellation

if TYPE_CHECKING:
    from store.sqlite import Database


class Happened(Message):
    """An activity has come a step further; `event` is what its workflow yielded, or told."""

    def __init__(self, activity: "Activity", event: object) -> None:
        super().__init__()
        self.activity, self.event = activity, event


class Ended(Message):
    """An activity is over.

    Attributes:
        problem: why it could not be done; None where it was, or where it was cancelled.
        details: more of that.
    """

    def __init__(self, activity: "Activity", problem: str | None, details: str = "") -> None:
        super().__init__()
        self.activity, self.problem, self.details = activity, problem, details


class Activity:
    """A workflow that runs in the background.

    Args:
        work: given the store, which is opened and closed for it, the events of the workflow.
        post: takes the messages, and must be safe to call from a thread: `post_message` of a screen.
        stop: tells a workflow to end that would not come to its next step soon; it is then left to end by itself.
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
        self._database, self._work, self._post, self._stop = database, work, post, stop
        self._cancellation = Cancellation()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    @property
    def is_cancelled(self) -> bool:
        """Whether it has been told to stop."""
        return self._cancellation.is_cancelled

    @property
    def is_running(self) -> bool:
        """Whether it is at work."""
        return self._thread.is_alive()

    @property
    def thread(self) -> Thread:
        """The thread that it is at work in."""
        return self._thread

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop after the step that it is in: what is under way is finished, and kept; what a student writes is not."""
        self._cancellation.cancel()
        if self._stop is not None:
            self._stop()

    def report(self, event: object) -> None:
        """Post what the workflow tells beside the events that it yields; for its thread.

        Raises:
            Unwanted: it has been told to stop.
        """
        self._post(Happened(self, event))
        self._check()

    def _check(self) -> None:
        if self.is_cancelled and self._stop is None:
            raise Unwanted

    def _run(self) -> None:
        problem, details = None, ""
        try:
            with self._cancellation.in_force():
                self._do()
        except (Cancelled, Unwanted):
            # In the middle of a batch, or while it waited for the store.
            pass
        except Exception as error:
            # Nobody sees what a thread dies of, so even a fault of the program becomes a message.
            problem, details = sentence_of(error)
        self._post(Ended(self, problem, details))

    def _do(self) -> None:
        from store.database import open_database

        db = open_database(self._database, make=False, on_wait=tell_waiting(self._post, self._check))
        try:
            with closing(cast("Generator[object]", self._work(db))) as events:
                for event in events:
                    self._post(Happened(self, event))
                    if self.is_cancelled and self._stop is None:
                        break
        finally:
            db.close()
