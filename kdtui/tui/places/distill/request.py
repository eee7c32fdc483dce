"""A request for a distillation: dataset, formats, teacher and budget; and the fields that ask for it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
    from kdtui.workflows.knowledge.distillation_plan import DistillationPlan

PATTERNS = "pattern"
"""Patterns are mined from bundles, without a teacher."""

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

_COMMON_FIELDS = (
    Field("dataset", "Dataset", "choice"),
    Field(
        "formats",
        "Knowledge",
        "choice",
        "rule,thought",
        "New knowledge is stored along with earlier knowledge of this teacher.",
        _FORMATS,
    ),
    Field("teacher", "Teacher", "choice", "annotations", "Patterns need no teacher.", _TEACHERS),
    Field("limit", "Sessions at most", help="Drawn at random; empty for all training sessions. Patterns use all."),
    Field("seed", "Seed", help="Seed of the draw; empty for 0."),
    Field(
        "replace",
        "Replace",
        "switch",
        help="Delete earlier knowledge of this teacher that is not found again, also from samples; you see how much "
        "and are asked first. Imported knowledge, and thoughts from an endpoint, stay.",
    ),
)
"""The fields of the first form; those of the second form depend on their values."""

_PATTERN_FIELDS = (
    Field("levels", "Levels", value="2,3,4", help="Depths of the categories to mine, separated by commas."),
    Field("min_support", "Least support", value="0.005", help="Least share of training bundles that hold a pattern."),
    Field("max_size", "Most categories", value="3", help="In a pattern: 2 to 6."),
)
_STUDENT_FIELDS = (
    Field(
        "student",
        "Student",
        value="smollm2",
        help="shipped, smollm2, patterns, a name that kdtui model ls shows, or a GGUF file: it runs here, at no cost.",
    ),
)
_ENDPOINT_FIELDS = (
    Field("url", "Address", help="Of an OpenAI-compatible endpoint: http://HOST:PORT/v1"),
    Field("model", "Model", help="Empty if the server has only one."),
    Field("key", "Variable of the key", value="OPENAI_API_KEY", help="The environment variable's name, not the key."),
    Field("prompt_price", "Price of prompts", help="Of a million tokens, in any currency; if empty, cost is unknown."),
    Field("answer_price", "Price of answers", help="The same; 0 if it is free."),
    Field("max_calls", "Calls at most", help="Calls to pay for; empty for no limit."),
    Field("max_cost", "Cost at most", help="At these prices; empty for no limit."),
    Field("concurrency", "Calls at a time", value="16"),
    Field("per_minute", "Calls a minute", help="At most; empty for no limit."),
    Field("tokens_per_minute", "Tokens a minute", help="At most, by an estimate; empty for no limit."),
    Field("timeout", "Seconds for a call", value="120"),
    Field("answer_tokens", "Tokens of an answer", help="At most, including reasoning; empty for 1024."),
    Field("retry_failed", "Retry failed calls", "switch", help="Pay again for calls whose answer was useless."),
)

_ALL_FIELDS = (*_COMMON_FIELDS, *_PATTERN_FIELDS, *_STUDENT_FIELDS, *_ENDPOINT_FIELDS)
_LARGEST = 2**63 - 1
_WHOLE_NUMBERS = {"limit": 1, "seed": 0, "max_calls": 0, "per_minute": 1, "tokens_per_minute": 1, "answer_tokens": 1}
"""Optional whole numbers, and the least value of each."""


@dataclass(frozen=True, slots=True)
class DistillationRequest:
    """A request for a distillation: the checked values of both forms."""

    values: Mapping[str, str]

    @property
    def dataset(self) -> str:
        """The dataset whose training sessions are distilled."""
        return self.values["dataset"]

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats of knowledge to distil."""
        return tuple(self.values["formats"].split(","))

    @property
    def teacher(self) -> str:
        """The kind of teacher; "patterns" if patterns are mined without one."""
        return "patterns" if self.values["formats"] == PATTERNS else self.values["teacher"]

    @property
    def title(self) -> str:
        """The request in a line."""
        formats = " and ".join(f"{format}s" for format in self.formats)
        return (
            f"{formats} of {self.dataset}"
            + {
                "patterns": "",
                "annotations": " from the annotations",
                "student": f" from {self.values['student']}",
                "endpoint": f" from {self._model}",
            }[self.teacher]
        )

    @property
    def teacher_heading(self) -> str:
        """The heading of the form for the options of the teacher."""
        return {
            "patterns": "How patterns are mined",
            "annotations": "",
            "student": "The student to ask",
            "endpoint": "The model to ask, and its price",
        }[self.teacher]

    @property
    def _model(self) -> str:
        host = self.values["url"].partition("//")[2].partition("/")[0]
        return f"{self.values['model']} at {host}" if self.values["model"] else host

    @property
    def has_key(self) -> bool:
        """Whether the environment variable of the key is set."""
        return bool(os.environ.get(self.values["key"], "").strip())

    def command(self, named_database: Path | None) -> str:
        """Return the command that does the same."""
        values, dataset = self.values, {"--dataset": self.dataset}
        defaults = {each.name: each.value for each in (*_PATTERN_FIELDS, *_ENDPOINT_FIELDS)}
        flags = ["--replace"] if self.replaces else []

        def changed(options: Mapping[str, str]) -> dict[str, str | None]:
            return {
                option: values[name] if values[name] not in (defaults.get(name), "") else None
                for option, name in options.items()
            }

        if self.teacher == "patterns":
            levels = None if values["levels"] == defaults["levels"] else values["levels"].split(",")
            measures = changed({"--min-support": "min_support", "--max-size": "max_size"})
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
        teacher = {"annotations": None, "student": values["student"], "endpoint": self.address}[self.teacher]
        options = {
            **dataset,
            "--format": None if values["formats"] == "rule,thought" else values["formats"],
            "--teacher": teacher,
            "--limit": values["limit"] or None,
            # As typed, which can be a mistake.
            "--seed": None if values["seed"].strip() in ("", "0") else values["seed"].strip(),
            **(changed(endpoint) if self.teacher == "endpoint" else {}),
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
        """Whether knowledge that is not found again is deleted."""
        return bool(self.values["replace"])

    @property
    def budget(self) -> str:
        """The limits of calls and cost, in words; empty if there are none."""
        calls, cost = self.values["max_calls"], self.values["max_cost"]
        return " and ".join(
            [*([counted(int(calls), "call")] if calls else []), *([f"a cost of {float(cost):g}"] if cost else [])]
        )

    @property
    def limit(self) -> int | None:
        """Most sessions to distil; None for all."""
        return _whole_number(self.values["limit"])

    @property
    def seed(self) -> int:
        """The seed that draws sessions."""
        return _whole_number(self.values["seed"]) or 0

    def to_plan(self) -> "DistillationPlan":
        """Return the plan for the workflow that asks a model behind an endpoint."""
        from kdtui.workflows.calls.costs import Budget, Prices
        from kdtui.workflows.knowledge.distillation_plan import DistillationPlan
        from models.endpoint.chat_server import Endpoint
        from models.endpoint.teacher import RequestLimits

        values = self.values
        return DistillationPlan(
            self.dataset,
            tuple(format for format in FORMATS if format in self.formats),
            Endpoint(values["url"], values["model"] or None, values["key"]),
            RequestLimits(
                int(values["concurrency"]),
                _whole_number(values["per_minute"]),
                _whole_number(values["tokens_per_minute"]),
                float(values["timeout"]),
            ),
            Prices(_number(values["prompt_price"]), _number(values["answer_price"])),
            Budget(_whole_number(values["max_calls"]), _number(values["max_cost"])),
            self.limit,
            _whole_number(values["answer_tokens"]),
            bool(values["retry_failed"]),
            self.replaces,
            self.seed,
        )


def common_fields(before: Mapping[str, str], datasets: Sequence[str]) -> list[Field]:
    """Return the fields of the first form, with earlier values."""
    fields = list(_with_values(_COMMON_FIELDS, before))
    fields[0] = replace(fields[0], options=[(name, name) for name in datasets])
    return fields


def replacement_note(request: DistillationRequest, replaceable: Mapping[tuple[str, str], int]) -> str:
    """Return what happens to earlier knowledge, as far as it is known before the estimate; empty if there is none.

    Args:
        replaceable: number of pieces from the annotations that can be replaced, by dataset and format.
    """
    if request.teacher not in ("patterns", "annotations"):
        return ""
    counts = [(replaceable.get((request.dataset, format), 0), format) for format in request.formats]
    pieces = " and ".join(counted(count, format) for count, format in counts if count)
    if not pieces:
        return ""
    fate = "is deleted once you have agreed" if request.replaces else "stays"
    return f"{request.dataset} has {pieces} of this teacher; what is not found again {fate}."


def teacher_fields(before: Mapping[str, str], request: DistillationRequest) -> list[Field]:
    """Return the fields of the second form, with earlier values; empty for teachers without options."""
    fields = {
        "patterns": _PATTERN_FIELDS,
        "student": _STUDENT_FIELDS,
        "endpoint": _ENDPOINT_FIELDS,
        "annotations": (),
    }
    return list(_with_values(fields[request.teacher], before))


def request_from(*values: Mapping[str, str]) -> DistillationRequest:
    """Return the request with these values, later ones first, and defaults for the others."""
    defaults = {each.name: each.value for each in _ALL_FIELDS}
    given = {name: value.strip() for each in values for name, value in each.items() if name in defaults}
    return DistillationRequest({**defaults, **given})


def check_values(values: Mapping[str, str]) -> None:
    """Check the values of one of the forms; it has only some of the fields.

    Raises:
        KdtuiError: a value cannot be read, or values do not go together.
    """
    labels = {each.name: each.label for each in _ALL_FIELDS}
    for name, least in _WHOLE_NUMBERS.items():
        if values.get(name, "").strip():
            _check_number(values, name, labels[name], least, _LARGEST, whole=True)
    draws = any(values.get(name, "").strip() for name in ("limit", "max_calls", "max_cost"))
    if values.get("seed", "").strip() and not draws:
        raise KdtuiError("the seed draws sessions; say how many at most")
    if "levels" in values:
        levels = values["levels"].split(",")
        if not all(fullmatch("[1-9][0-9]?", each.strip()) for each in levels):
            raise KdtuiError("levels are whole numbers from 1 to 99, such as 2,3,4")
        _check_number(values, "min_support", labels["min_support"], 0, 1)
        _check_number(values, "max_size", labels["max_size"], 2, 6, whole=True)
    if "student" in values and not values["student"].strip():
        raise KdtuiError("say which student to ask")
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
                _check_number(values, price, labels[price], 0, 1e9)
        if values["max_cost"].strip():
            _check_number(values, "max_cost", labels["max_cost"], 0, 1e12)
            if not (values["prompt_price"].strip() or values["answer_price"].strip()):
                raise KdtuiError("a limit of the cost needs prices; 0 is the price of a free model")
        _check_number(values, "concurrency", labels["concurrency"], 1, 1000, whole=True)
        _check_number(values, "timeout", labels["timeout"], 0.1, 1e6)


def _check_number(
    values: Mapping[str, str], name: str, label: str, least: float, most: float, *, whole: bool = False
) -> None:
    kind = "a whole number" if whole else "a number"
    try:
        number = int(values[name]) if whole else float(values[name])
    except ValueError:
        raise KdtuiError(f"{label}: enter {kind}") from None
    if not least <= number <= most:
        limit = f"of {least:g} or more" if number < least else f"of {int(most):,} or less"
        raise KdtuiError(f"{label}: enter {kind} {limit}")


def _whole_number(value: str) -> int | None:
    return int(value) if value else None


def _number(value: str) -> float | None:
    return float(value) if value else None


def _with_values(fields: tuple[Field, ...], values: Mapping[str, str]) -> Iterator[Field]:
    for each in fields:
        yield replace(each, value=values.get(each.name, each.value))
