"""What happens while a study runs."""

from dataclasses import dataclass
from typing import TypeAlias

from kdtui.text import counted
from kdtui.workflows.studies.labels import label
from kdtui.workflows.studies.plan import PlannedStep, StudyPlan


@dataclass(frozen=True, slots=True)
class Planned:
    """The study is planned and begins."""

    plan: StudyPlan


@dataclass(frozen=True, slots=True)
class StepBegun:
    """A step begins or is resumed.

    Attributes:
        where: the host of a training; None for this machine.
    """

    step: PlannedStep
    where: str | None = None

    @property
    def in_words(self) -> str:
        """What begins, and where."""
        again = f", {counted(self.step.unanswered, 'session')} again" if self.step.status == "done" else ""
        return f"{label(self.step.step)}{again}" + (f" on {self.where}" if self.where else "")


@dataclass(frozen=True, slots=True)
class StepProgress:
    """The progress of a step: sessions, or steps of a training."""

    step: PlannedStep
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step is done.

    Attributes:
        made: the name of its sample or training, or the number of its run.
    """

    step: PlannedStep
    made: str


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step has failed. Steps that do not need it continue.

    Attributes:
        log: the command that shows its log; None if there is none.
    """

    step: PlannedStep
    reason: str
    log: str | None = None


@dataclass(frozen=True, slots=True)
class StepBlocked:
    """A step cannot be done, because a step that it needs has failed."""

    step: PlannedStep
    needs: PlannedStep


@dataclass(frozen=True, slots=True)
class StepWaits:
    """A step waits for another process; it continues by itself."""

    step: PlannedStep
    reason: str


@dataclass(frozen=True, slots=True)
class HostLost:
    """A host cannot be reached at the moment. Its trainings are checked again later."""

    host: str
    problem: str


StudyEvent: TypeAlias = Planned | StepBegun | StepProgress | StepDone | StepFailed | StepBlocked | StepWaits | HostLost
