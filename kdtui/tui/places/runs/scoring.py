"""Numbers of runs, computed in the background: scores, floors and prompt sizes."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from textual.message import Message

from kdtui.errors import KdtuiError
from kdtui.tui.core.activity import Activity, Happened
from kdtui.tui.core.store_worker import Unwanted

if TYPE_CHECKING:
    from kdtui.workflows.runs.evaluate import ScoreRow
    from kdtui.workflows.runs.runs import RunRow
    from kdtui.workflows.runs.session_selection import SessionSelection
    from store.runs import Run, RunSummary
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class MissingNumbers:
    """Numbers still to compute: scores of runs, floors over sessions, and prompt sizes."""

    unscored: "list[RunSummary]"
    floorless: "list[SessionSelection]"
    unmeasured: "list[Run]"

    def includes(self, other: "MissingNumbers") -> bool:
        """Return whether this contains all of another."""
        return all(
            each in mine
            for mine, theirs in (
                (self.unscored, other.unscored),
                (self.floorless, other.floorless),
                (self.unmeasured, other.unmeasured),
            )
            for each in theirs
        )


class RunScored(Message):
    """The scores of a run are computed."""

    def __init__(self, row: "RunRow") -> None:
        super().__init__()
        self.row = row


class FloorsFound(Message):
    """The floors over some sessions are computed; an empty list if they cannot be."""

    def __init__(self, selection: "SessionSelection", rows: "list[ScoreRow]") -> None:
        super().__init__()
        self.selection, self.rows = selection, rows


class TokensFound(Message):
    """The prompt size of a run is measured; None if it cannot be."""

    def __init__(self, run: int, tokens: float | None) -> None:
        super().__init__()
        self.run, self.tokens = run, tokens


class NumbersActivity(Activity):
    """Computes missing numbers in this order: scores, floors, sizes. Each is posted as its own message.

    Attributes:
        missing: the numbers that were missing at the start.
    """

    @classmethod
    def replacing(
        cls,
        running: "NumbersActivity | None",
        database: Path,
        missing: MissingNumbers | None,
        post: Callable[[Message], object],
    ) -> "NumbersActivity | None":
        """Cancel the running activity, and return a new one; None if nothing is missing that it does not compute."""
        if missing is None or (running is not None and running.missing.includes(missing)):
            return None
        if running is not None:
            running.cancel()
        return cls(database, missing, post)

    def __init__(self, database: Path, missing: MissingNumbers, post: Callable[[Message], object]) -> None:
        self.missing = missing
        stop = Event()

        def check() -> None:
            if stop.is_set():
                raise Unwanted

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.runs.floors import floors_over
            from kdtui.workflows.runs.runs import prompt_tokens, score_runs

            with suppress(Unwanted):
                for row in score_runs(db, missing.unscored, check=check):
                    yield RunScored(row)
                for selection in missing.floorless:
                    try:
                        yield FloorsFound(selection, floors_over(db, selection, check=check))
                    except KdtuiError:
                        # A split that has become empty has no floors.
                        yield FloorsFound(selection, [])
                for run in missing.unmeasured:
                    check()
                    yield TokensFound(run.id, prompt_tokens(db, run))

        def post_found(message: Message) -> None:
            event = message.event if isinstance(message, Happened) else None
            post(event if isinstance(event, Message) else message)

        super().__init__("numbers", database, work, post_found, stop=stop.set)
