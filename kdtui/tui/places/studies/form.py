"""The form that plans a study, and the study that its values describe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdtui.text import one_line
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, Form, whole_number
from kdtui.tui.core.store_worker import ask_store, named_database
from kdtui.tui.widgets.path_input import typed_path
from store.records import SPLITS

if TYPE_CHECKING:
    from kdtui.workflows.studies.spec import Spec
    from store.sqlite import Database

_FILE = ""
"""The option of the field `source` for a file; a request has no preset then."""

_SOURCES = (
    ("rq3: how is knowledge best used?", "rq3"),
    ("rq1: which format of knowledge helps?", "rq1"),
    ("rq2: how much knowledge, drawn how, from which domains?", "rq2"),
    ("all: the questions of all three", "all"),
    ("a TOML file", _FILE),
)

_DEFAULT = "as the study says"

_MOST_SEEDS = 1000


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


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """A study that the user wants to run.

    Attributes:
        preset: None for a TOML file.
        file: the path of the TOML file as typed; None while the user has named none.
        name: None for that of the study and its datasets.
        students: base models; empty for those of the study.
        split: None for that of the study.
        sessions: number of sessions to answer; None for that of the study, likewise the other numbers.
    """

    preset: str | None
    file: str | None
    datasets: tuple[str, ...]
    name: str | None
    students: tuple[str, ...]
    split: str | None
    sessions: int | None
    training_sessions: int | None
    seeds: int | None
    hosts: tuple[str, ...]

    @property
    def source(self) -> str | None:
        """The preset, or the path of the file; None while the user has named none."""
        if self.preset is not None or self.file is None:
            return self.preset
        return str(typed_path(self.file))

    def spec(self, db: "Database") -> "Spec":
        """Return the study of a request with a source; for worker threads.

        Raises:
            KdtuiError: the request does not describe a study.
        """
        from kdtui.workflows.studies.choose_spec import chosen_spec

        assert self.source is not None
        changes: dict[str, Any] = {
            "name": self.name,
            "student": self.students or None,
            "seed": None if self.seeds is None else tuple(range(self.seeds)),
            "sessions": self.sessions,
            "training_sessions": self.training_sessions,
            "split": self.split,
            "hosts": self.hosts or None,
        }
        return chosen_spec(db, self.source, self.datasets, **changes)

    def command(self, named_database: Path | None, *, replace: bool = False) -> str:
        """Return the command that runs the same study.

        Args:
            replace: whether the study replaces another one.
        """
        options: dict[str, str | Sequence[str] | None] = {
            "--dataset": self.datasets,
            "--name": self.name,
            "--student": self.students,
            "--seeds": _text(self.seeds) or None,
            "--sessions": _text(self.sessions) or None,
            "--training-sessions": _text(self.training_sessions) or None,
            "--split": self.split,
            "--host": self.hosts,
        }
        words = ("study", "run", "--replace") if replace else ("study", "run")
        return command_line(words, self.source or "FILE.toml", options, database=named_database)

    def to_memory(self) -> dict[str, str]:
        """Return the values of the fields to remember; a name belongs to one study."""
        return {
            "source": _FILE if self.preset is None else self.preset,
            "file": self.file or "",
            "students": ", ".join(self.students),
            "split": self.split or "",
            "sessions": _text(self.sessions),
            "training_sessions": _text(self.training_sessions),
            "seeds": _text(self.seeds),
            "hosts": ", ".join(self.hosts),
        }


class StudyForm(Form[StudyRequest]):
    """Asks for a new study, with all options of `kdtui study run`.

    Args:
        datasets: the datasets that the form begins with.
        before: remembered values of the fields; the user may have edited them.
    """

    title = "Plan a study"
    verb = "Run it"
    has_description = True

    def __init__(self, options: StudyOptions, datasets: Sequence[str], before: object, database: Path) -> None:
        self._options, self._datasets, self._database = options, datasets, database
        self._before: Mapping[str, str] = (
            {name: text for name, text in before.items() if isinstance(text, str)} if isinstance(before, dict) else {}
        )

    @property
    def fields(self) -> Sequence[Field]:
        def before(name: str, default: str = "") -> str:
            return self._before.get(name, default)

        def text(name: str, label: str, help: str) -> Field:
            return Field(name, label, value=before(name), help=help)

        datasets, hosts = _listed(self._options.datasets), _listed(("local", *self._options.hosts))
        splits = [(_DEFAULT, ""), *((split, split) for split in SPLITS)]
        return [
            Field("source", "Study", "choice", before("source", "rq3"), options=_SOURCES),
            Field("file", "File", "path", before("file"), help="The TOML file of the study."),
            Field(
                "datasets",
                "Datasets",
                value=", ".join(self._datasets),
                help=f"The datasets to answer, separated by commas. There are: {datasets}.",
            ),
            Field("name", "Name", value=before("name"), help="By default that of the study and its datasets."),
            text("students", "Students", f"Base models; by default {_DEFAULT}."),
            Field("split", "Split", "choice", before("split"), options=splits),
            text("sessions", "Sessions", "Answer this number, drawn at random."),
            text("training_sessions", "Training sessions", "Train on this number of each dataset, drawn at random."),
            text("seeds", "Seeds", "Train and sample with this number of seeds."),
            text("hosts", "Hosts", f"Where adapters are trained, separated by commas. There are: {hosts}."),
        ]

    def parse(self, values: Mapping[str, str]) -> StudyRequest:
        """Return the study that the values describe.

        Raises:
            KdtuiError: a number cannot be read.
        """
        return StudyRequest(
            None if values["source"] == _FILE else values["source"],
            values["file"].strip() or None,
            _names(values["datasets"]),
            values["name"].strip() or None,
            _names(values["students"]),
            values["split"] or None,
            whole_number(values["sessions"], "sessions", 1),
            whole_number(values["training_sessions"], "training sessions", 1),
            whole_number(values["seeds"], "seeds", 1, _MOST_SEEDS),
            _names(values["hosts"]),
        )

    def problem(self, parsed: StudyRequest) -> str | None:
        """Return why there is no such study; `describe` checks the file and the plan."""
        if parsed.source is None:
            return "name the file of the study"
        if parsed.preset is not None and not parsed.datasets:
            return "name a dataset; the presets have none"
        if unknown := [each for each in parsed.datasets if each not in self._options.datasets]:
            return f"there is no dataset {unknown[0]!r}; there are: {_listed(self._options.datasets)}"
        hosts = ("local", *self._options.hosts)
        if unknown := [each for each in parsed.hosts if each not in hosts]:
            return f"there is no host {unknown[0]!r}; there are: {_listed(hosts)}"
        return None

    def command(self, parsed: StudyRequest) -> str:
        return parsed.command(self._options.named_database)

    def describe(self, parsed: StudyRequest) -> str:
        """Return the plan, in lines."""

        def look_up(db: "Database") -> str:
            from kdtui.workflows.studies.choose_spec import earlier_study
            from kdtui.workflows.studies.forecast import forecast, plan_in_words
            from kdtui.workflows.studies.plan import make_plan

            spec = parsed.spec(db)
            plan = make_plan(db, spec)
            earlier = earlier_study(db, spec)
            lines = [f"study {spec.name}" + (", replacing the one of this name" if earlier is not None else "")]
            lines += [earlier.in_words] if earlier is not None and earlier.in_words else []
            return "\n".join([*lines, *plan_in_words(plan, forecast(db, plan))])

        return ask_store(self._database, look_up)


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


def _listed(names: Sequence[str]) -> str:
    return one_line(", ".join(names), 200) or "none"
