"""A distillation as the app shows it: its request, its state and its results."""

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Literal, TypeAlias

from textual.message import Message

from kdtui.text import counted
from kdtui.tui.core.activity import Activity
from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.distill.distillation_work import (
    DistillationEstimate,
    DistillationStep,
    DistillationWork,
    EndedEarly,
    FormatResult,
    SessionLost,
)
from kdtui.tui.places.distill.request import DistillationRequest, EndpointTeacher, Mining, StudentTeacher
from kdtui.workflows.calls.costs import cost_text
from kdtui.workflows.pause_gate import PauseGate

if TYPE_CHECKING:
    from kdtui.workflows.calls.tally import Tally

_REASONS = 200
"""Most sessions without knowledge whose reasons are kept."""

State: TypeAlias = Literal[
    "estimating", "confirming", "running", "pausing", "paused", "stopping", "done", "stopped", "ended early", "failed"
]
"""`confirming`: waits for consent to a payment or a deletion. `stopped`: by the user. `ended early`: by the budget,
or by the teacher."""

_ACTIVE: tuple[State, ...] = ("estimating", "confirming", "running", "pausing", "paused", "stopping")
_WORKING: tuple[State, ...] = ("running", "pausing", "stopping")


class Distillation:
    """A distillation, whose work runs in a thread. All other members belong to the event loop.

    Attributes:
        estimate: the expected cost and loss, once they are known.
        results: the results by format.
        reasons: why sessions gave no knowledge; only the first ones.
        lost: number of sessions that gave no knowledge.
        problem: why it ended early.
    """

    def __init__(self, request: DistillationRequest) -> None:
        self.request = request
        self.work = DistillationWork(request)
        self.estimate: DistillationEstimate | None = None
        self.results: list[FormatResult] = []
        self.reasons: list[str] = []
        self.lost = 0
        self.problem = ""
        self._state: State = "estimating" if request.is_paid or request.replaces else "running"
        self._seconds, self._since = 0.0, monotonic()

    @property
    def gate(self) -> PauseGate:
        """The gate that pauses and stops the work."""
        return self.work.gate

    @property
    def step(self) -> DistillationStep | None:
        """The latest progress."""
        return self.work.step

    @property
    def state(self) -> State:
        """The current state."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._seconds, self._since = self.seconds, monotonic()
        self._state = state

    @property
    def seconds(self) -> float:
        """The time of work so far, without pauses."""
        return self._seconds + (monotonic() - self._since if self._state in _WORKING else 0.0)

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self._state in _ACTIVE

    @property
    def pending_calls(self) -> int:
        """Calls without an answer yet."""
        return 0 if self.step is None else self.step.pending

    @property
    def is_free(self) -> bool:
        """Whether it costs nothing. This is not claimed of a failed one, whose teacher may not exist."""
        return not self.request.is_paid and self._state != "failed"

    @property
    def has_steps(self) -> bool:
        """Whether it has steps to pause between; other teachers take only a moment."""
        return isinstance(self.request.teacher, EndpointTeacher | StudentTeacher)

    @property
    def why_not_paused(self) -> str | None:
        """Why it cannot be paused; None if it can."""
        if self._state != "running":
            return "nothing is running"
        return None if self.has_steps else "this takes only a moment, and cannot be paused"

    @property
    def can_resume(self) -> bool:
        """Whether it is paused, or can be started again."""
        return self._state in ("pausing", "paused") or not self.is_active

    @property
    def why_not_stopped(self) -> str | None:
        """Why it cannot be stopped; None if it can."""
        return "mining is a single step, which takes a moment" if isinstance(self.request.teacher, Mining) else None

    @property
    def expected(self) -> "Tally | None":
        """The expected calls and costs; None if they are not known, or nothing costs anything."""
        return None if self.estimate is None else self.estimate.tally

    @property
    def verb(self) -> str:
        """What the user agrees to."""
        return "Ask" if self.expected is not None and self.expected.paid else "Replace"

    @property
    def consequence(self) -> str:
        """The cost and the loss, in sentences."""
        assert self.estimate is not None
        price = self._price(self.estimate.tally) if self.estimate.tally is not None else ""
        loss = self.estimate.loss.sentence
        return " ".join(part for part in (loss[:1].upper() + loss[1:], price) if part)

    def _price(self, tally: "Tally") -> str:
        """Return the expected cost and its limits, in sentences."""
        teacher = self.request.teacher
        assert isinstance(teacher, EndpointTeacher)
        sentences = [
            f"{counted(tally.paid, 'call is', 'calls are')} to be paid, and {counted(tally.hits, 'was', 'were')} "
            f"answered before. That takes about {counted(tally.prompt_tokens, 'token')} of prompts and "
            f"{tally.completion_tokens:,} of answers",
            "(no prices were given, so the cost is not known)."
            if tally.cost is None
            else f"and costs about {cost_text(tally.cost)}, at most about {cost_text(tally.most_cost)}.",
        ]
        if teacher.budget:
            sentences.append(f"It stops before it exceeds {teacher.budget}.")
        if not teacher.has_key:
            sentences.append(f"The variable {teacher.key} is not set: the server is asked without a key.")
        return " ".join(sentences)

    @property
    def outcome(self) -> tuple[str, str, bool]:
        """A sentence on how it ended, the reasons of sessions without knowledge, and whether all went well."""
        title, reasons = self.request.title, "\n".join(self.reasons)
        if self._state in ("failed", "ended early"):
            return f"{title}: {self.problem}", reasons, False
        if self._state == "done" and self.lost:
            return f"{title}: {counted(self.lost, 'session')} gave no knowledge", reasons, False
        results = ", ".join(f"{counted(each.kept, each.format)} kept" for each in self.results)
        results += "".join(f"; {each.format}s: {each.aftermath}" for each in self.results if each.aftermath)
        return f"{title}: {self._state}{results and '; '}{results}", "", True

    def add(self, event: object) -> None:
        """Note an event of the work."""
        match event:
            case FormatResult():
                self.results.append(event)
            case SessionLost(reason):
                self.lost += 1
                if self.lost <= _REASONS:
                    self.reasons.append(reason)
            case EndedEarly(reason):
                self.problem = reason

    def end(self, problem: str | None) -> None:
        """Note that the work has ended, and why it failed, if it did."""
        if problem is not None:
            self.problem, self.state = problem, "failed"
        elif self.gate.closed and self._state == "stopping":
            self.state = "stopped"
        else:
            self.state = "ended early" if self.problem else "done"


class DistillationActivity(Activity):
    """Estimates a distillation, or runs it."""

    def __init__(self, distillation: Distillation, database: Path, post: Callable[[Message], object]) -> None:
        work = distillation.work.estimate if distillation.state == "estimating" else distillation.work.run
        super().__init__("distil", database, work, post, stop=distillation.gate.close)
        self._distillation = distillation

    @property
    def when_left(self) -> str:
        """What happens to the distillation when the user quits, with the command that resumes it."""
        distillation = self._distillation
        if distillation.state == "estimating" or not distillation.has_steps:
            return ""
        resume = distillation.request.command(named_database(self._database))
        return f"{distillation.request.title}: stopped; answers so far are kept; this resumes it: {resume}"
