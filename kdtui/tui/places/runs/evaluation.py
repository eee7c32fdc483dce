"""An evaluation that is at work: what is evaluated, and how far it has come."""

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from textual.message import Message

from kdtui.tui.core.activity import Activity, Happened
from kdtui.tui.places.runs.form import Wanted
from kdtui.workflows.student.learning import LearningProgress

if TYPE_CHECKING:
    from store.runs import RunSummary
    from store.sqlite import Database


_REDRAW = 0.1
"""Seconds between two messages that sessions have been answered."""


class EvaluationActivity(Activity):
    """A student answers a split in a new run, or goes on with one.

    Args:
        post: as for any activity; it gets no message for a bundle that grows, and few for sessions that are answered.
        before: the run to go on with, as it is wanted; None for a new one.

    Attributes:
        wanted: what is evaluated.
        run: the number of the run; None until its student is ready.
        answered, sessions: how many it has answered, and of how many.
    """

    def __init__(
        self,
        database: Path,
        wanted: Wanted,
        post: Callable[[Message], object],
        *,
        before: "RunSummary | None" = None,
    ) -> None:
        self.wanted = wanted
        self.run = None if before is None else before.run.id
        self.answered = 0 if before is None else before.answered
        self.sessions = 0 if before is None else before.sessions

        self._learning: LearningProgress | None = None

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.runs.evaluate import evaluate_split, resume_run, split_to_score

            settings = wanted.settings
            sessions = split_to_score(db, wanted.dataset, wanted.split, settings.limit, settings.seed)
            if before is not None:
                return resume_run(db, before.run, sessions, self.report)
            return evaluate_split(db, wanted.dataset, wanted.split, settings, sessions, wanted.tags, self.report)

        shown = 0.0

        def post_steps(message: Message) -> None:
            from kdtui.workflows.student.generate import BundleGrew, SessionAnswered

            nonlocal shown
            if isinstance(message, Happened):
                self._note(message.event)
                # A student writes, and one without a language model answers, more often than anyone can see.
                if isinstance(message.event, BundleGrew):
                    return
                if isinstance(message.event, SessionAnswered):
                    if monotonic() - shown < _REDRAW:
                        return
                    shown = monotonic()
            post(message)

        super().__init__("evaluate" if before is None else "resume", database, work, post_steps)

    @property
    def state(self) -> str:
        """What it is doing, in a word or two."""
        if self.is_cancelled:
            return "stopping"
        if self._learning is not None:
            return self._learning.in_short
        return "loading…" if self.run is None else "at work"

    @property
    def outcome(self) -> str:
        """How it ended, where nothing went wrong."""
        name = "the evaluation" if self.run is None else f"run {self.run}"
        if not self.is_cancelled:
            return f"{name} is finished"
        kept = "; what was answered is kept" if self.answered < self.sessions else ""
        return f"{name} has been stopped{kept}"

    def _note(self, event: object) -> None:
        """Note how far it has come, in the thread that it is at work in."""
        from kdtui.workflows.runs.evaluate import RunBegun
        from kdtui.workflows.student.generate import SessionAnswered

        self._learning = event if isinstance(event, LearningProgress) and event.done < event.total else None
        if isinstance(event, RunBegun):
            self.run, self.answered, self.sessions = event.run.id, event.answered, event.sessions
        elif isinstance(event, SessionAnswered):
            self.answered += 1
