"""The form that starts an evaluation, and the request that it makes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace

from kdtui.errors import KdtuiError
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, FollowUp, Form, whole_number
from kdtui.tui.student.student_fields import StudentFields
from kdtui.workflows.student.command_options import evaluate_arguments
from kdtui.workflows.student.options import StudentOptions, combined
from store.records import SPLITS, RunSettings, Split


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """An evaluation to start or to resume."""

    dataset: str
    split: Split
    settings: RunSettings
    tags: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """The words after `kdtui` of the command that does the same."""
        return evaluate_arguments(self.dataset, self.split, self.settings, self.tags)

    def to_memory(self) -> dict[str, Any]:
        """Return the request as plain values, to be remembered."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "limit": self.settings.limit,
            "seed": self.settings.seed,
            "tags": " ".join(self.tags),
            "settings": StudentChoice.of(self.settings).to_memory(),
        }


class EvaluationForm(Form[EvaluationRequest]):
    """Asks what to evaluate.

    Args:
        options: the student options of each dataset; at least one.
        dataset: the dataset that the form begins with.
        before: the last request, from `EvaluationRequest.to_memory`; the user may have edited it.
        named_database: the path by which a command names the store, or None for the default.
    """

    title = "Evaluate a student"
    verb = "Evaluate"

    def __init__(
        self, options: Mapping[str, StudentOptions], dataset: str, before: object, named_database: Path | None
    ) -> None:
        self._named_database = named_database
        self._options, self._dataset = options, dataset
        self._before: Mapping[str, Any] = before if isinstance(before, dict) else {}
        choice = StudentChoice.from_memory(self._before.get("settings")) or StudentChoice()
        self._student = StudentFields(choice, combined(options.values()))

    @property
    def fields(self) -> Sequence[Field]:
        def remembered(name: str, default: str) -> str:
            value = self._before.get(name)
            return default if value is None else str(value)

        limit, seed, tags = (remembered(name, "") for name in ("limit", "seed", "tags"))
        return [
            Field("dataset", "Dataset", "choice", self._dataset, options=_same_labels(self._options)),
            Field("split", "Split", "choice", remembered("split", "test"), options=_same_labels(SPLITS)),
            Field("limit", "Sessions", value=limit, help="of the split, drawn at random; all by default"),
            Field("seed", "Seed", value=seed, help="of the random draw; 0 by default"),
            Field("tags", "Tags", value=tags, help="words to find the run by, separated by blanks"),
            *self._student.fields,
        ]

    def parse(self, values: Mapping[str, str]) -> EvaluationRequest:
        """Return the evaluation that the values describe.

        Raises:
            KdtuiError: it is not possible.
            StoreError: a tag is not valid.
        """
        dataset = values["dataset"]
        settings = self._student.parse(values, dataset, self._options[dataset]).settings
        limit = whole_number(values["limit"], "sessions", 1)
        seed = whole_number(values["seed"], "seed", 0)
        if limit is None and seed is not None:
            raise KdtuiError("the seed draws sessions; say how many")
        settings = replace(settings, limit=limit, seed=None if limit is None else seed or 0)
        # Imported here, like all modules that compute, so that the form opens quickly.
        from store.runs import check_tags

        tags = tuple(dict.fromkeys(values["tags"].split()))
        check_tags(tags)
        return EvaluationRequest(dataset, cast("Split", values["split"]), settings, tags)

    def command(self, parsed: EvaluationRequest) -> str:
        return command_line(parsed.arguments, database=self._named_database)

    def follow(self, before: Mapping[str, str], after: Mapping[str, str]) -> FollowUp | None:
        return self._student.follow(before, after)

    def unused(self, values: Mapping[str, str]) -> Mapping[str, str]:
        return self._student.unused(values)


def _same_labels(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, name) for name in names]
