"""Tasks: work that any place can start. The app manages it, and every place shows its progress at the top."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from kdtui.tui.core.activity import Activity

if TYPE_CHECKING:
    from store.sqlite import Database


class Task(Activity):
    """Work of a kind; one task of a kind runs at a time.

    Args:
        values: the values of its form.

    Attributes:
        kind: the name of the kind.
        action: the action that opens its form again; empty for none.
        changes_data: whether places have to reload datasets and knowledge afterwards.
        step: the progress in words; empty while there is none.
        problem: why it failed; None otherwise.
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
        """What it does and its progress, in a line."""
        if self.is_cancelled:
            return f"{self.name}: stopping"
        return f"{self.name}: {self.step}" if self.step else self.name

    def record(self, event: object) -> None:
        """Record an event of its workflow."""
        raise NotImplementedError

    def alarm(self, event: object) -> str:  # noqa: ARG002
        """Return what the user has to know at once about an event; empty for nothing."""
        return ""

    @property
    def outcome(self) -> str:
        """What it has done, after it succeeded."""
        raise NotImplementedError

    @property
    def details(self) -> str:
        """Details of the outcome."""
        return ""

    @property
    def when_stopped(self) -> str:
        """What to say after it was stopped early."""
        return f"{self.name} was stopped; nothing has changed"

    @property
    def is_done(self) -> bool:
        """Whether it has done all of its work; a request to stop can come too late."""
        raise NotImplementedError
