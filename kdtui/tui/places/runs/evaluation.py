"""A running evaluation and its progress."""

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from textual.message import Message

from kdtui.tui.core.activity import Activity, Happened
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.runs.form import EvaluationRequest
from kdtui.workflows.student.command_options import resume_arguments
from kdtui.workflows.student.learning import LearningProgress

if TYPE_CHECKING:
    from store.runs import RunSummary
    from store.sqlite import Database


_REDRAW = 0.1
"""Seconds between two messages about answered sessions."""


class EvaluationActivity(Activity):
    """A student answers a split in a new run, or resumes a run.

    Args:
        post: as for any activity; it gets no message for a growing bundle, and few for answered sessions.
        before: the run to resume; None for a new one.

    Attributes:
        request: what is evaluated.
        run: the number of the run; None until its student is ready.
        answered: number of answered sessions.
        sessions: number of sessions of the run.
    """

    def __init__(
        self,
        database: Path,
        request: EvaluationRequest,
        post: Callable[[Message], object],
        *,
        before: "RunSummary | None" = None,
    ) -> None:
        self.request = request
        self.run = None if before is None else before.run.id
        self.answered = 0 if before is None else before.answered
        self.sessions = 0 if before is None else before.sessions

        self._learning: LearningProgress | None = None

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.runs.evaluate import evaluate_split, resume_run, split_to_score

            settings = request.settings
            sessions = split_to_score(db, request.dataset, request.split, settings.limit, settings.seed)
            if before is not None:
                return resume_run(db, before.run, sessions, self.report)
            return evaluate_split(db, request.dataset, request.split, settings, sessions, request.tags, self.report)

        shown = 0.0

        def post_steps(message: Message) -> None:
            from kdtui.workflows.student.generate import BundleGrew, SessionAnswered

            nonlocal shown
            if isinstance(message, Happened):
                self._note(message.event)
                # A student can write, and one without a language model answer, faster than anyone reads.
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
        """The current step, in a word or two."""
        if self.is_cancelled:
            return "stopping"
        if self._learning is not None:
            return self._learning.in_short
        return "loading…" if self.run is None else "running"

    @property
    def outcome(self) -> str:
        """How it ended, if nothing went wrong."""
        name = "the evaluation" if self.run is None else f"run {self.run}"
        if not self.is_cancelled:
            return f"{name} is finished"
        kept = "; its answers so far are kept" if self.answered < self.sessions else ""
        return f"{name} has been stopped{kept}"

    @property
    def when_left(self) -> str:
        """What happens to the evaluation when the user quits, with the command that resumes it."""
        database = named_database(self._database)
        if self.run is None:
            start = command_line(self.request.arguments, database=database)
            return f"the evaluation had not begun; this starts it: {start}"
        resume = command_line(resume_arguments(self.run), database=database)
        return f"run {self.run} was stopped; its answers so far are kept; this resumes it: {resume}"

    def _note(self, event: object) -> None:
        """Note the progress; runs in the thread of the evaluation."""
        from kdtui.workflows.runs.evaluate import RunBegun
        from kdtui.workflows.student.generate import SessionAnswered

        self._learning = event if isinstance(event, LearningProgress) and event.done < event.total else None
        if isinstance(event, RunBegun):
            self.run, self.answered, self.sessions = event.run.id, event.answered, event.sessions
        elif isinstance(event, SessionAnswered):
            self.answered += 1
