"""The form for a new training."""

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from kdtui.errors import KdtuiError
from kdtui.text import counted, one_line
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, ValuesDialog
from kdtui.tui.core.store_worker import ask_store, named_database, still_wanted
from kdtui.tui.places.jobs.training import Doing, Done, start
from kdtui.workflows.model_names import check_base
from models.embedded import NAME
from models.sft.state import ACTIVE
from store.records import FORMATS, TrainingSettings

if TYPE_CHECKING:
    from kdtui.workflows.training.service import TrainingPlan
    from store.sqlite import Database

_EPOCHS, _LEARNING_RATE, _CONTINUED_RATE = "2", "0.0005", "0.0002"


_FORMS = {
    "pairs": "asked about pairs of products",
    "list": "asked for a list of bundles",
    "intents": "asked for the intents of bundles",
}
"""What a student is trained for, in words."""


@dataclass(frozen=True, slots=True)
class OfferedSource:
    """An adapter that a training can begin from, and what such a training takes over."""

    name: str
    form: str
    knowledge: tuple[str, ...]
    target: bool
    base: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What a training can be made of, and where it can run.

    Attributes:
        active: trainings that another one can come after, each with its host ("" for here).
        taken: names that trainings and models have.
        lacking: why there can be no training here.
        sources: adapters to begin from.
    """

    datasets: tuple[str, ...]
    samples: tuple[str, ...]
    bases: tuple[str, ...]
    hosts: tuple[str, ...]
    active: tuple[tuple[str, str], ...]
    taken: frozenset[str]
    lacking: str | None
    named_database: Path | None
    sources: tuple[OfferedSource, ...] = ()

    def source(self, values: Mapping[str, str]) -> OfferedSource | None:
        """The one that is chosen in the form."""
        return next((each for each in self.sources if each.name == values["from"]), None)


@dataclass(frozen=True, slots=True)
class ToEvaluate:
    """The adapter of a training is to be scored when it is done."""

    name: str


def offer(db: "Database", database: Path) -> Offer:
    """Look into the store; for threads."""
    from kdtui.workflows.job_state import known_jobs
    from kdtui.workflows.training.prepare import trainer_is_here
    from kdtui.workflows.training.start_from import sources_here
    from store.datasets import dataset_names
    from store.hosts import list_hosts
    from store.models import named_models
    from store.samples import list_samples

    jobs, models = known_jobs(db), named_models(db)
    lacking = None
    try:
        trainer_is_here()
    except KdtuiError as problem:
        lacking = str(problem)
    return Offer(
        tuple(dataset_names(db)),
        tuple(sample.name for sample in list_samples(db)),
        (NAME, *(model.name for model in models if model.kind == "base")),
        tuple(host.name for host in list_hosts(db)),
        tuple((row.job.name, row.job.host or "") for row in jobs if row.status.state in ACTIVE),
        frozenset([*(row.job.name for row in jobs), *(model.name for model in models), *_folders(database)]),
        lacking,
        named_database(database),
        tuple(
            OfferedSource(each.name, trained.form, trained.knowledge, trained.target, each.base or NAME)
            for each in sources_here(db)
            if (trained := each.trained) is not None
        ),
    )


def _folders(database: Path) -> list[str]:
    """Names of folders that are in the place of trainings, whether there are trainings of these names or not."""
    from kdtui.workflows.training.service import jobs_folder

    folder = jobs_folder(database)
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def form(
    found: Offer,
    datasets: Sequence[str],
    before: Mapping[str, str] | None = None,
    *,
    tell: Callable[[Mapping[str, str]], str] | None = None,
) -> ValuesDialog:
    """The form; with what it begins with, a training can be started at once.

    Args:
        datasets: those that it begins with; none where there is none.
        before: what was in it when a training could not be started.
        tell: see `ValuesDialog`.
    """
    name = free_name("-".join(datasets), found.taken)
    if before is not None and before.get("name", "").strip() in found.taken:
        # It was made, and could not be started.
        before = {**before, "name": free_name(re.sub(r"-\d+$", "", before["name"]), found.taken)}
    here = "this machine" if found.lacking is None else "this machine (lacks packages)"
    fields = (
        Field("name", "Name", value=name, help="What the training and its adapter are called."),
        Field(
            "datasets",
            "Datasets",
            value=", ".join(datasets),
            help=f"Whose training sessions, with commas between. There are: {_some(found.datasets)}.",
        ),
        Field(
            "from",
            "Begin from",
            "choice",
            options=[
                ("the base alone", ""),
                *((f"{each.name} ({_FORMS[each.form]})", each.name) for each in found.sources),
            ],
            help="An adapter that is trained on; with few sessions, one that has learned from others.",
        ),
        Field("form", "Form", "choice", options=[(words, each) for each, words in _FORMS.items()]),
        *(Field(each, f"With {each}s", "switch") for each in FORMATS),
        Field(
            "as",
            "Knowledge is",
            "choice",
            options=[("shown in the prompt", "context"), ("learned to be written (thoughts only)", "target")],
        ),
        Field(
            "sample",
            "Sample",
            "choice",
            options=[("all knowledge, and all sessions", ""), *((each, each) for each in found.samples)],
        ),
        Field("base", "Base", value=NAME, help=f"There are: {_some(found.bases)}; a file, or an id of transformers."),
        Field("epochs", "Epochs", value=_EPOCHS, help="How often each session is seen, its products shuffled."),
        Field("learning_rate", "Learning rate", value=_LEARNING_RATE),
        Field("host", "Where", "choice", options=[(here, ""), *((each, each) for each in found.hosts)]),
        Field(
            "after",
            "Begin",
            "choice",
            options=[("at once", ""), *((f"after {name}", name) for name, _ in found.active)],
        ),
        Field(
            "evaluate",
            "Then evaluate",
            "switch",
            help="Score the adapter on the validation splits when it is done, if kdtui is open then.",
        ),
    )
    return ValuesDialog(
        "Start a training",
        [_again(field, before or {}) for field in fields],
        verb="Start it",
        check=partial(problem_with, found),
        command=partial(command_for, found),
        follow=partial(_followed, found, _ProposedName(found, name)),
        tell=tell,
    )


def free_name(stem: str, taken: Container[str]) -> str:
    """A name that a training can have and none has: of another one, or of a dataset, with a number behind it."""
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", stem).strip("-._") or "training"
    return next(name for number in count(1) if (name := f"{plain}-{number}") not in taken)


class _ProposedName:
    """The name that the form proposes: another one where other datasets are chosen, unless somebody has typed one.

    Args:
        proposed: what the form begins with.
    """

    def __init__(self, found: Offer, proposed: str) -> None:
        self._found, self._proposed = found, proposed

    def follow(self, _: Mapping[str, str], after: Mapping[str, str]) -> tuple[Mapping[str, str], str] | None:
        """See `ValuesDialog`; while a name of a dataset is being typed, the proposal stays."""
        datasets = _datasets(after)
        if after["name"] != self._proposed or not datasets or not set(datasets) <= set(self._found.datasets):
            return None
        name = free_name("-".join(datasets), self._found.taken)
        if name == self._proposed:
            return None
        self._proposed = name
        return {"name": name}, ""


def _followed(
    found: Offer, proposed: _ProposedName, before: Mapping[str, str], after: Mapping[str, str]
) -> tuple[Mapping[str, str], str] | None:
    """What changes with the datasets, and with the adapter to begin from; see `ValuesDialog`."""
    name = proposed.follow(before, after)
    changes, said = dict(name[0]) if name is not None else {}, ""
    if after["from"] != before["from"]:
        source = found.source(after)
        if after["learning_rate"].strip() in (_LEARNING_RATE, _CONTINUED_RATE):
            changes["learning_rate"] = _usual_rate(after)
        if source is not None:
            changes |= {"form": source.form, "base": source.base, "as": "target" if source.target else "context"}
            changes |= {each: "yes" if each in source.knowledge else "" for each in FORMATS}
            said = f"form, knowledge and base are those of {source.name}; its rank and alpha are kept, too"
    return (changes, said) if changes or said else None


def _usual_rate(values: Mapping[str, str]) -> str:
    return _CONTINUED_RATE if values["from"] else _LEARNING_RATE


def _again(field: Field, before: Mapping[str, str]) -> Field:
    """A field with what was in it before, unless that is not offered any more."""
    value = before.get(field.name, field.value)
    is_offered = field.kind != "choice" or value in [each for _, each in field.options]
    return replace(field, value=value) if is_offered else field


def problem_with(found: Offer, values: Mapping[str, str]) -> str | None:
    """Why these values will not do."""
    name = values["name"].strip()
    datasets = _datasets(values)
    unknown = [each for each in datasets if each not in found.datasets]
    if not name:
        return "the training needs a name"
    if name in found.taken:
        return f"there is a training or a model {name!r} already; choose another name"
    if unknown or not datasets:
        return f"there is no dataset {(unknown or [''])[0]!r}; there are: {_some(found.datasets)}"
    if values["as"] == "target" and _knowledge(values) != ("thought",):
        return "what a student can learn to write is a thought: switch on thoughts alone"
    if values["as"] == "target" and values["form"] != "list":
        return "a thought is written before the list of bundles: choose that form"
    if values["form"] == "intents" and (values["as"] == "target" or _knowledge(values) != ("pattern",)):
        return "a student that writes intents alone takes the bundles from patterns: switch on patterns alone"
    if (source := found.source(values)) is not None and values["form"] != source.form:
        return f"{source.name} was trained in another form: choose the one {_FORMS[source.form]}"
    if source is not None and (values["as"] == "target") != source.target:
        return f"{source.name} was trained with its knowledge used in the other way"
    if not values["base"].strip():
        return "a training begins with a base"
    try:
        check_base(values["base"].strip(), found.bases)
    except KdtuiError as problem:
        return str(problem)
    if not values["epochs"].strip().isdecimal() or int(values["epochs"]) < 1:
        return "epochs are a number: 1 or more"
    if _rate(values) is None:
        return "the learning rate is a number above 0, such as 0.0005"
    if values["after"] and dict(found.active).get(values["after"]) != values["host"]:
        return f"training {values['after']} is not on the same host"
    return found.lacking if not values["host"] else None


def command_for(found: Offer, values: Mapping[str, str]) -> str:
    """The command that starts it."""

    def unless(usual: str, value: str) -> str | None:
        return None if value == usual else value

    source = found.source(values)
    form, base, usage = ("pairs", NAME, "context") if source is None else (source.form, source.base, values["as"])
    knowledge: str | None = ",".join(_knowledge(values)) or None
    if source is not None:
        knowledge = None if set(_knowledge(values)) == set(source.knowledge) else knowledge or "none"
    flags = ("--follow", "--evaluate") if values["evaluate"] else ()
    return command_line(
        ("sft", "launch", *flags),
        options={
            "--name": values["name"].strip(),
            "--dataset": _datasets(values),
            "--from": values["from"] or None,
            "--form": unless(form, values["form"]),
            "--knowledge": knowledge,
            "--as": unless(usage, values["as"]),
            "--sample": values["sample"] or None,
            "--base": unless(base, values["base"].strip()),
            "--epochs": unless(_EPOCHS, values["epochs"].strip()),
            "--learning-rate": unless(_usual_rate(values), values["learning_rate"].strip()),
            "--host": values["host"] or None,
            "--after": values["after"] or None,
        },
        database=found.named_database,
    )


def estimated(database: Path, values: Mapping[str, str]) -> str:
    """What the training would take, in lines; for the threads of workers."""

    def question(db: "Database") -> str:
        from kdtui.workflows.training.estimate import estimate, in_words
        from kdtui.workflows.training.start_from import proposed_source, sessions_of, what_changes

        plan = _plan(db, values)
        lines = in_words(estimate(db, plan, between=still_wanted), plan)
        if plan.source is not None and (changes := what_changes(plan.source, plan.settings)) is not None:
            lines.append(changes)
        if plan.source is None and proposed_source(db, plan.settings, None, plan.base) is not None:
            sessions = counted(sessions_of(db, plan.settings), "training session")
            lines.append(f"{sessions} teach little from the base alone: choose an adapter to begin from")
        return "\n".join(lines)

    return ask_store(database, question)


def _plan(db: "Database", values: Mapping[str, str]) -> "TrainingPlan":
    from kdtui.workflows.training.service import TrainingPlan
    from kdtui.workflows.training.start_from import find_source

    source = find_source(db, values["from"]) if values["from"] else None
    settings = TrainingSettings(
        tuple(_datasets(values)),
        cast("Literal['pairs', 'list']", values["form"]),
        _knowledge(values),
        values["as"] == "target",
        values["sample"] or None,
        epochs=int(values["epochs"]),
        began_from=None if source is None else source.name,
    )
    return TrainingPlan(
        values["name"].strip(),
        settings,
        values["base"].strip(),
        learning_rate=_rate(values),
        source=source,
        host=values["host"] or None,
        after=values["after"] or None,
        evaluate=bool(values["evaluate"]),
    )


def prepare_and_start(db: "Database", database: Path, values: Mapping[str, str]) -> Iterator[object]:
    """Do what the form says; for threads."""
    from kdtui.workflows.training.service import jobs_folder, prepare_training

    plan = _plan(db, values)
    name = plan.name
    yield Doing(f"preparing {name}: writing its training set")
    ready = prepare_training(db, plan, jobs_folder(database))
    yield Doing(f"starting {name}: {counted(ready.examples, 'session')} an epoch, {ready.valid:,} to validate on")
    yield from start(db, name)
    if values["evaluate"]:
        yield ToEvaluate(name)


def evaluate(db: "Database", name: str) -> Iterator[object]:
    """Score the adapter of a training when it is done, and tell how far that is; for threads."""
    from kdtui.workflows.job_state import JobRow
    from kdtui.workflows.runs.evaluate import ResultRow, RunBegun
    from kdtui.workflows.student.generate import SessionAnswered
    from kdtui.workflows.training.evaluate import evaluate_when_done

    answered, of, run = 0, 0, 0
    for event in evaluate_when_done(db, name):
        match event:
            case JobRow():
                yield Doing(f"waiting for {name} to be done, to evaluate it: it is {event.status.state}")
            case RunBegun():
                answered, of, run = 0, event.sessions, event.run.id
            case SessionAnswered():
                answered += 1
                yield Doing(f"evaluating {name}: {answered:,} of {counted(of, 'session')} answered")
            case ResultRow():
                yield Done(f"{name} has a pair F1 of {event.scores.pair_f1:.3f} on the validation split: run {run}")


def _datasets(values: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(each.strip() for each in values["datasets"].split(",") if each.strip()))


def _knowledge(values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(each for each in FORMATS if values[each])


def _rate(values: Mapping[str, str]) -> float | None:
    try:
        rate = float(values["learning_rate"])
    except ValueError:
        return None
    return rate if 0 < rate < float("inf") else None


def _some(names: tuple[str, ...]) -> str:
    return one_line(", ".join(names), 200) or "none"
