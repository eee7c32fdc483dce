"""The form that chooses a student, its knowledge and its strategy for a session."""

from collections.abc import Callable, Mapping, Sequence

from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.forms import Field, FollowUp, Form
from kdtui.tui.student.student_fields import StudentFields
from kdtui.workflows.student.options import StudentOptions


class SettingsForm(Form[StudentChoice]):
    """Asks for a student and its settings.

    Args:
        choice: the initial values.
        dataset: the dataset of the session; None where there is none.
        command: returns the command of a choice.
    """

    def __init__(
        self,
        title: str,
        choice: StudentChoice,
        options: StudentOptions,
        dataset: str | None,
        command: Callable[[StudentChoice], str],
        verb: str,
    ) -> None:
        self.title, self.verb = title, verb
        self._student, self._dataset, self._command = StudentFields(choice, options), dataset, command

    @property
    def fields(self) -> Sequence[Field]:
        """The fields of a student."""
        return self._student.fields

    def parse(self, values: Mapping[str, str]) -> StudentChoice:
        """See `StudentFields.parse`."""
        return self._student.parse(values, self._dataset)

    def command(self, parsed: StudentChoice) -> str:
        """Return the command that asks this student."""
        return self._command(parsed)

    def follow(self, before: Mapping[str, str], after: Mapping[str, str]) -> FollowUp | None:
        """See `StudentFields.follow`."""
        return self._student.follow(before, after)

    def unused(self, values: Mapping[str, str]) -> Mapping[str, str]:
        """See `StudentFields.unused`."""
        return self._student.unused(values)
