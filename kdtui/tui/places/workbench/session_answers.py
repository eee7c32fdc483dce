"""The part of the session screen that asks students, shows their answers while they write, and shows their prompts."""

from collections.abc import Iterable
from pathlib import Path

from rich.text import Text
from textual.timer import Timer

from kdtui.text import one_line
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.generation import (
    AnswerEnded,
    BundleWritten,
    Explained,
    GenerationRequest,
    GenerationStopped,
    NoteTaken,
    StudentLearns,
    StudentReady,
)
from kdtui.tui.places.workbench.session_list import SessionList
from kdtui.tui.places.workbench.session_view import PANELS, SessionView
from kdtui.tui.student.answer import StudentAnswer
from kdtui.tui.student.bundle_panel import BundlePanel

_REDRAW = 0.05
"""Seconds between two redraws while a student writes."""


class AnsweringSessionView(SessionView):
    """A session whose students can be asked. The arguments are those of `SessionView`."""

    def __init__(
        self,
        database: Path,
        sessions: SessionList,
        index: int,
        *,
        own_choice: StudentChoice | None = None,
        place: str = "workbench",
    ) -> None:
        super().__init__(database, sessions, index, own_choice=own_choice, place=place)
        self._explaining: GenerationRequest | None = None
        self._redraw: Timer | None = None

    def on_unmount(self) -> None:
        """Cancel the requests."""
        self.drop_requests()

    def side_remark(self, side: StudentAnswer) -> str:
        """Return the remark in the heading of an answer."""
        if self._explaining is not None and side is self._side:
            return "looking up the prompt…"
        return super().side_remark(side)

    # Asking

    def action_generate(self) -> None:
        """Ask the student, or both in turn."""
        self._generate(self._sides)

    def _generate(self, sides: Iterable[StudentAnswer]) -> None:
        session = self._session
        if session is None:
            return
        for side in sides:
            if side.request is None:
                side.begin(GenerationRequest(self._sessions.dataset, session, side.choice, self.post_message))
                assert side.request is not None
                self.kdtui.generation.ask(side.request)
                side.state = "loading the student…"
        self._show_all_rows()
        self._show_answers()
        self.refresh_bindings()

    @property
    def _is_generating(self) -> bool:
        return any(side.request is not None for side in self._sides)

    @property
    def _is_stoppable(self) -> bool:
        requests = [self._explaining, *(side.request for side in self._sides)]
        return any(request is not None and not request.cancelled for request in requests)

    def action_cancel(self) -> None:
        """Stop the students."""
        for side in self._sides:
            if side.request is not None:
                side.request.cancel()
                side.state = "cancelling…"
        if self._explaining is not None:
            self._explaining.cancel()
        self._show_answers()
        self.refresh_bindings()

    def drop_requests(self) -> None:
        """Cancel all requests, and ignore what they still post."""
        for request in (self._explaining, *(side.request for side in self._sides)):
            if request is not None:
                request.cancel()
        self._explaining = None
        for side in self._sides:
            side.request = None

    # What the generation thread posts

    def _side_of(self, request: GenerationRequest) -> StudentAnswer | None:
        """Return the side that waits for a request."""
        return next((side for side in self._sides if side.request is request), None)

    def _set_state(self, side: StudentAnswer, state: str) -> None:
        side.state = state
        self._show_side(self._sides.index(side))
        self.refresh_bindings()

    def on_student_ready(self, message: StudentReady) -> None:
        """Show that the student reads the session."""
        side = self._side_of(message.request)
        if side is not None and not message.request.cancelled:
            self._set_state(side, "reading…")

    def on_bundle_written(self, message: BundleWritten) -> None:
        """Show a bundle as far as it is written."""
        side = self._side_of(message.request)
        if side is None or message.request.cancelled:
            return
        if side.write(message.bundle):
            self._show_rows(message.bundle.positions)
        if side.state != "writing…":
            self._set_state(side, "writing…")
        elif self._redraw is None:
            # A fast student writes more often than a user can see.
            self._redraw = self.set_timer(_REDRAW, self._show_written)

    def _show_written(self) -> None:
        self._redraw = None
        for number, side in enumerate(self._sides):
            if side.request is not None:
                self._show_side(number)
                self.query_one(PANELS[number], BundlePanel).show_end()

    def on_note_taken(self, message: NoteTaken) -> None:
        """Show a note about the student."""
        self.say(message.text, error=False)

    def on_student_learns(self, message: StudentLearns) -> None:
        """Show the progress of the student's learning."""
        side = self._side_of(message.request)
        if side is not None:
            self._set_state(side, message.learning.in_short)

    def on_answer_ended(self, message: AnswerEnded) -> None:
        """Show that the answer is complete, or why there is none."""
        side = self._side_of(message.request)
        if side is None:
            return
        problem = message.prediction.error
        side.request = None
        side.is_done = problem is None
        self._set_state(side, f"done in {message.prediction.seconds:.1f} s" if problem is None else "no answer")
        self._show_answers()
        if problem is not None:
            self.say(problem)

    def on_generation_stopped(self, message: GenerationStopped) -> None:
        """Show that the request was stopped, or why it failed."""
        if message.request is self._explaining:
            self._explaining = None
            self._show_answers()
        else:
            side = self._side_of(message.request)
            if side is None:
                return
            side.request = None
            self._set_state(side, "stopped" if message.problem is None else "failed")
        if message.problem is not None:
            self.say(message.problem, details=message.details)
        self.refresh_bindings()

    # The prompt

    def action_why(self) -> None:
        """Look up the prompt of the student."""
        if self._session is None:
            return
        self._explaining = GenerationRequest(
            self._sessions.dataset, self._session, self._side.choice, self.post_message, explains=True
        )
        self.kdtui.generation.ask(self._explaining)
        self._show_answers()
        self.refresh_bindings()

    def on_explained(self, message: Explained) -> None:
        """Show the prompt."""
        request = message.request
        if request is not self._explaining:
            return
        self._explaining = None
        self._show_answers()
        self.refresh_bindings()
        if not self.is_current:
            return
        command = self._command(request.choice, show_prompt=True)
        text = Text.assemble(("$ ", "dim"), f"{one_line(command, 1000)}\n")
        for heading, content in message.explanation.sections:
            text.append(f"\n{heading.upper()}\n", style="bold")
            text.append("\n".join(map(one_line, content.rstrip("\n").split("\n"))) + "\n")
        title = f"The prompt: what {request.choice.name} is given for session {request.session.id}"
        copies = "\n\n".join(content for _, content in message.explanation.sections)
        self.app.push_screen(TextDialog(title, text, copies=copies))
