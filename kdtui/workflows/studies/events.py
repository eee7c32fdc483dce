"""What happens while a study runs."""

from dataclasses import dataclass
from typing import TypeAlias

from kdtui.text import counted
from kdtui.workflows.studies.labels import label
from kdtui.workflows.studies.plan import PlannedStep, StudyPlan


@dataclass(frozen=True, slots=True)
class Planned:
    """The study is planned, and begins."""

    plan: StudyPlan


@dataclass(frozen=True, slots=True)
class StepBegun:
    """A step begins, or is resumed.

    Attributes:
        where: the host of a training; None for here.
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
    """So much of a step is done: sessions, or steps of a training."""

    step: PlannedStep
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step is done, and what came of it: the name of a sample or a training, or the number of a run."""

    step: PlannedStep
    made: str


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step has failed; what does not need it goes on.

    Attributes:
        log: how to see its log; None where there is none.
    """

    step: PlannedStep
    reason: str
    log: str | None = None


@dataclass(frozen=True, slots=True)
class StepBlocked:
    """A step cannot be done, for one that it needs has failed."""

    step: PlannedStep
    needs: PlannedStep


@dataclass(frozen=True, slots=True)
class HostLost:
    """A host cannot be reached at the moment; its trainings are looked at again."""

    host: str
    problem: str


StudyEvent: TypeAlias = Planned | StepBegun | StepProgress | StepDone | StepFailed | StepBlocked | HostLost
