"""A distillation as the app knows it: how it is done, and how far it has come."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, cast

from kdtui.text import counted
from kdtui.tui.places.distill.plan import DistillationPlan, planned
from kdtui.workflows.calls.costs import cost_text
from kdtui.workflows.pause_control import PauseControl
from store.records import FORMATS

if TYPE_CHECKING:
    from kdtui.workflows.calls.tally import Tally
    from kdtui.workflows.knowledge.findings import Distilled, Loss
    from store.records import Format
    from store.sqlite import Database

_REASONS = 200
"""Sessions without knowledge whose reasons are kept."""


class _Mining(TypedDict):
    """What patterns are mined with, as the workflow takes it."""

    levels: list[int] | None
    min_support: float
    max_size: int


@dataclass(frozen=True, slots=True)
class DistillationStep:
    """How far it has come.

    Attributes:
        what: of which so many sessions are done.
        share: of all that is to be done, 0..1.
        tally: what has been asked; None where nothing is paid for.
        asking: calls that are under way.
    """

    what: str
    sessions: int
    of: int
    share: float
    tally: "Tally | None" = None
    asking: int = 0


@dataclass(frozen=True, slots=True)
class Came:
    """What came out of one format, and what that did to what was there; empty where that is nothing."""

    format: str
    kept: int
    rejected: int
    aftermath: str = ""

    @classmethod
    def of(cls, distilled: "Distilled") -> "Came":
        """The same of a workflow."""
        return cls(distilled.format, distilled.kept, distilled.rejected, distilled.aftermath)


@dataclass(frozen=True, slots=True)
class Estimated:
    """What is known before it begins.

    Attributes:
        tally: what is to be paid for; None where nobody is paid.
        loss: what goes, or may go, of what is there.
    """

    tally: "Tally | None"
    loss: "Loss"

    @property
    def asks_for_consent(self) -> bool:
        """Whether anything is to be paid for, or deleted."""
        return bool(self.loss) or (self.tally is not None and bool(self.tally.paid))


@dataclass(frozen=True, slots=True)
class Lost:
    """A session gave no knowledge."""

    reason: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that the user should know of how the teacher is asked."""

    text: str


@dataclass(frozen=True, slots=True)
class Broken:
    """It ends before all is done."""

    reason: str


State: TypeAlias = Literal[
    "estimating", "asking", "running", "pausing", "paused", "stopping", "done", "cancelled", "stopped", "failed"
]
"""`asking`: whether it is to be paid for, or something deleted. `stopped`: by the budget, or by the teacher."""

_ACTIVE: tuple[State, ...] = ("estimating", "asking", "running", "pausing", "paused", "stopping")
_AT_WORK: tuple[State, ...] = ("running", "pausing", "stopping")


class Distillation:
    """A plan that is carried out, and how far it has come. What is not said to be of threads belongs to the event loop.

    Attributes:
        gate: holds the work, and ends it.
        step: the latest; written by the thread that is at work, for there may be thousands in a second.
        estimated: what it would cost, and delete, once that is known.
        results: what came out.
        reasons: why sessions gave no knowledge, the first ones; `lost` is how many there are.
        problem: why it is at an end before it is done.
    """

    def __init__(self, plan: DistillationPlan) -> None:
        self.plan = plan
        self.gate = PauseControl()
        self.step: DistillationStep | None = None
        self.estimated: Estimated | None = None
        self.results: list[Came] = []
        self.reasons: list[str] = []
        self.lost = 0
        self.problem = ""
        self._state: State = "estimating" if plan.teacher == "endpoint" or plan.replaces else "running"
        self._seconds, self._since = 0.0, monotonic()

    @property
    def state(self) -> State:
        """What it is doing."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._seconds, self._since = self.seconds, monotonic()
        self._state = state

    @property
    def seconds(self) -> float:
        """For which it has been at work, without its pauses."""
        return self._seconds + (monotonic() - self._since if self._state in _AT_WORK else 0.0)

    @property
    def is_active(self) -> bool:
        """Whether it is not over."""
        return self._state in _ACTIVE

    @property
    def under_way(self) -> int:
        """Calls that are not answered yet."""
        return 0 if self.step is None else self.step.asking

    @property
    def is_free(self) -> bool:
        """Whether nobody is paid, as far as is known: a student that is not here is none."""
        return self.plan.teacher != "endpoint" and self._state != "failed"

    @property
    def why_not_held(self) -> str | None:
        """Why it cannot be held; None where it can."""
        if self._state != "running":
            return "nothing is at work"
        # The others have no steps between which they could wait.
        is_in_steps = self.plan.teacher in ("endpoint", "student")
        return None if is_in_steps else "this takes a moment only, and cannot be held"

    @property
    def can_go_on(self) -> bool:
        """Whether it is held, or has to be begun again."""
        return self._state in ("pausing", "paused") or not self.is_active

    @property
    def why_not_cancelled(self) -> str | None:
        """Why it cannot be broken off; None where it can."""
        return "mining is a single step, which takes a moment" if self.plan.teacher == "patterns" else None

    @property
    def expected(self) -> "Tally | None":
        """What it is expected to cost, where somebody is paid and that is known."""
        return None if self.estimated is None else self.estimated.tally

    @property
    def verb(self) -> str:
        """What the user agrees to."""
        return "Ask" if self.expected is not None and self.expected.paid else "Replace"

    @property
    def consequence(self) -> str:
        """What it costs, and what goes, in sentences."""
        assert self.estimated is not None
        price = self._price(self.estimated.tally) if self.estimated.tally is not None else ""
        loss = self.estimated.loss.sentence
        return " ".join(part for part in (loss[:1].upper() + loss[1:], price) if part)

    def _price(self, tally: "Tally") -> str:
        """What it is expected to cost, and what limits that."""
        plan = self.plan
        said = [
            f"{counted(tally.paid, 'call is', 'calls are')} to be paid, and {counted(tally.hits, 'was', 'were')} "
            f"answered before. That takes about {counted(tally.prompt_tokens, 'token')} of prompts and "
            f"{tally.completion_tokens:,} of answers",
            "(no prices were given, so the cost is not known)."
            if tally.cost is None
            else f"and costs about {cost_text(tally.cost)}, at most about {cost_text(tally.most_cost)}.",
        ]
        if plan.budget:
            said.append(f"It ends before it passes {plan.budget}.")
        if not plan.has_key:
            said.append(f"The variable {plan.values['key']} is not set: the server is asked without a key.")
        return " ".join(said)

    @property
    def outcome(self) -> tuple[str, str, bool]:
        """How it ended, why sessions gave no knowledge where that matters, and whether all went well."""
        title, reasons = self.plan.title, "\n".join(self.reasons)
        if self._state in ("failed", "stopped"):
            return f"{title}: {self.problem}", reasons, False
        if self._state == "done" and self.lost:
            return f"{title}: {counted(self.lost, 'session')} gave no knowledge", reasons, False
        came = ", ".join(f"{counted(each.kept, each.format)} kept" for each in self.results)
        came += "".join(f"; {each.format}s: {each.aftermath}" for each in self.results if each.aftermath)
        return f"{title}: {self._state}{came and '; '}{came}", "", True

    def add(self, event: object) -> None:
        """Note what has happened."""
        match event:
            case Came():
                self.results.append(event)
            case Lost(reason):
                self.lost += 1
                if self.lost <= _REASONS:
                    self.reasons.append(reason)
            case Broken(reason):
                self.problem = reason

    def settle(self, problem: str | None) -> None:
        """Note that it is over, and why it could not be done, if so."""
        if problem is not None:
            self.problem, self.state = problem, "failed"
        elif self.gate.closed and self._state == "stopping":
            self.state = "cancelled"
        else:
            self.state = "stopped" if self.problem else "done"

    # In threads

    def estimate(self, db: "Database") -> Iterator[Estimated]:
        """What it would cost, and what would go."""
        tally = None
        if self.plan.teacher == "endpoint":
            from kdtui.workflows.knowledge.rehearse import rehearsal

            for event in rehearsal(db, self.plan.to_job()):
                tally = event.tally
                self.step = DistillationStep(
                    "sessions looked up", event.sessions, event.of, event.sessions / event.of, tally
                )
                if self.gate.closed:
                    return
        yield Estimated(tally, self._loss(db))

    def _loss(self, db: "Database") -> "Loss":
        """What would go, or may go where it is not known yet what will be found."""
        from kdtui.workflows.knowledge.findings import Loss, loss_by, possible_loss

        if not self.plan.replaces:
            return Loss()
        dataset = self.plan.dataset
        match self.plan.teacher:
            case "patterns":
                from kdtui.workflows.knowledge.mine_patterns import find_patterns

                return loss_by(db, find_patterns(db, dataset, **self._mining))
            case "annotations":
                from kdtui.workflows.knowledge.distill import compose_findings

                return loss_by(db, compose_findings(db, dataset, self._formats, self.plan.limit))
            case "student":
                from kdtui.workflows.knowledge.distill_with_student import student_as_teacher

                teacher = student_as_teacher(db, dataset, self.plan.values["student"])
                return possible_loss(db, dataset, self._formats, teacher)
        from kdtui.workflows.knowledge.distillation_request import model_as_teacher

        rules: list[Format] = [format for format in self._formats if format == "rule"]
        return possible_loss(db, dataset, rules, model_as_teacher(self.plan.to_job())) if rules else Loss()

    def work(self, db: "Database") -> Iterator[object]:
        """Do it. Once the gate is closed, it ends by itself."""
        work = {
            "endpoint": self._ask_model,
            "student": self._ask_student,
            "annotations": self._read_annotations,
            "patterns": self._mine,
        }
        return work[self.plan.teacher](db)

    def _ask_model(self, db: "Database") -> Iterator[object]:
        from kdtui.workflows.knowledge.distill_with_model import (
            DistillProgress,
            DistillStopped,
            SessionFailed,
            distil_with_model,
        )
        from kdtui.workflows.knowledge.findings import Distilled
        from models.student_protocol import Noted

        job = self.plan.to_job()
        for event in distil_with_model(db, job, self.gate):
            match event:
                case DistillProgress(format, sessions, of, tally, asking):
                    # The formats are done one after the other.
                    share = (job.formats.index(format) + sessions / of) / len(job.formats)
                    self.step = DistillationStep(f"sessions for {format}s", sessions, of, share, tally, asking)
                case SessionFailed(format, session, reason):
                    yield Lost(f"session {session}: no {format}s; {reason}")
                case DistillStopped(reason, tally):
                    if self.step is not None:
                        self.step = replace(self.step, tally=tally, asking=0)
                    yield Broken(reason)
                case Noted(_, text):
                    yield Remark(text)
                case Distilled():
                    yield Came.of(event)

    def _ask_student(self, db: "Database") -> Iterator[object]:
        """Have a student answer. It stands still while the gate is held: it is asked for one step at a time."""
        from kdtui.workflows.knowledge.distill_with_student import Begun, distil_with_student
        from kdtui.workflows.knowledge.findings import Distilled
        from kdtui.workflows.student.generate import SessionAnswered
        from models.student_protocol import Noted

        done = of = 0
        plan = self.plan
        events = distil_with_student(
            db, plan.dataset, self._formats, plan.values["student"], plan.limit, plan.seed, replace=plan.replaces
        )
        with closing(cast("Generator[object]", events)):
            for event in events:
                match event:
                    case Begun(answered, sessions):
                        done, of = answered, sessions
                    case SessionAnswered(session, prediction):
                        done += 1
                        if prediction.error is not None:
                            yield Lost(f"session {session.id}: {prediction.error}")
                    case Noted(_, text):
                        yield Remark(text)
                    case Distilled():
                        yield Came.of(event)
                self.step = DistillationStep("sessions", done, of, done / of)
                self.gate.wait()
                if self.gate.closed:
                    return

    def _read_annotations(self, db: "Database") -> Iterator[object]:
        from kdtui.workflows.knowledge.distill import distil_annotations

        for format in self._formats:
            if self.gate.closed:
                return
            for each in distil_annotations(
                db, self.plan.dataset, [format], self.plan.limit, self.plan.seed, replace=self.plan.replaces
            ):
                yield Came.of(each)

    def _mine(self, db: "Database") -> Iterator[object]:
        from kdtui.workflows.knowledge.mine_patterns import mine_patterns

        yield Came.of(mine_patterns(db, self.plan.dataset, **self._mining, replace=self.plan.replaces))

    @property
    def _mining(self) -> "_Mining":
        """What patterns are mined with."""
        values = self.plan.values
        usual = planned({}).values
        # The usual levels are mined as far as the products have them; others must be there.
        levels = None if values["levels"] == usual["levels"] else [int(each) for each in values["levels"].split(",")]
        return {
            "levels": levels,
            "min_support": float(values["min_support"]),
            "max_size": int(values["max_size"]),
        }

    @property
    def _formats(self) -> "list[Format]":
        return [format for format in FORMATS if format in self.plan.formats]
