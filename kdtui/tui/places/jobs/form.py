"""The form for a new training."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kdtui.errors import KdtuiError
from kdtui.text import counted, one_line
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field, FollowUp, Form, whole_number
from kdtui.tui.core.store_worker import ask_store, still_wanted
from kdtui.tui.places.jobs.training_choices import SourceChoice, TrainingChoices, free_training_name
from kdtui.tui.places.jobs.training_request import TrainingRequest, rate_text
from kdtui.workflows.model_names import check_base_name
from models.embedded import NAME
from models.sft.job import CONTINUED_LEARNING_RATE, EPOCHS, LEARNING_RATE
from store.records import FORMATS

if TYPE_CHECKING:
    from store.sqlite import Database

_FORMS = {
    "pairs": "asked about pairs of products",
    "list": "asked for a list of bundles",
    "intents": "asked for the intents of bundles",
}
"""What a student is trained to answer."""


class TrainingForm(Form[TrainingRequest]):
    """Asks for a new training. With the initial values, a training can start at once.

    Args:
        datasets: the datasets that the form begins with; empty if there are none.
        before: a training that could not be started, to try again.
    """

    title = "Start a training"
    verb = "Start it"
    has_description = True

    def __init__(
        self,
        choices: TrainingChoices,
        datasets: Sequence[str],
        database: Path,
        before: TrainingRequest | None = None,
    ) -> None:
        self._choices, self._datasets, self._database = choices, datasets, database
        self._proposed_name = free_training_name("-".join(datasets), choices.taken)
        if before is not None and before.name in choices.taken:
            # The training was created, but could not be started.
            before = replace(before, name=free_training_name(re.sub(r"-\d+$", "", before.name), choices.taken))
        self._before = before

    @property
    def fields(self) -> Sequence[Field]:
        before = {} if self._before is None else self._before.values()
        return [_with_value(field, before) for field in self._initial_fields()]

    def _initial_fields(self) -> list[Field]:
        choices = self._choices
        here = "this machine" if choices.lacking is None else "this machine (lacks packages)"
        sources = [(f"{each.name} ({_FORMS[each.form]})", each.name) for each in choices.sources]
        return [
            Field("name", "Name", value=self._proposed_name, help="Name of the training and its adapter."),
            Field(
                "datasets",
                "Datasets",
                value=", ".join(self._datasets),
                help=f"The datasets to train on, separated by commas. There are: {_listed(choices.datasets)}.",
            ),
            Field(
                "from",
                "Begin from",
                "choice",
                options=[("only the base", ""), *sources],
                help="An adapter to continue; with few sessions, choose one that has learned from others.",
            ),
            Field("form", "Form", "choice", options=[(label, each) for each, label in _FORMS.items()]),
            *(Field(each, f"With {each}s", "switch") for each in FORMATS),
            Field(
                "as",
                "Knowledge is",
                "choice",
                options=[("shown in the prompt", "context"), ("written by the student (thoughts only)", "target")],
            ),
            Field(
                "sample",
                "Sample",
                "choice",
                options=[("all knowledge, and all sessions", ""), *((each, each) for each in choices.samples)],
            ),
            Field(
                "base",
                "Base",
                value=NAME,
                help=f"There are: {_listed(choices.bases)}; a file, or a transformers model id.",
            ),
            Field("epochs", "Epochs", value=str(EPOCHS), help="How often each session is seen, its products shuffled."),
            Field("learning_rate", "Learning rate", value=rate_text(LEARNING_RATE)),
            Field("host", "Where", "choice", options=[(here, ""), *((each, each) for each in choices.hosts)]),
            Field(
                "after",
                "Begin",
                "choice",
                options=[("at once", ""), *((f"after {name}", name) for name, _ in choices.active)],
            ),
            Field(
                "evaluate",
                "Then evaluate",
                "switch",
                help="Evaluate the adapter on the validation splits when it is done, if kdtui is open then.",
            ),
        ]

    def parse(self, values: Mapping[str, str]) -> TrainingRequest:
        """Return the training that the values describe.

        Raises:
            KdtuiError: a number cannot be read.
        """
        return TrainingRequest(
            values["name"].strip(),
            _datasets(values),
            source=values["from"] or None,
            form=values["form"],
            knowledge=tuple(each for each in FORMATS if values[each]),
            target=values["as"] == "target",
            sample=values["sample"] or None,
            base=values["base"].strip(),
            epochs=whole_number(values["epochs"], "epochs", 1) or EPOCHS,
            learning_rate=_learning_rate(values["learning_rate"]),
            host=values["host"] or None,
            after=values["after"] or None,
            evaluate=bool(values["evaluate"]),
        )

    def problem(self, parsed: TrainingRequest) -> str | None:
        choices = self._choices
        unknown = [each for each in parsed.datasets if each not in choices.datasets]
        if not parsed.name:
            return "the training needs a name"
        if parsed.name in choices.taken:
            return f"there is a training or a model {parsed.name!r} already; choose another name"
        if unknown or not parsed.datasets:
            return f"there is no dataset {(unknown or [''])[0]!r}; there are: {_listed(choices.datasets)}"
        if (problem := self._problem_with_form(parsed)) is not None:
            return problem
        if not parsed.base:
            return "the training needs a base"
        try:
            check_base_name(parsed.base, choices.bases)
        except KdtuiError as problem:
            return str(problem)
        if parsed.after is not None and (parsed.after, parsed.host) not in choices.active:
            return f"training {parsed.after} is not on the same host"
        return choices.lacking if parsed.host is None else None

    def _problem_with_form(self, parsed: TrainingRequest) -> str | None:
        """Return why the form, the knowledge and the adapter do not go together, or None."""
        if parsed.target and parsed.knowledge != ("thought",):
            return "a student can learn to write only thoughts: switch on thoughts, and nothing else"
        if parsed.target and parsed.form != "list":
            return "a thought is written before the list of bundles: choose that form"
        if parsed.form == "intents" and (parsed.target or parsed.knowledge != ("pattern",)):
            return "a student for intents names the bundles of the pair model: switch on patterns, and nothing else"
        source = self._source(parsed)
        if source is not None and parsed.form != source.form:
            return f"{source.name} was trained to be {_FORMS[source.form]}: choose that form"
        if source is not None and parsed.target != source.target:
            how = "that it learned to write" if source.target else "in the prompt"
            return f"{source.name} was trained with knowledge {how}: choose that"
        return None

    def _source(self, parsed: TrainingRequest) -> SourceChoice | None:
        return None if parsed.source is None else self._choices.source(parsed.source)

    def command(self, parsed: TrainingRequest) -> str:
        def unless(default: str, value: str) -> str | None:
            return None if value == default else value

        usage = "target" if parsed.target else "context"
        source = self._source(parsed)
        knowledge: str | None = ",".join(parsed.knowledge) or None
        if source is None:
            form, base, default_usage = "pairs", NAME, "context"
        else:
            form, base, default_usage = source.form, source.base, usage
            knowledge = None if set(parsed.knowledge) == set(source.knowledge) else knowledge or "none"
        flags = ("--follow", "--evaluate") if parsed.evaluate else ()
        return command_line(
            ("sft", "launch", *flags),
            options={
                "--name": parsed.name,
                "--dataset": list(parsed.datasets),
                "--from": parsed.source,
                "--form": unless(form, parsed.form),
                "--knowledge": knowledge,
                "--as": unless(default_usage, usage),
                "--sample": parsed.sample,
                "--base": unless(base, parsed.base),
                "--epochs": unless(str(EPOCHS), str(parsed.epochs)),
                "--learning-rate": unless(rate_text(parsed.default_rate), rate_text(parsed.learning_rate)),
                "--host": parsed.host,
                "--after": parsed.after,
            },
            database=self._choices.named_database,
        )

    def follow(self, before: Mapping[str, str], after: Mapping[str, str]) -> FollowUp | None:
        """Propose a name for other datasets, and inherit the settings of another adapter."""
        changes, note = self._follow_datasets(after), ""
        if after["from"] != before["from"]:
            source = self._choices.source(after["from"])
            if after["learning_rate"].strip() in (rate_text(LEARNING_RATE), rate_text(CONTINUED_LEARNING_RATE)):
                changes["learning_rate"] = rate_text(CONTINUED_LEARNING_RATE if after["from"] else LEARNING_RATE)
            if source is not None:
                changes |= {"form": source.form, "base": source.base, "as": "target" if source.target else "context"}
                changes |= {each: "yes" if each in source.knowledge else "" for each in FORMATS}
                note = f"form, knowledge and base are those of {source.name}; its rank and alpha are kept, too"
        return FollowUp(changes, note) if changes or note else None

    def _follow_datasets(self, values: Mapping[str, str]) -> dict[str, str]:
        """Propose a name for other datasets, unless the user has typed a name or is typing a dataset."""
        datasets = _datasets(values)
        if values["name"] != self._proposed_name or not datasets or not set(datasets) <= set(self._choices.datasets):
            return {}
        name = free_training_name("-".join(datasets), self._choices.taken)
        if name == self._proposed_name:
            return {}
        self._proposed_name = name
        return {"name": name}

    def describe(self, parsed: TrainingRequest) -> str:
        """Estimate the size and the time of the training."""

        def question(db: "Database") -> str:
            from kdtui.workflows.training.estimate import estimate_training, training_estimate_in_words
            from kdtui.workflows.training.source_adapters import count_training_sessions, proposed_source, what_changes

            plan = parsed.plan(db)
            lines = training_estimate_in_words(estimate_training(db, plan, between=still_wanted), plan)
            if plan.source is not None and (changes := what_changes(plan.source, plan.settings)) is not None:
                lines.append(changes)
            if plan.source is None and proposed_source(db, plan.settings, None, plan.base) is not None:
                sessions = counted(count_training_sessions(db, plan.settings), "training session")
                lines.append(f"{sessions} teach the base little: choose an adapter to begin from")
            return "\n".join(lines)

        return ask_store(self._database, question)


def _with_value(field: Field, before: Mapping[str, str]) -> Field:
    """Return a field with its former value, unless that is no longer an option."""
    value = before.get(field.name, field.value)
    is_offered = field.kind != "choice" or value in [each for _, each in field.options]
    return replace(field, value=value) if is_offered else field


def _datasets(values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.strip() for each in values["datasets"].split(",") if each.strip()))


def _learning_rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise KdtuiError("the learning rate is a number above 0, such as 0.0005")
    return rate


def _listed(names: Sequence[str]) -> str:
    return one_line(", ".join(names), 200) or "none"
