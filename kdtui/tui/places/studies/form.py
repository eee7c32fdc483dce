"""The form that plans a study, and what it stands for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdtui.text import one_line
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, ValuesDialog
from kdtui.tui.core.store_worker import ask_store, named_database
from kdtui.tui.widgets.path_input import typed_path
from store.records import SPLITS

if TYPE_CHECKING:
    from kdtui.workflows.studies.spec import Spec
    from store.sqlite import Database

_FILE = ""
"""What the choice of the source stands for where it is a file."""

_SOURCES = (
    ("rq3: how is knowledge best used?", "rq3"),
    ("rq1: which format of knowledge helps?", "rq1"),
    ("rq2: how much knowledge, drawn how, from which domains?", "rq2"),
    ("all: the questions of all three", "all"),
    ("a TOML file", _FILE),
)

_USUAL = "as the study says"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a study can be made of."""

    datasets: tuple[str, ...]
    hosts: tuple[str, ...]
    named_database: Path | None


def offer(db: "Database", database: Path) -> Offer:
    """Look into the store; for threads."""
    from store.datasets import dataset_names
    from store.hosts import list_hosts

    return Offer(
        tuple(dataset_names(db)),
        tuple(host.name for host in list_hosts(db)),
        named_database(database),
    )


class StudyForm:
    """Asks what a study is to be: all that `kdtui study run` takes.

    Args:
        datasets: those that the form begins with.
        before: what it was filled in with last; anyone may have edited it.
    """

    def __init__(self, there: Offer, datasets: Sequence[str], before: object, database: Path) -> None:
        self._there, self._datasets, self._database = there, datasets, database
        self._before: Mapping[str, str] = (
            {name: text for name, text in before.items() if isinstance(text, str)} if isinstance(before, dict) else {}
        )

    def dialog(self) -> ValuesDialog:
        """The form."""
        return ValuesDialog(
            "Plan a study",
            self._fields(),
            verb="Run it",
            check=self._problem,
            command=self.command,
            tell=self._tell,
        )

    @staticmethod
    def source(values: Mapping[str, str]) -> str:
        """The preset, or the path of the file."""
        return values["source"] or str(typed_path(values["file"]))

    def spec(self, values: Mapping[str, str], db: "Database") -> "Spec":
        """The study that the values stand for; for threads.

        Raises:
            KdtuiError: they stand for none.
        """
        from kdtui.workflows.studies.chosen import chosen_spec

        seeds = _number(values["seeds"])
        changes: dict[str, Any] = {
            "name": values["name"].strip() or None,
            "student": _names(values["students"]) or None,
            "seed": None if seeds is None else tuple(range(seeds)),
            "sessions": _number(values["sessions"]),
            "training_sessions": _number(values["training_sessions"]),
            "split": values["split"] or None,
            "hosts": _names(values["hosts"]) or None,
        }
        return chosen_spec(db, self.source(values), _names(values["datasets"]), **changes)

    def command(self, values: Mapping[str, str], *, replace: bool = False) -> str:
        """The command that runs the same study.

        Args:
            replace: whether it takes the place of another one.
        """
        options: dict[str, str | Sequence[str] | None] = {
            "--dataset": _names(values["datasets"]),
            "--name": values["name"].strip() or None,
            "--student": _names(values["students"]),
            "--seeds": values["seeds"].strip() or None,
            "--sessions": values["sessions"].strip() or None,
            "--training-sessions": values["training_sessions"].strip() or None,
            "--split": values["split"] or None,
            "--host": _names(values["hosts"]),
        }
        source = self.source(values) if values["source"] or values["file"].strip() else "FILE.toml"
        words = ("study", "run", "--replace") if replace else ("study", "run")
        return command_line(words, source, options, database=self._there.named_database)

    def _fields(self) -> list[Field]:
        def before(name: str, otherwise: str = "") -> str:
            return self._before.get(name, otherwise)

        hosts = ", ".join(("local", *self._there.hosts))
        return [
            Field("source", "Study", "choice", before("source", "rq3"), options=_SOURCES),
            Field("file", "File", "path", before("file"), help="Of a study that is a TOML file."),
            Field(
                "datasets",
                "Datasets",
                value=", ".join(self._datasets),
                help=f"Whose sessions are answered, with commas between. There are: {_some(self._there.datasets)}.",
            ),
            Field("name", "Name", value=before("name"), help="Usually that of the study and its datasets."),
            Field("students", "Students", value=before("students"), help=f"Base models; usually {_USUAL}."),
            Field(
                "split",
                "Split",
                "choice",
                before("split"),
                options=[(_USUAL, ""), *((split, split) for split in SPLITS)],
            ),
            Field("sessions", "Sessions", value=before("sessions"), help="So many are answered, drawn by chance."),
            Field(
                "training_sessions",
                "Training sessions",
                value=before("training_sessions"),
                help="So many of each dataset are trained on, drawn by chance.",
            ),
            Field("seeds", "Seeds", value=before("seeds"), help="Train and sample with so many seeds."),
            Field(
                "hosts",
                "Hosts",
                value=before("hosts"),
                help=f"Where adapters are trained, with commas between. There are: {_some(hosts.split(', '))}.",
            ),
        ]

    def _problem(self, values: Mapping[str, str]) -> str | None:
        """Why these values will not do; what takes a look at the file or the plan is told by `tell`."""
        datasets = _names(values["datasets"])
        if not values["source"] and not values["file"].strip():
            return "name the file of the study"
        if values["source"] and not datasets:
            return "name a dataset; the presets have none"
        if unknown := [each for each in datasets if each not in self._there.datasets]:
            return f"there is no dataset {unknown[0]!r}; there are: {_some(self._there.datasets)}"
        known = ("local", *self._there.hosts)
        if unknown := [each for each in _names(values["hosts"]) if each not in known]:
            return f"there is no host {unknown[0]!r}; there are: {_some(known)}"
        for name, what in (("sessions", "sessions"), ("training_sessions", "training sessions"), ("seeds", "seeds")):
            text = values[name].strip()
            if text and (_number(text) or 0) < 1:
                return f"{what} are a whole number: 1 or more"
        if (_number(values["seeds"]) or 0) > _MOST_SEEDS:
            return f"seeds are {_MOST_SEEDS:,} at most"
        return None

    def _tell(self, values: Mapping[str, str]) -> str:
        """The plan, in lines; for the threads of workers."""

        def question(db: "Database") -> str:
            from kdtui.workflows.studies.chosen import earlier_study
            from kdtui.workflows.studies.forecast import forecast, plan_in_words
            from kdtui.workflows.studies.plan import make_plan

            spec = self.spec(values, db)
            plan = make_plan(db, spec)
            earlier = earlier_study(db, spec)
            known = [f"study {spec.name}" + (", in place of the one of this name" if earlier is not None else "")]
            known += [earlier.in_words] if earlier is not None and earlier.in_words else []
            return "\n".join([*known, *plan_in_words(plan, forecast(db, plan))])

        return ask_store(self._database, question)


_MOST_SEEDS = 1000


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) < 19 else None


def _some(names: Sequence[str]) -> str:
    return one_line(", ".join(names), 200) or "none"
