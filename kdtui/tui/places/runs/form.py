"""The form that starts an evaluation, and what it stands for."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace

from kdtui.errors import KdtuiError
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, ValuesDialog, whole_number
from kdtui.tui.student.student_fields import StudentFields
from kdtui.workflows.student.command_options import evaluate_arguments
from kdtui.workflows.student.options import StudentOptions, combined
from store.errors import StoreError
from store.records import SPLITS, RunSettings, Split


@dataclass(frozen=True, slots=True)
class Wanted:
    """An evaluation that is to be made, or gone on with."""

    dataset: str
    split: Split
    settings: RunSettings
    tags: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """The words after `kdtui` that do the same."""
        return evaluate_arguments(self.dataset, self.split, self.settings, self.tags)

    def to_memory(self) -> dict[str, Any]:
        """Plain values to be remembered."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "limit": self.settings.limit,
            "seed": self.settings.seed,
            "tags": " ".join(self.tags),
            "settings": StudentChoice.of(self.settings).to_memory(),
        }


class EvaluationForm:
    """Asks what to evaluate.

    Args:
        there: what each dataset offers; there is at least one.
        dataset: the one that the form begins with.
        before: what was asked for last, as `Wanted.to_memory` gives it; anyone may have edited it.
        database: how a command names the store.
    """

    def __init__(
        self, there: Mapping[str, StudentOptions], dataset: str, before: object, database: Path | None
    ) -> None:
        self._database = database
        self._there, self._dataset = there, dataset
        self._before: Mapping[str, Any] = before if isinstance(before, dict) else {}
        choice = StudentChoice.from_memory(self._before.get("settings")) or StudentChoice()
        self._student = StudentFields(choice, combined(there.values()))

    def dialog(self) -> ValuesDialog:
        """The form."""

        def check(values: Mapping[str, str]) -> str | None:
            try:
                self.wanted(values)
            except (KdtuiError, StoreError) as error:
                return str(error)
            return None

        def command(values: Mapping[str, str]) -> str:
            with suppress(KdtuiError, StoreError):
                return command_line(self.wanted(values).arguments, database=self._database)
            return ""

        def follow(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Mapping[str, str], str] | None:
            follow_up = self._student.follow(before, after)
            return None if follow_up is None else (follow_up.changes, follow_up.note)

        return ValuesDialog(
            "Evaluate a student",
            self._fields(),
            verb="Evaluate",
            check=check,
            command=command,
            follow=follow,
            refuse=self._student.unused,
        )

    def wanted(self, values: Mapping[str, str]) -> Wanted:
        """What the form stands for once it is filled in.

        Raises:
            KdtuiError: it cannot be done.
            StoreError: a tag is none.
        """
        dataset = values["dataset"]
        settings = self._student.parse(values, dataset, self._there[dataset]).settings
        limit = whole_number(values["limit"], "sessions", 1)
        seed = whole_number(values["seed"], "seed", 0)
        if limit is None and seed is not None:
            raise KdtuiError("the seed draws sessions; say how many")
        settings = replace(settings, limit=limit, seed=None if limit is None else seed or 0)
        # Imported here, as all that computes: the form is there before.
        from store.runs import check_tags

        tags = tuple(dict.fromkeys(values["tags"].split()))
        check_tags(tags)
        return Wanted(dataset, cast("Split", values["split"]), settings, tags)

    def _fields(self) -> list[Field]:
        def remembered(name: str, otherwise: str) -> str:
            value = self._before.get(name)
            return otherwise if value is None else str(value)

        return [
            Field("dataset", "Dataset", "choice", self._dataset, options=_alike(self._there)),
            Field("split", "Split", "choice", remembered("split", "test"), options=_alike(SPLITS)),
            Field("limit", "Sessions", value=remembered("limit", ""), help="so many, drawn by chance; usually all"),
            Field("seed", "Seed", value=remembered("seed", ""), help="by which they are drawn; usually 0"),
            Field(
                "tags",
                "Tags",
                value=remembered("tags", ""),
                help="words by which the run is found, with blanks between",
            ),
            *self._student.fields,
        ]


def _alike(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, name) for name in names]
