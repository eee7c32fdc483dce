"""The forms for a distillation: first its dataset and teacher, then the options of that teacher."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kdtui.text import counted
from kdtui.tui.core.forms import Field, Form
from kdtui.tui.places.distill.fields import common_fields, read_teacher, request_of_fields, teacher_fields
from kdtui.tui.places.distill.request import Annotations, DistillationRequest, EndpointTeacher, Mining, StudentTeacher


def remembered_values(before: object, dataset: str) -> dict[str, str]:
    """Return the values that the forms begin with.

    Args:
        before: remembered values; the user may have edited them.
        dataset: the dataset that the first form begins with.
    """
    values = before.items() if isinstance(before, dict) else ()
    return {name: text for name, text in values if isinstance(text, str)} | {"dataset": dataset}


class DistillationForm(Form[DistillationRequest]):
    """Asks what to distil, and from whom. The options of the teacher are those of `before`.

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
        return request_of_fields(values, self._before)

    def problem(self, parsed: DistillationRequest) -> str | None:
        return self._clash(parsed)

    def command(self, parsed: DistillationRequest) -> str:
        return parsed.command(self._named_database)

    def remark(self, parsed: DistillationRequest) -> str:
        return _replacement_remark(parsed, self._replaceable)


class TeacherForm(Form[DistillationRequest]):
    """Asks for the options of the teacher of a request.

    Args:
        request: the request from the first form.
    """

    def __init__(self, request: DistillationRequest, named_database: Path | None) -> None:
        self._request, self._named_database = request, named_database
        self.title = {
            Mining: "How patterns are mined",
            StudentTeacher: "The student to ask",
            EndpointTeacher: "The model to ask, and its price",
        }.get(type(request.teacher), "")
        self.verb = "See the cost" if request.is_paid else "Begin"

    @property
    def fields(self) -> Sequence[Field]:
        """The options of the teacher; none for teachers without options."""
        return teacher_fields(self._request.teacher)

    def parse(self, values: Mapping[str, str]) -> DistillationRequest:
        """Return the whole request.

        Raises:
            KdtuiError: a value cannot be read.
        """
        return replace(self._request, teacher=read_teacher(values, self._request.teacher))

    def command(self, parsed: DistillationRequest) -> str:
        return parsed.command(self._named_database)


def _replacement_remark(request: DistillationRequest, replaceable: Mapping[tuple[str, str], int]) -> str:
    """Return what happens to earlier knowledge, as far as it is known before the estimate; empty if there is none.

    Args:
        replaceable: number of pieces from the annotations that can be replaced, by dataset and format.
    """
    if not isinstance(request.teacher, Mining | Annotations):
        return ""
    counts = [(replaceable.get((request.dataset, format), 0), format) for format in request.formats]
    pieces = " and ".join(counted(count, format) for count, format in counts if count)
    if not pieces:
        return ""
    fate = "is deleted once you have agreed" if request.replaces else "stays"
    return f"{request.dataset} has {pieces} of this teacher; what is not found again {fate}."
