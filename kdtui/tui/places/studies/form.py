"""The form that plans a study, and the study that its values describe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdtui.text import one_line
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.dialogs import Field, FormDialog
from kdtui.tui.core.store_worker import ask_store, named_database
from kdtui.tui.widgets.path_input import typed_path
from store.records import SPLITS

if TYPE_CHECKING:
    from kdtui.workflows.studies.spec import Spec
    from store.sqlite import Database

_FILE = ""
"""The value of the source field for a file."""

_SOURCES = (
    ("rq3: how is knowledge best used?", "rq3"),
    ("rq1: which format of knowledge helps?", "rq1"),
    ("rq2: how much knowledge, drawn how, from which domains?", "rq2"),
    ("all: the questions of all three", "all"),
    ("a TOML file", _FILE),
)

_DEFAULT = "as the study says"


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """The datasets and hosts that a study can use."""

    datasets: tuple[str, ...]
    hosts: tuple[str, ...]
    named_database: Path | None


def study_options(db: "Database", database: Path) -> StudyOptions:
    """Read the options of a study from the store; for worker threads."""
    from store.datasets import dataset_names
    from store.hosts import list_hosts

    return StudyOptions(
        tuple(dataset_names(db)),
        tuple(host.name for host in list_hosts(db)),
        named_database(database),
    )


class StudyForm:
    """The form for a new study, with all options of `kdtui study run`.

    Args:
        datasets: the datasets that the form begins with.
        before: the values of the form when it was last used; the user may have edited them.
    """

    def __init__(self, options: StudyOptions, datasets: Sequence[str], before: object, database: Path) -> None:
        self._options, self._datasets, self._database = options, datasets, database
        self._before: Mapping[str, str] = (
            {name: text for name, text in before.items() if isinstance(text, str)} if isinstance(before, dict) else {}
        )

    def dialog(self) -> FormDialog:
        """Return the form as a dialog."""
        return FormDialog(
            "Plan a study",
            self._fields(),
            verb="Run it",
            check=self._problem,
            command=self.command,
            tell=self._plan_text,
        )

    @staticmethod
    def source(values: Mapping[str, str]) -> str:
        """Return the preset, or the path of the file."""
        return values["source"] or str(typed_path(values["file"]))

    def spec(self, values: Mapping[str, str], db: "Database") -> "Spec":
        """Return the study that the values describe; for worker threads.

        Raises:
            KdtuiError: the values do not describe a study.
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
        """Return the command that runs the same study.

        Args:
            replace: whether the study replaces another one.
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
        return command_line(words, source, options, database=self._options.named_database)

    def _fields(self) -> list[Field]:
        def before(name: str, default: str = "") -> str:
            return self._before.get(name, default)

        hosts = ("local", *self._options.hosts)
        return [
            Field("source", "Study", "choice", before("source", "rq3"), options=_SOURCES),
            Field("file", "File", "path", before("file"), help="The TOML file of the study."),
            Field(
                "datasets",
                "Datasets",
                value=", ".join(self._datasets),
                help=f"The datasets to answer, separated by commas. There are: {_listed(self._options.datasets)}.",
            ),
            Field("name", "Name", value=before("name"), help="By default that of the study and its datasets."),
            Field("students", "Students", value=before("students"), help=f"Base models; by default {_DEFAULT}."),
            Field(
                "split",
                "Split",
                "choice",
                before("split"),
                options=[(_DEFAULT, ""), *((split, split) for split in SPLITS)],
            ),
            Field("sessions", "Sessions", value=before("sessions"), help="Answer this number, drawn at random."),
            Field(
                "training_sessions",
                "Training sessions",
                value=before("training_sessions"),
                help="Train on this number of each dataset, drawn at random.",
            ),
            Field("seeds", "Seeds", value=before("seeds"), help="Train and sample with this number of seeds."),
            Field(
                "hosts",
                "Hosts",
                value=before("hosts"),
                help=f"Where adapters are trained, separated by commas. There are: {_listed(hosts)}.",
            ),
        ]

    def _problem(self, values: Mapping[str, str]) -> str | None:
        """Return why these values are not valid; `_plan_text` checks the file and the plan."""
        datasets = _names(values["datasets"])
        if not values["source"] and not values["file"].strip():
            return "name the file of the study"
        if values["source"] and not datasets:
            return "name a dataset; the presets have none"
        if unknown := [each for each in datasets if each not in self._options.datasets]:
            return f"there is no dataset {unknown[0]!r}; there are: {_listed(self._options.datasets)}"
        hosts = ("local", *self._options.hosts)
        if unknown := [each for each in _names(values["hosts"]) if each not in hosts]:
            return f"there is no host {unknown[0]!r}; there are: {_listed(hosts)}"
        for name, label in (("sessions", "sessions"), ("training_sessions", "training sessions"), ("seeds", "seeds")):
            text = values[name].strip()
            if text and (_number(text) or 0) < 1:
                return f"{label} are a whole number: 1 or more"
        if (_number(values["seeds"]) or 0) > _MOST_SEEDS:
            return f"seeds are {_MOST_SEEDS:,} at most"
        return None

    def _plan_text(self, values: Mapping[str, str]) -> str:
        """Return the plan, in lines; for worker threads."""

        def question(db: "Database") -> str:
            from kdtui.workflows.studies.chosen import earlier_study
            from kdtui.workflows.studies.forecast import forecast, plan_in_words
            from kdtui.workflows.studies.plan import make_plan

            spec = self.spec(values, db)
            plan = make_plan(db, spec)
            earlier = earlier_study(db, spec)
            lines = [f"study {spec.name}" + (", replacing the one of this name" if earlier is not None else "")]
            lines += [earlier.in_words] if earlier is not None and earlier.in_words else []
            return "\n".join([*lines, *plan_in_words(plan, forecast(db, plan))])

        return ask_store(self._database, question)


_MOST_SEEDS = 1000


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) < 19 else None


def _listed(names: Sequence[str]) -> str:
    return one_line(", ".join(names), 200) or "none"
