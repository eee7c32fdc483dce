"""The form that draws a sample, and what it stands for."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kdtui.text import counted, one_line
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, ValuesDialog
from models.embedded import NAME
from store.records import FORMATS, Format

if TYPE_CHECKING:
    from kdtui.distill.sampling import SampleStrategy
    from store.sqlite import Database

_STRATEGIES = {
    "random": "by chance",
    "length": "short and long sessions in proportion",
    "longest": "the longest sessions first",
    "diversity": "each next session the least like those before",
    "difficulty": "those first that the student answers worst",
}


class SampleForm:
    """Asks how a sample is to be drawn: all that `kdtui sample create` takes.

    Args:
        kept: what there is to draw from: for each dataset the number of pieces of each format.
        begins_with: the datasets that the form begins with.
        taken: names that samples have.
        database: how a command names the store.
    """

    def __init__(
        self,
        kept: Mapping[str, Mapping[str, int]],
        begins_with: Collection[str],
        taken: Iterable[str],
        database: Path | None,
    ) -> None:
        self._kept, self._begins_with, self._database = kept, begins_with, database
        self._datasets = list(kept)
        self._taken = set(taken)

    def dialog(self) -> ValuesDialog:
        """The form."""
        return ValuesDialog("Draw a sample", self._fields(), verb="Draw it", check=self._problem, command=self._command)

    @staticmethod
    def name_of(values: Mapping[str, str]) -> str:
        """The name of the sample."""
        return values["name"].strip()

    def drawing(self, values: Mapping[str, str]) -> "Callable[[Database], Iterator[int]]":
        """What draws it, given the store, and yields the number of its pieces."""
        datasets, formats = self._chosen(values), _formats(values)

        def draw(db: "Database") -> Iterator[int]:
            from kdtui.workflows.knowledge.sample import create_sample
            from kdtui.workflows.student.settings import settings_for

            yield create_sample(
                db,
                self.name_of(values),
                datasets,
                formats,
                strategy=cast("SampleStrategy", values["strategy"]),
                ratio=float(values["ratio"]),
                seed=int(values["seed"]),
                student=settings_for(values["student"].strip()).student,
                add_to=values["add_to"] or None,
                replace=bool(values["replace"]),
            )

        return draw

    def _fields(self) -> list[Field]:
        # As the command has it: all that there is of the dataset that is chosen at first.
        usual = self._kept[self._datasets[0]]
        return [
            Field("name", "Name"),
            *(
                Field(
                    f"dataset-{number}",
                    f"from {one_line(dataset, 40)}",
                    "switch",
                    "yes" if dataset in self._begins_with else "",
                    help=f"it has {_in_words(self._kept[dataset])}",
                )
                for number, dataset in enumerate(self._datasets)
            ),
            *(Field(format, f"{format}s", "switch", "yes" if format in usual else "") for format in FORMATS),
            Field(
                "strategy",
                "Strategy",
                "choice",
                "random",
                help="which training sessions come first",
                options=[(f"{name}: {meaning}", name) for name, meaning in _STRATEGIES.items()],
            ),
            Field("ratio", "Ratio", value="0.5", help="share of the pieces of each format, above 0 and at most 1"),
            Field("seed", "Seed", value="0", help="the same seed draws the same"),
            Field("student", "Student", value=NAME, help="for difficulty: whose answers on the train split count"),
            Field(
                "add_to",
                "Add to",
                "choice",
                help="a sample that the new one holds too",
                options=[("none", ""), *((name, name) for name in sorted(self._taken))],
            ),
            Field("replace", "Replace", "switch", help="a sample of this name, which is lost"),
        ]

    def _chosen(self, values: Mapping[str, str]) -> list[str]:
        return [name for number, name in enumerate(self._datasets) if values[f"dataset-{number}"]]

    def _problem(self, values: Mapping[str, str]) -> str | None:
        """Why these values will not do."""
        name = self.name_of(values)
        if not name:
            return "give it a name"
        if name in self._taken and not values["replace"]:
            return f"there is a sample {name!r} already; choose another name, or have it replaced"
        if name not in self._taken and values["replace"]:
            return f"there is no sample {name!r} to be replaced"
        datasets, formats = self._chosen(values), _formats(values)
        if not datasets:
            return "choose a dataset to draw from"
        if not formats:
            return "choose a format"
        for dataset in datasets:
            if missing := [format for format in formats if format not in self._kept[dataset]]:
                return f"dataset {dataset!r} has no {missing[0]}s; there is nothing to draw from"
        ratio = _number(values["ratio"])
        if ratio is None or not 0 < ratio <= 1:
            return "a ratio is a number above 0 and at most 1"
        if not _is_seed(values["seed"]):
            return "a seed is a whole number of at most 18 digits"
        return None

    def _command(self, values: Mapping[str, str]) -> str:
        """The command that draws the same."""
        difficult = values["strategy"] == "difficulty"
        student = values["student"].strip()
        options: dict[str, str | Sequence[str] | None] = {
            "--dataset": self._chosen(values),
            "--format": ",".join(_formats(values)),
            "--strategy": values["strategy"],
            "--ratio": values["ratio"].strip(),
            "--seed": values["seed"].strip(),
            "--student": student if difficult and student != NAME else None,
            "--add-to": values["add_to"] or None,
        }
        words = ("sample", "create", "--replace") if values["replace"] else ("sample", "create")
        return command_line(words, self.name_of(values) or "NAME", options, database=self._database)


def _formats(values: Mapping[str, str]) -> list[Format]:
    return [format for format in FORMATS if values[format]]


def _is_seed(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,18}", text.strip()) is not None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _in_words(formats: Mapping[str, int]) -> str:
    return ", ".join(counted(count, format) for format, count in formats.items())
