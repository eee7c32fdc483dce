"""The form that draws a sample, and the request that it makes."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kdtui.errors import KdtuiError
from kdtui.text import counted, one_line
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, Form, seed_number
from models.embedded import NAME
from store.records import FORMATS, Format

if TYPE_CHECKING:
    from kdtui.distill.sampling import SampleStrategy
    from store.sqlite import Database

_STRATEGIES = {
    "random": "at random",
    "length": "short and long sessions in proportion",
    "longest": "the longest sessions first",
    "diversity": "always the session least like those before",
    "difficulty": "first the sessions that the student answers worst",
}


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """A sample that the user wants to draw.

    Attributes:
        ratio: share of the pieces of each format, above 0 and at most 1.
        student: the student whose answers show difficulty.
        add_to: a sample whose pieces the new one includes; None for none.
        replace: whether to replace a sample of this name.
    """

    name: str
    datasets: tuple[str, ...]
    formats: tuple[Format, ...]
    strategy: str
    ratio: float
    seed: int
    student: str
    add_to: str | None
    replace: bool

    def draw(self, db: "Database") -> Iterator[int]:
        """Draw the sample, and yield its number of pieces; for worker threads."""
        from kdtui.workflows.knowledge.sample import create_sample
        from kdtui.workflows.student.settings import settings_for

        yield create_sample(
            db,
            self.name,
            list(self.datasets),
            list(self.formats),
            strategy=cast("SampleStrategy", self.strategy),
            ratio=self.ratio,
            seed=self.seed,
            student=settings_for(self.student).student,
            add_to=self.add_to,
            replace=self.replace,
        )


class DrawForm(Form[DrawRequest]):
    """Asks how to draw a sample, with all options of `kdtui sample create`.

    Args:
        kept: number of pieces to draw from, by dataset and format.
        initial_datasets: the datasets that the form begins with.
        taken: names of existing samples.
        named_database: the path by which a command names the store, or None for the default.
    """

    title = "Draw a sample"
    verb = "Draw it"

    def __init__(
        self,
        kept: Mapping[str, Mapping[str, int]],
        initial_datasets: Collection[str],
        taken: Iterable[str],
        named_database: Path | None,
    ) -> None:
        self._kept, self._initial_datasets, self._named_database = kept, initial_datasets, named_database
        self._datasets = list(kept)
        self._taken = set(taken)

    @property
    def fields(self) -> Sequence[Field]:
        # Like the command, begin with all formats of the first dataset.
        initial_formats = self._kept[self._datasets[0]]
        return [
            Field("name", "Name"),
            *(
                Field(
                    f"dataset-{number}",
                    f"from {one_line(dataset, 40)}",
                    "switch",
                    "yes" if dataset in self._initial_datasets else "",
                    help=f"it has {_counts_text(self._kept[dataset])}",
                )
                for number, dataset in enumerate(self._datasets)
            ),
            *(Field(format, f"{format}s", "switch", "yes" if format in initial_formats else "") for format in FORMATS),
            Field(
                "strategy",
                "Strategy",
                "choice",
                "random",
                help="which training sessions come first",
                options=[(f"{name}: {meaning}", name) for name, meaning in _STRATEGIES.items()],
            ),
            Field("ratio", "Ratio", value="0.5", help="share of the pieces of each format, above 0 and at most 1"),
            Field("seed", "Seed", value="0", help="the same seed draws the same pieces"),
            Field("student", "Student", value=NAME, help="for difficulty: whose answers on the training split count"),
            Field(
                "add_to",
                "Add to",
                "choice",
                help="a sample whose pieces the new one includes",
                options=[("none", ""), *((name, name) for name in sorted(self._taken))],
            ),
            Field("replace", "Replace", "switch", help="delete an existing sample of this name"),
        ]

    def parse(self, values: Mapping[str, str]) -> DrawRequest:
        """Return the sample that the values describe.

        Raises:
            KdtuiError: a number cannot be read.
        """
        return DrawRequest(
            values["name"].strip(),
            tuple(name for number, name in enumerate(self._datasets) if values[f"dataset-{number}"]),
            tuple(format for format in FORMATS if values[format]),
            values["strategy"],
            _ratio(values["ratio"]),
            seed_number(values["seed"]),
            values["student"].strip(),
            values["add_to"] or None,
            bool(values["replace"]),
        )

    def problem(self, parsed: DrawRequest) -> str | None:
        name = parsed.name
        if not name:
            return "give it a name"
        if name in self._taken and not parsed.replace:
            return f"there is a sample {name!r} already; choose another name, or switch on Replace"
        if name not in self._taken and parsed.replace:
            return f"there is no sample {name!r} to replace"
        if not parsed.datasets:
            return "choose a dataset to draw from"
        if not parsed.formats:
            return "choose a format"
        for dataset in parsed.datasets:
            if missing := [format for format in parsed.formats if format not in self._kept[dataset]]:
                return f"dataset {dataset!r} has no {missing[0]}s; there is nothing to draw from"
        return None

    def command(self, parsed: DrawRequest) -> str:
        by_difficulty = parsed.strategy == "difficulty"
        options: dict[str, str | Sequence[str] | None] = {
            "--dataset": list(parsed.datasets),
            "--format": ",".join(parsed.formats),
            "--strategy": parsed.strategy,
            "--ratio": str(parsed.ratio).removesuffix(".0"),
            "--seed": str(parsed.seed),
            "--student": parsed.student if by_difficulty and parsed.student != NAME else None,
            "--add-to": parsed.add_to,
        }
        words = ("sample", "create", "--replace") if parsed.replace else ("sample", "create")
        return command_line(words, parsed.name or "NAME", options, database=self._named_database)


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = 0.0
    if not 0 < ratio <= 1:
        raise KdtuiError("a ratio is a number above 0 and at most 1")
    return ratio


def _counts_text(formats: Mapping[str, int]) -> str:
    return ", ".join(counted(count, format) for format, count in formats.items())
