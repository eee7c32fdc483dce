"""The forms for a distillation: first its dataset and teacher, then the options of that teacher."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kdtui.tui.core.forms import Field, Form
from kdtui.tui.places.distill.plan import (
    DistillationPlan,
    check_values,
    common_fields,
    plan_from,
    replacement_note,
    teacher_fields,
)


def remembered_values(before: object, dataset: str) -> dict[str, str]:
    """Return the values that the forms begin with.

    Args:
        before: remembered values; the user may have edited them.
        dataset: the dataset that the first form begins with.
    """
    values = before.items() if isinstance(before, dict) else ()
    return {name: text for name, text in values if isinstance(text, str)} | {"dataset": dataset}


class DistillationForm(Form[DistillationPlan]):
    """Asks what to distil, and from whom. The plan has all other values from `before`.

    Args:
        datasets: names of all datasets.
        before: the values that it begins with.
        clash: returns why a plan cannot run now, or None.
        replaceable: number of pieces from the annotations that can be replaced, by dataset and format.
        named_database: the path by which a command names the store, or None for the default.
    """

    title = "Distil knowledge"
    verb = "Continue"

    def __init__(
        self,
        datasets: Sequence[str],
        before: Mapping[str, str],
        clash: Callable[[DistillationPlan], str | None],
        replaceable: Mapping[tuple[str, str], int],
        named_database: Path | None,
    ) -> None:
        self._datasets, self._before, self._clash = datasets, before, clash
        self._replaceable, self._named_database = replaceable, named_database

    @property
    def fields(self) -> Sequence[Field]:
        return common_fields(self._before, self._datasets)

    def parse(self, values: Mapping[str, str]) -> DistillationPlan:
        """Return the plan that the values describe.

        Raises:
            KdtuiError: a value cannot be read.
        """
        check_values(values)
        return plan_from(self._before, values)

    def problem(self, parsed: DistillationPlan) -> str | None:
        return self._clash(parsed)

    def command(self, parsed: DistillationPlan) -> str:
        return parsed.command(self._named_database)

    def note(self, parsed: DistillationPlan) -> str:
        return replacement_note(parsed, self._replaceable)


class TeacherForm(Form[DistillationPlan]):
    """Asks for the options of the teacher of a plan.

    Args:
        plan: the plan from the first form.
        before: the values that it begins with.
    """

    def __init__(self, plan: DistillationPlan, before: Mapping[str, str], named_database: Path | None) -> None:
        self._plan, self._before, self._named_database = plan, before, named_database
        self.title = plan.teacher_heading
        self.verb = "See the cost" if plan.teacher == "endpoint" else "Begin"

    @property
    def fields(self) -> Sequence[Field]:
        """The options of the teacher; none for teachers without options."""
        return teacher_fields(self._before, self._plan)

    def parse(self, values: Mapping[str, str]) -> DistillationPlan:
        """Return the whole plan.

        Raises:
            KdtuiError: a value cannot be read.
        """
        check_values(values)
        return plan_from(self._plan.values, values)

    def command(self, parsed: DistillationPlan) -> str:
        return parsed.command(self._named_database)
