"""Which student is asked, with what knowledge."""

from dataclasses import dataclass, replace

from kdtui.workflows.model_names import PATTERNS
from kdtui.workflows.students import student_name
from models.embedded import NAME, SHIPPED
from store.records import RunSettings

STUDENTS = (SHIPPED, NAME, PATTERNS)
"""Those that come with the program; the first one is asked at first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A student, whether it is shown the mined patterns, and its context (None: the usual one)."""

    student: str = SHIPPED
    with_patterns: bool = False
    context: int | None = None

    @classmethod
    def of(cls, settings: RunSettings | None) -> "Choice":
        """The choice that these settings make; the usual student for None."""
        if settings is None:
            return cls()
        return cls(settings.student, "pattern" in settings.knowledge, settings.context)

    @property
    def knowledge(self) -> tuple[str, ...]:
        """Formats of knowledge that the student is shown. Two are given what other sessions show in any case."""
        return ("pattern",) if self.with_patterns and self.student not in (PATTERNS, SHIPPED) else ()

    @property
    def name(self) -> str:
        """What to call the student on the screen."""
        return student_name(self.to_settings())

    @property
    def options(self) -> dict[str, str | None]:
        """The options of `kdtui generate` that make this choice; None where the default says the same."""
        return {
            "--student": None if self.student == SHIPPED else self.student,
            "--knowledge": ",".join(self.knowledge) or None,
            "--context": None if self.context is None else str(self.context),
        }

    def with_next_student(self, students: tuple[str, ...]) -> "Choice":
        """The same with the student that follows in the cycle."""
        return replace(self, student=students[(students.index(self.student) + 1) % len(students)])

    def to_settings(self) -> RunSettings:
        """The settings that a workflow takes."""
        return RunSettings(self.student, self.knowledge, context=self.context)
