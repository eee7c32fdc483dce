"""What is to be distilled, from whom, and for how much at most; and the forms that ask for it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from re import fullmatch
from typing import TYPE_CHECKING

from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.forms import Field
from kdtui.workflows.model_names import check_address, is_endpoint
from store.records import FORMATS

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.distill_with_model import DistillationRequest

PATTERNS = "pattern"
"""Mined, and not distilled: without a teacher."""

_FORMATS = (
    ("rules and thoughts", "rule,thought"),
    ("rules", "rule"),
    ("thoughts", "thought"),
    ("patterns, mined from the bundles", PATTERNS),
)
_TEACHERS = (
    ("the annotations: bundles and intents of people", "annotations"),
    ("a model behind an endpoint", "endpoint"),
    ("a student, or a GGUF file, of your own", "student"),
)

_WHAT = (
    Field("dataset", "Dataset", "choice"),
    Field(
        "formats",
        "Knowledge",
        "choice",
        "rule,thought",
        "What is found is stored beside what this teacher gave before.",
        _FORMATS,
    ),
    Field("teacher", "Teacher", "choice", "annotations", "Who is asked. Patterns need no teacher.", _TEACHERS),
    Field("limit", "Sessions at most", help="Drawn by chance; empty for all training sessions. Patterns take all."),
    Field("seed", "Seed", help="By which they are drawn; empty for 0."),
    Field(
        "replace",
        "Replace",
        "switch",
        help="Delete what this teacher gave before and is not found again, from samples too; you see how much, and "
        "are asked. Imported knowledge, and thoughts from an endpoint, stay.",
    ),
)
"""What is asked for first; the fields that follow depend on it."""

_OF_PATTERNS = (
    Field("levels", "Levels", value="2,3,4", help="Depths of the categories that are mined, with commas between."),
    Field("min_support", "Least support", value="0.005", help="Least share of training bundles that hold a pattern."),
    Field("max_size", "Most categories", value="3", help="In a pattern: 2 to 6."),
)
_OF_STUDENTS = (
    Field(
        "student",
        "Student",
        value="smollm2",
        help="shipped, smollm2, patterns, a name that kdtui model ls shows, or a GGUF file: it runs here, for nothing.",
    ),
)
_OF_ENDPOINTS = (
    Field("url", "Address", help="Of an OpenAI-compatible endpoint: http://HOST:PORT/v1"),
    Field("model", "Model", help="Empty for the only one that the server has."),
    Field("key", "Variable of the key", value="OPENAI_API_KEY", help="The name of the environment variable, no key."),
    Field("prompt_price", "Price of prompts", help="Of a million tokens, in any currency; without, costs are unknown."),
    Field("answer_price", "Price of answers", help="The same; 0 for what is free."),
    Field("max_calls", "Calls at most", help="That are paid for; empty for no limit."),
    Field("max_cost", "Cost at most", help="By these prices; empty for no limit."),
    Field("concurrency", "Calls at a time", value="16"),
    Field("per_minute", "Calls a minute", help="At most; empty for no limit."),
    Field("tokens_per_minute", "Tokens a minute", help="At most, by an estimate; empty for no limit."),
    Field("timeout", "Seconds for a call", value="120"),
    Field("answer_tokens", "Tokens of an answer", help="At most, with its reasoning; empty for 1024."),
    Field("retry_failed", "Retry failed calls", "switch", help="Pay again for calls whose answer was of no use."),
)

_LARGEST = 2**63 - 1
_WHOLE = {"limit": 1, "seed": 0, "max_calls": 0, "per_minute": 1, "tokens_per_minute": 1, "answer_tokens": 1}
"""Whole numbers that may be left out, and the least of each."""


@dataclass(frozen=True, slots=True)
class DistillationPlan:
    """What is to be distilled, from whom, and for how much at most: the values of the forms, all of which will do."""

    values: Mapping[str, str]

    @property
    def dataset(self) -> str:
        """Whose training sessions are distilled."""
        return self.values["dataset"]

    @property
    def formats(self) -> tuple[str, ...]:
        """What comes of it."""
        return tuple(self.values["formats"].split(","))

    @property
    def teacher(self) -> str:
        """Who is asked, or "patterns" where nobody is."""
        return "patterns" if self.values["formats"] == PATTERNS else self.values["teacher"]

    @property
    def title(self) -> str:
        """What to call it, in a line."""
        what = " and ".join(f"{format}s" for format in self.formats)
        return (
            f"{what} of {self.dataset}"
            + {
                "patterns": "",
                "annotations": " from the annotations",
                "student": f" from {self.values['student']}",
                "endpoint": f" from {self._model}",
            }[self.teacher]
        )

    @property
    def heading(self) -> str:
        """What the second form is about."""
        return {
            "patterns": "How patterns are mined",
            "annotations": "",
            "student": "Which student is asked",
            "endpoint": "Which model is asked, and for how much",
        }[self.teacher]

    @property
    def _model(self) -> str:
        host = self.values["url"].partition("//")[2].partition("/")[0]
        return f"{self.values['model']} at {host}" if self.values["model"] else host

    @property
    def has_key(self) -> bool:
        """Whether the variable that the key is to be in is set."""
        return bool(os.environ.get(self.values["key"], "").strip())

    def command(self, named_database: Path | None) -> str:
        """The command that does the same."""
        values, dataset = self.values, {"--dataset": self.dataset}
        usual = {each.name: each.value for each in (*_OF_PATTERNS, *_OF_ENDPOINTS)}
        flags = ["--replace"] if self.replaces else []

        def given(options: Mapping[str, str]) -> dict[str, str | None]:
            return {
                option: values[name] if values[name] not in (usual.get(name), "") else None
                for option, name in options.items()
            }

        if self.teacher == "patterns":
            levels = None if values["levels"] == usual["levels"] else values["levels"].split(",")
            measures = given({"--min-support": "min_support", "--max-size": "max_size"})
            return command_line(
                ("knowledge", "mine", *flags), None, {**dataset, "--level": levels, **measures}, database=named_database
            )
        endpoint = {
            "--key": "key",
            "--concurrency": "concurrency",
            "--requests-per-minute": "per_minute",
            "--tokens-per-minute": "tokens_per_minute",
            "--timeout": "timeout",
            "--prompt-price": "prompt_price",
            "--answer-price": "answer_price",
            "--max-calls": "max_calls",
            "--max-cost": "max_cost",
            "--answer-tokens": "answer_tokens",
        }
        named = {"annotations": None, "student": values["student"], "endpoint": self.address}[self.teacher]
        options = {
            **dataset,
            "--format": None if values["formats"] == "rule,thought" else values["formats"],
            "--teacher": named,
            "--limit": values["limit"] or None,
            # As it is typed, which may be a mistake.
            "--seed": None if values["seed"].strip() in ("", "0") else values["seed"].strip(),
            **(given(endpoint) if self.teacher == "endpoint" else {}),
        }
        if self.teacher == "endpoint" and values["retry_failed"]:
            flags.append("--retry-failed")
        return command_line(("knowledge", "distill", *flags), None, options, database=named_database)

    @property
    def address(self) -> str:
        """The endpoint as commands name it."""
        return (self.values["url"] or "URL") + (f"#{self.values['model']}" if self.values["model"] else "")

    @property
    def replaces(self) -> bool:
        """Whether what is not found again is to be deleted."""
        return bool(self.values["replace"])

    @property
    def budget(self) -> str:
        """What may be paid for, in words; empty where there is no limit."""
        calls, cost = self.values["max_calls"], self.values["max_cost"]
        return " and ".join(
            [*([counted(int(calls), "call")] if calls else []), *([f"a cost of {float(cost):g}"] if cost else [])]
        )

    @property
    def limit(self) -> int | None:
        """How many sessions at most; None for all."""
        return _whole(self.values["limit"])

    @property
    def seed(self) -> int:
        """By which these are drawn."""
        return _whole(self.values["seed"]) or 0

    def to_job(self) -> "DistillationRequest":
        """The same for the workflow that asks a model behind an endpoint."""
        from kdtui.workflows.calls.costs import Budget, Prices
        from kdtui.workflows.knowledge.distill_with_model import DistillationRequest
        from models.endpoint.chat_server import Endpoint
        from models.endpoint.teacher import Pace

        values = self.values
        return DistillationRequest(
            self.dataset,
            tuple(format for format in FORMATS if format in self.formats),
            Endpoint(values["url"], values["model"] or None, values["key"]),
            Pace(
                int(values["concurrency"]),
                _whole(values["per_minute"]),
                _whole(values["tokens_per_minute"]),
                float(values["timeout"]),
            ),
            Prices(_real(values["prompt_price"]), _real(values["answer_price"])),
            Budget(_whole(values["max_calls"]), _real(values["max_cost"])),
            self.limit,
            _whole(values["answer_tokens"]),
            bool(values["retry_failed"]),
            self.replaces,
            self.seed,
        )


def first_form(remembered: Mapping[str, str], datasets: Sequence[str]) -> list[Field]:
    """What is asked for first, filled in as it was last."""
    fields = list(_filled(_WHAT, remembered))
    fields[0] = replace(fields[0], options=[(name, name) for name in datasets])
    return fields


def told_before(values: Mapping[str, str], there: Mapping[tuple[str, str], int]) -> str:
    """What becomes of what is there, as far as it is known before anything is looked at; empty where nothing is there.

    Args:
        there: how many pieces of the annotations could be replaced, by dataset and format.
    """
    plan = planned(values)
    if plan.teacher not in ("patterns", "annotations"):
        return ""
    counts = [(there.get((plan.dataset, format), 0), format) for format in plan.formats]
    named = " and ".join(counted(count, format) for count, format in counts if count)
    if not named:
        return ""
    fate = "is deleted once you have agreed" if plan.replaces else "stays"
    return f"{plan.dataset} has {named} of this teacher; what is not found again {fate}."


def second_form(remembered: Mapping[str, str], plan: DistillationPlan) -> list[Field]:
    """What is asked for then; nothing where all is said."""
    of = {
        "patterns": _OF_PATTERNS,
        "student": _OF_STUDENTS,
        "endpoint": _OF_ENDPOINTS,
        "annotations": (),
    }
    return list(_filled(of[plan.teacher], remembered))


def planned(*values: Mapping[str, str]) -> DistillationPlan:
    """A plan by what is known of it; the rest is as usual."""
    usual = {each.name: each.value for each in (*_WHAT, *_OF_PATTERNS, *_OF_STUDENTS, *_OF_ENDPOINTS)}
    given = {name: value.strip() for each in values for name, value in each.items() if name in usual}
    return DistillationPlan({**usual, **given})


def problem_of(values: Mapping[str, str]) -> str | None:
    """Why values of a form will not do; None where they will. Only fields that are there are looked at."""
    try:
        _check(values)
    except KdtuiError as error:
        return str(error)
    return None


def _check(values: Mapping[str, str]) -> None:
    labels = {each.name: each.label for each in (*_WHAT, *_OF_PATTERNS, *_OF_STUDENTS, *_OF_ENDPOINTS)}
    for name, least in _WHOLE.items():
        if values.get(name, "").strip():
            _number(values, name, labels[name], least, _LARGEST, whole=True)
    draws = any(values.get(name, "").strip() for name in ("limit", "max_calls", "max_cost"))
    if values.get("seed", "").strip() and not draws:
        raise KdtuiError("the seed draws sessions; say how many at most")
    if "levels" in values:
        levels = values["levels"].split(",")
        if not all(fullmatch("[1-9][0-9]?", each.strip()) for each in levels):
            raise KdtuiError("levels are whole numbers from 1 to 99, such as 2,3,4")
        _number(values, "min_support", labels["min_support"], 0, 1)
        _number(values, "max_size", labels["max_size"], 2, 6, whole=True)
    if "student" in values and not values["student"].strip():
        raise KdtuiError("say which student is to be asked")
    if "student" in values and is_endpoint(values["student"].strip()):
        raise KdtuiError("an endpoint is another kind of teacher; choose it in the form before this one")
    if "url" in values:
        url, name = values["url"].strip(), values["key"].strip()
        if not url.startswith(("http://", "https://")):
            raise KdtuiError("the address begins with http:// or https://")
        if "#" in url:
            raise KdtuiError("the name of the model has a field of its own")
        check_address(f"{url}#{values['model'].strip()}")
        if not (name.isidentifier() and name.isascii()):
            raise KdtuiError(
                "the name of a variable has letters, digits and underscores; the key itself is not asked for"
            )
        for price in ("prompt_price", "answer_price"):
            if values[price].strip():
                _number(values, price, labels[price], 0, 1e9)
        if values["max_cost"].strip():
            _number(values, "max_cost", labels["max_cost"], 0, 1e12)
            if not (values["prompt_price"].strip() or values["answer_price"].strip()):
                raise KdtuiError("a limit of the cost needs prices; 0 is the price of what is free")
        _number(values, "concurrency", labels["concurrency"], 1, 1000, whole=True)
        _number(values, "timeout", labels["timeout"], 0.1, 1e6)


def _number(
    values: Mapping[str, str], name: str, label: str, least: float, most: float, *, whole: bool = False
) -> None:
    kind = "a whole number" if whole else "a number"
    try:
        number = int(values[name]) if whole else float(values[name])
    except ValueError:
        raise KdtuiError(f"{label}: {kind} is wanted") from None
    if not (isfinite(number) and least <= number <= most):
        limit = f"of {least:g} or more" if number < least else f"of {most:g} or less"
        raise KdtuiError(f"{label}: {kind} {limit} is wanted")


def _whole(value: str) -> int | None:
    return int(value) if value else None


def _real(value: str) -> float | None:
    return float(value) if value else None


def _filled(fields: tuple[Field, ...], values: Mapping[str, str]) -> Iterator[Field]:
    for each in fields:
        yield replace(each, value=values.get(each.name, each.value))
