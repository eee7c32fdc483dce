"""The work of a distillation in a thread: estimate its cost and its losses, and run it."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict, cast

from kdtui.tui.places.distill.request import (
    USUAL_LEVELS,
    Annotations,
    DistillationRequest,
    EndpointTeacher,
    Mining,
    StudentTeacher,
)
from kdtui.workflows.pause_gate import PauseGate

if TYPE_CHECKING:
    from kdtui.workflows.calls.tally import Tally
    from kdtui.workflows.knowledge.findings import Distilled, LostPieces
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class DistillationStep:
    """The progress of a distillation.

    Attributes:
        label: what is counted, such as sessions.
        sessions: number of finished sessions.
        of: number of all sessions.
        share: finished share of the whole distillation, 0..1.
        tally: calls and costs so far; None if no calls cost anything.
        pending: calls without an answer yet.
    """

    label: str
    sessions: int
    of: int
    share: float
    tally: "Tally | None" = None
    pending: int = 0


@dataclass(frozen=True, slots=True)
class FormatResult:
    """The result for one format.

    Attributes:
        aftermath: what happened to existing knowledge, in words; empty if nothing did.
    """

    format: str
    kept: int
    rejected: int
    aftermath: str = ""

    @classmethod
    def of(cls, distilled: "Distilled") -> "FormatResult":
        """Return the result of a workflow."""
        return cls(distilled.format, distilled.kept, distilled.rejected, distilled.aftermath)


@dataclass(frozen=True, slots=True)
class DistillationEstimate:
    """The expected cost and loss of a distillation.

    Attributes:
        tally: expected calls and costs; None if no calls cost anything.
        loss: existing knowledge that is deleted, or can be.
    """

    tally: "Tally | None"
    loss: "LostPieces"

    @property
    def needs_consent(self) -> bool:
        """Whether the user has to agree to a payment or a deletion."""
        return bool(self.loss) or (self.tally is not None and bool(self.tally.paid))


@dataclass(frozen=True, slots=True)
class SessionLost:
    """A session gave no knowledge."""

    reason: str


@dataclass(frozen=True, slots=True)
class TeacherNote:
    """A note for the user on how the teacher is asked."""

    text: str


@dataclass(frozen=True, slots=True)
class EndedEarly:
    """The budget or the teacher stopped the distillation."""

    reason: str


class _MiningOptions(TypedDict):
    """The options of pattern mining."""

    levels: Sequence[int] | None
    min_support: float
    max_size: int


class DistillationWork:
    """The work of a distillation; its methods run in threads.

    Attributes:
        gate: pauses and stops the work.
        step: the latest progress. It is not posted as messages, since there can be thousands a second.
    """

    def __init__(self, request: DistillationRequest) -> None:
        self.gate = PauseGate()
        self.step: DistillationStep | None = None
        self._request = request

    def estimate(self, db: "Database") -> Iterator[DistillationEstimate]:
        """Estimate the cost and the loss."""
        tally = None
        if isinstance(self._request.teacher, EndpointTeacher):
            from kdtui.workflows.knowledge.estimate_distillation import estimate_with_progress

            for event in estimate_with_progress(db, self._request.plan(self._request.teacher)):
                tally = event.tally
                self.step = DistillationStep(
                    "sessions looked up", event.sessions, event.of, event.sessions / event.of, tally
                )
                if self.gate.closed:
                    return
        yield DistillationEstimate(tally, self._loss(db))

    def _loss(self, db: "Database") -> "LostPieces":
        """Return what would be deleted, or can be if that depends on the answers."""
        from kdtui.workflows.knowledge.findings import LostPieces, loss_by, possible_loss

        request = self._request
        if not request.replaces:
            return LostPieces()
        match request.teacher:
            case Mining() as mining:
                from kdtui.workflows.knowledge.mine_patterns import find_patterns

                return loss_by(db, find_patterns(db, request.dataset, **_options(mining)))
            case Annotations():
                from kdtui.workflows.knowledge.distill import compose_findings

                return loss_by(db, compose_findings(db, request.dataset, request.formats, request.limit))
            case StudentTeacher(student):
                from kdtui.workflows.knowledge.distill_with_student import student_as_teacher

                return possible_loss(
                    db, request.dataset, request.formats, student_as_teacher(db, request.dataset, student)
                )
            case EndpointTeacher() as endpoint:
                from kdtui.workflows.knowledge.distillation_plan import model_as_teacher

                # Its thoughts stay.
                if "rule" not in request.formats:
                    return LostPieces()
                return possible_loss(db, request.dataset, ["rule"], model_as_teacher(request.plan(endpoint)))

    def run(self, db: "Database") -> Iterator[object]:
        """Distil. The work ends by itself when the gate is closed."""
        match self._request.teacher:
            case Mining() as mining:
                return self._mine(db, mining)
            case Annotations():
                return self._read_annotations(db)
            case StudentTeacher(student):
                return self._ask_student(db, student)
            case EndpointTeacher() as endpoint:
                return self._ask_model(db, endpoint)

    def _ask_model(self, db: "Database", teacher: EndpointTeacher) -> Iterator[object]:
        from kdtui.workflows.knowledge.distill_with_model import (
            DistillProgress,
            DistillStopped,
            SessionFailed,
            distill_with_model,
        )
        from kdtui.workflows.knowledge.findings import Distilled
        from models.student_protocol import Noted

        plan = self._request.plan(teacher)
        for event in distill_with_model(db, plan, self.gate):
            match event:
                case DistillProgress(format, sessions, of, tally, pending):
                    # The formats are distilled in turn.
                    share = (plan.formats.index(format) + sessions / of) / len(plan.formats)
                    self.step = DistillationStep(f"sessions for {format}s", sessions, of, share, tally, pending)
                case SessionFailed(format, session, reason):
                    yield SessionLost(f"session {session}: no {format}s; {reason}")
                case DistillStopped(reason, tally):
                    if self.step is not None:
                        self.step = replace(self.step, tally=tally, pending=0)
                    yield EndedEarly(reason)
                case Noted(_, text):
                    yield TeacherNote(text)
                case Distilled():
                    yield FormatResult.of(event)

    def _ask_student(self, db: "Database", student: str) -> Iterator[object]:
        """Ask a student one step at a time, so that it stops while the gate is held."""
        from kdtui.workflows.knowledge.distill_with_student import Begun, distill_with_student
        from kdtui.workflows.knowledge.findings import Distilled
        from kdtui.workflows.student.generate import SessionAnswered
        from models.student_protocol import Noted

        done = of = 0
        request = self._request
        events = distill_with_student(
            db,
            request.dataset,
            request.formats,
            student,
            request.limit,
            request.seed,
            replace=request.replaces,
        )
        with closing(cast("Generator[object]", events)):
            for event in events:
                match event:
                    case Begun(answered, sessions):
                        done, of = answered, sessions
                    case SessionAnswered(session, prediction):
                        done += 1
                        if prediction.error is not None:
                            yield SessionLost(f"session {session.id}: {prediction.error}")
                    case Noted(_, text):
                        yield TeacherNote(text)
                    case Distilled():
                        yield FormatResult.of(event)
                self.step = DistillationStep("sessions", done, of, done / of)
                self.gate.wait()
                if self.gate.closed:
                    return

    def _read_annotations(self, db: "Database") -> Iterator[object]:
        from kdtui.workflows.knowledge.distill import distill_annotations

        request = self._request
        for format in request.formats:
            if self.gate.closed:
                return
            for each in distill_annotations(
                db, request.dataset, [format], request.limit, request.seed, replace=request.replaces
            ):
                yield FormatResult.of(each)

    def _mine(self, db: "Database", mining: Mining) -> Iterator[object]:
        from kdtui.workflows.knowledge.mine_patterns import mine_patterns

        request = self._request
        yield FormatResult.of(mine_patterns(db, request.dataset, **_options(mining), replace=request.replaces))


def _options(mining: Mining) -> "_MiningOptions":
    # Other levels than the usual ones must exist.
    levels = None if mining.levels == USUAL_LEVELS else mining.levels
    return {"levels": levels, "min_support": mining.min_support, "max_size": mining.max_size}
