"""Work that can be begun in any place: the app looks after it, and shows at the top of every place how far it is."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from kdtui.tui.core.activity import Activity

if TYPE_CHECKING:
    from store.sqlite import Database


class Task(Activity):
    """Work of a kind of which there is one at a time.

    Args:
        values: what its form was filled in with.

    Attributes:
        kind: tells it from tasks of other kinds.
        action: the action that opens its form; empty where there is none that shows it as it was filled in.
        changes_data: whether places have to look for datasets and knowledge again when it is over.
        step: how far it is, in words; empty as long as there is nothing to tell.
        problem: why it could not be done; None where it was, or where it is not over.
    """

    kind: ClassVar[str]
    action: ClassVar[str]
    changes_data: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        database: Path,
        work: "Callable[[Database], Iterator[object]]",
        post: Callable[[Message], object],
        values: Mapping[str, str] | None = None,
        *,
        stop: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(name, database, work, post, stop=stop)
        self.values: Mapping[str, str] = values or {}
        self.step = ""
        self.problem: str | None = None
        self.is_over = False

    @property
    def state(self) -> str:
        """What it does and how far it is, in a line."""
        if self.is_cancelled:
            return f"{self.name}: stopping"
        return f"{self.name}: {self.step}" if self.step else self.name

    def note(self, event: object) -> None:
        """Note an event of its workflow."""
        raise NotImplementedError

    def alarm(self, event: object) -> str:  # noqa: ARG002
        """What the user has to be told at once of an event; empty for nothing."""
        return ""

    @property
    def when_left(self) -> str:
        """What becomes of it when the app is left while it is at work; empty where that goes without saying."""
        return ""

    @property
    def outcome(self) -> str:
        """What it has done, once it is over and nothing went wrong."""
        raise NotImplementedError

    @property
    def details(self) -> str:
        """More of that."""
        return ""

    @property
    def when_stopped(self) -> str:
        """What is to be said where it was stopped before it was done."""
        return f"{self.name} was stopped; nothing has changed"

    @property
    def is_done(self) -> bool:
        """Whether it has done all that it was to do. It may have been told to stop too late."""
        raise NotImplementedError
