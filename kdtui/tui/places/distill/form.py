"""The forms for a distillation: first its dataset and teacher, then the options of that teacher."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kdtui.tui.core.forms import Field, Form
from kdtui.tui.places.distill.request import (
    DistillationRequest,
    check_values,
    common_fields,
    replacement_note,
    request_from,
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


class DistillationForm(Form[DistillationRequest]):
    """Asks what to distil, and from whom. The request has all other values from `before`.

    Args:
        datasets: names of all datasets.
        before: the values that it begins with.
        clash: returns why a request cannot run now, or None.
        replaceable: number of pieces from the annotations that can be replaced, by dataset and format.
        named_database: the path by which a command names the store, or None for the default.
    """

    title = "Distil knowledge"
    verb = "Continue"

    def __init__(
        self,
        datasets: Sequence[str],
        before: Mapping[str, str],
        clash: Callable[[DistillationRequest], str | None],
        replaceable: Mapping[tuple[str, str], int],
        named_database: Path | None,
    ) -> None:
        self._datasets, self._before, self._clash = datasets, before, clash
        self._replaceable, self._named_database = replaceable, named_database

    @property
    def fields(self) -> Sequence[Field]:
        return common_fields(self._before, self._datasets)

    def parse(self, values: Mapping[str, str]) -> DistillationRequest:
        """Return the request that the values describe.

        Raises:
            KdtuiError: a value cannot be read.
        """
        check_values(values)
        return request_from(self._before, values)

    def problem(self, parsed: DistillationRequest) -> str | None:
        return self._clash(parsed)

    def command(self, parsed: DistillationRequest) -> str:
        return parsed.command(self._named_database)

    def remark(self, parsed: DistillationRequest) -> str:
        return replacement_note(parsed, self._replaceable)


class TeacherForm(Form[DistillationRequest]):
    """Asks for the options of the teacher of a request.

    Args:
        request: the request from the first form.
        before: the values that it begins with.
    """

    def __init__(self, request: DistillationRequest, before: Mapping[str, str], named_database: Path | None) -> None:
        self._request, self._before, self._named_database = request, before, named_database
        self.title = request.teacher_heading
        self.verb = "See the cost" if request.teacher == "endpoint" else "Begin"

    @property
    def fields(self) -> Sequence[Field]:
        """The options of the teacher; none for teachers without options."""
        return teacher_fields(self._before, self._request)

    def parse(self, values: Mapping[str, str]) -> DistillationRequest:
        """Return the whole request.

        Raises:
            KdtuiError: a value cannot be read.
        """
        check_values(values)
        return request_from(self._request.values, values)

    def command(self, parsed: DistillationRequest) -> str:
        return parsed.command(self._named_database)
