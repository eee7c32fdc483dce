"""The form that starts an evaluation, and the request that it makes."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace

from kdtui.errors import KdtuiError
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import Field, FormDialog
from kdtui.tui.student.settings_form import chosen, followed, refused, settings_fields, whole_number
from kdtui.workflows.student.command_options import evaluate_arguments
from kdtui.workflows.student.options import StudentOptions, combined
from store.errors import StoreError
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


class EvaluationForm:
    """The form that asks what to evaluate.

    Args:
        options: the student options of each dataset; at least one.
        dataset: the dataset that the form begins with.
        before: the last request, from `EvaluationRequest.to_memory`; the user may have edited it.
        database: the path by which a command names the store, or None for the default.
    """

    def __init__(
        self, options: Mapping[str, StudentOptions], dataset: str, before: object, database: Path | None
    ) -> None:
        self._database = database
        self._options, self._dataset = options, dataset
        self._before: Mapping[str, Any] = before if isinstance(before, dict) else {}
        self._choice = StudentChoice.from_memory(self._before.get("settings")) or StudentChoice()

    def dialog(self) -> FormDialog:
        """Return the form as a dialog."""

        def check(values: Mapping[str, str]) -> str | None:
            try:
                self.request(values)
            except (KdtuiError, StoreError) as error:
                return str(error)
            return None

        def command(values: Mapping[str, str]) -> str:
            with suppress(KdtuiError, StoreError):
                return command_line(self.request(values).arguments, database=self._database)
            return ""

        offered = combined(self._options.values())
        return FormDialog(
            "Evaluate a student",
            self._fields(),
            verb="Evaluate",
            check=check,
            command=command,
            follow=partial(followed, offered),
            refuse=partial(refused, offered),
        )

    def request(self, values: Mapping[str, str]) -> EvaluationRequest:
        """Return the evaluation that the values of the form ask for.

        Raises:
            KdtuiError: it is not possible.
            StoreError: a tag is not valid.
        """
        dataset = values["dataset"]
        settings = chosen(values, self._choice, self._options[dataset], dataset).settings
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

    def _fields(self) -> list[Field]:
        def remembered(name: str, otherwise: str) -> str:
            value = self._before.get(name)
            return otherwise if value is None else str(value)

        return [
            Field("dataset", "Dataset", "choice", self._dataset, options=_same_labels(self._options)),
            Field("split", "Split", "choice", remembered("split", "test"), options=_same_labels(SPLITS)),
            Field(
                "limit", "Sessions", value=remembered("limit", ""), help="draw this number at random; by default all"
            ),
            Field("seed", "Seed", value=remembered("seed", ""), help="seed of the draw; by default 0"),
            Field(
                "tags",
                "Tags",
                value=remembered("tags", ""),
                help="words to find the run by, separated by blanks",
            ),
            *settings_fields(self._choice.settings, combined(self._options.values())),
        ]


def _same_labels(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, name) for name in names]
