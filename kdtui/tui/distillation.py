"""A distillation as the app knows it: what is to be distilled from whom, how it is done, and how far it has come."""

import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from kdtui.errors import KdtuiError
from kdtui.tui.commands import command_line
from kdtui.tui.screens.dialogs import Field
from kdtui.workflows.gate import Gate
from kdtui.workflows.model_names import check_address
from store.records import FORMATS

if TYPE_CHECKING:
    from kdtui.workflows.consult import Tally
    from kdtui.workflows.distill_with_model import Job
    from store.records import Format
    from store.sqlite import Database

_REASONS = 200
"""Sessions without knowledge whose reasons are kept."""

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
        "What was had of it from this teacher before, and is not found again, is deleted, from samples too; thoughts "
        "that were paid for stay.",
        _FORMATS,
    ),
    Field("teacher", "Teacher", "choice", "annotations", "Who is asked. Patterns need no teacher.", _TEACHERS),
    Field("limit", "Sessions at most", help="Only the first training sessions; empty for all. Patterns take all."),
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
        help="shipped, smollm2, patterns, a name that kdtui model ls shows, or a GGUF file. It costs nothing.",
    ),
)
_OF_ENDPOINTS = (
    Field("url", "Address", help="Of an OpenAI-compatible endpoint: http://HOST:PORT/v1"),
    Field("model", "Model", help="Empty for the only one that the server has."),
    Field("key", "Variable of the key", value="OPENAI_API_KEY", help="The name of the environment variable, no key."),
    Field("prompt_price", "Price of prompts", value="0", help="Of a million tokens, in any currency."),
    Field("answer_price", "Price of answers", value="0"),
    Field("max_calls", "Calls at most", help="That are paid for; empty for no limit."),
    Field("max_cost", "Cost at most", help="By these prices; empty for no limit."),
    Field("concurrency", "Calls at a time", value="16"),
    Field("per_minute", "Calls a minute", help="At most; empty for no limit."),
    Field("tokens_per_minute", "Tokens a minute", help="At most, by an estimate; empty for no limit."),
    Field("timeout", "Seconds for a call", value="120"),
)

_LARGEST = 2**63 - 1
_WHOLE = {"limit": 1, "max_calls": 0, "per_minute": 1, "tokens_per_minute": 1}
"""Whole numbers that may be left out, and the least of each."""


@dataclass(frozen=True, slots=True)
class Plan:
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

        def given(options: Mapping[str, str]) -> dict[str, str | None]:
            return {
                option: values[name] if values[name] not in (usual.get(name), "") else None
                for option, name in options.items()
            }

        if self.teacher == "patterns":
            levels = None if values["levels"] == usual["levels"] else values["levels"].split(",")
            measures = given({"--min-support": "min_support", "--max-size": "max_size"})
            return command_line(
                ("knowledge", "mine"), None, {**dataset, "--level": levels, **measures}, database=named_database
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
        }
        named = {"annotations": None, "student": values["student"], "endpoint": self.address}[self.teacher]
        options = {
            **dataset,
            "--format": None if values["formats"] == "rule,thought" else values["formats"],
            "--teacher": named,
            "--limit": values["limit"] or None,
            **(given(endpoint) if self.teacher == "endpoint" else {}),
        }
        return command_line(("knowledge", "distill"), None, options, database=named_database)

    @property
    def address(self) -> str:
        """The endpoint as commands name it."""
        return (self.values["url"] or "URL") + (f"#{self.values['model']}" if self.values["model"] else "")

    @property
    def budget(self) -> str:
        """What may be paid for, in words; empty where there is no limit."""
        calls, cost = self.values["max_calls"], self.values["max_cost"]
        return " and ".join(
            [*([f"{int(calls):,} calls"] if calls else []), *([f"a cost of {float(cost):g}"] if cost else [])]
        )

    def to_job(self) -> "Job":
        """The same for the workflow that asks a model behind an endpoint."""
        from kdtui.workflows.consult import Budget, Prices
        from kdtui.workflows.distill_with_model import Job
        from models.chat_server import Endpoint
        from models.teacher import Pace

        values = self.values
        return Job(
            self.dataset,
            tuple(format for format in FORMATS if format in self.formats),
            Endpoint(values["url"], values["model"] or None, values["key"]),
            Pace(
                int(values["concurrency"]),
                _whole(values["per_minute"]),
                _whole(values["tokens_per_minute"]),
                float(values["timeout"]),
            ),
            Prices(float(values["prompt_price"]), float(values["answer_price"])),
            Budget(_whole(values["max_calls"]), float(values["max_cost"]) if values["max_cost"] else None),
            _whole(values["limit"]),
        )


def first_form(remembered: Mapping[str, str], datasets: list[str]) -> list[Field]:
    """What is asked for first, filled in as it was last."""
    fields = list(_filled(_WHAT, remembered))
    fields[0] = replace(fields[0], options=[(name, name) for name in datasets])
    return fields


def second_form(remembered: Mapping[str, str], plan: Plan) -> list[Field]:
    """What is asked for then; nothing where all is said."""
    of = {
        "patterns": _OF_PATTERNS,
        "student": _OF_STUDENTS,
        "endpoint": _OF_ENDPOINTS,
        "annotations": (),
    }
    return list(_filled(of[plan.teacher], remembered))


def planned(*values: Mapping[str, str]) -> Plan:
    """A plan by what is known of it; the rest is as usual."""
    usual = {each.name: each.value for each in (*_WHAT, *_OF_PATTERNS, *_OF_STUDENTS, *_OF_ENDPOINTS)}
    given = {name: value.strip() for each in values for name, value in each.items() if name in usual}
    return Plan({**usual, **given})


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
    if "levels" in values:
        levels = values["levels"].split(",")
        if not all(each.strip().isdecimal() and 1 <= int(each) <= 99 for each in levels):
            raise KdtuiError("levels are whole numbers from 1 on, such as 2,3,4")
        _number(values, "min_support", labels["min_support"], 0, 1)
        _number(values, "max_size", labels["max_size"], 2, 6, whole=True)
    if "student" in values and not values["student"].strip():
        raise KdtuiError("say which student is to be asked")
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
            _number(values, price, labels[price], 0, 1e9)
        if values["max_cost"].strip():
            _number(values, "max_cost", labels["max_cost"], 0, 1e12)
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


def _filled(fields: tuple[Field, ...], values: Mapping[str, str]) -> Iterator[Field]:
    for each in fields:
        yield replace(each, value=values.get(each.name, each.value))


# What is at work


@dataclass(frozen=True, slots=True)
class Step:
    """How far it has come.

    Attributes:
        what: of which so many sessions are done.
        share: of all that is to be done, 0..1.
        tally: what has been asked; None where nothing is paid for.
        asking: calls that are under way.
    """

    what: str
    sessions: int
    of: int
    share: float
    tally: "Tally | None" = None
    asking: int = 0


@dataclass(frozen=True, slots=True)
class Came:
    """What came out of one format."""

    format: str
    kept: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A session gave no knowledge."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """It ends before all is done."""

    reason: str


State: TypeAlias = Literal[
    "estimating", "asking", "running", "pausing", "paused", "stopping", "done", "cancelled", "stopped", "failed"
]
"""`asking`: whether it is to be paid for. `stopped`: by the budget, or by the teacher."""

_ACTIVE: tuple[State, ...] = ("estimating", "asking", "running", "pausing", "paused", "stopping")
_AT_WORK: tuple[State, ...] = ("running", "pausing", "stopping")


class Distillation:
    """A plan that is carried out, and how far it has come. What is not said to be of threads belongs to the event loop.

    Attributes:
        gate: holds the work, and ends it.
        step: the latest; written by the thread that is at work, for there may be thousands in a second.
        expected: what it would cost, once that is known.
        results: what came out.
        reasons: why sessions gave no knowledge, the first ones; `lost` is how many there are.
        problem: why it is at an end before it is done.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.gate = Gate()
        self.step: Step | None = None
        self.expected: Tally | None = None
        self.results: list[Came] = []
        self.reasons: list[str] = []
        self.lost = 0
        self.problem = ""
        self._state: State = "estimating" if plan.teacher == "endpoint" else "running"
        self._seconds, self._since = 0.0, monotonic()

    @property
    def state(self) -> State:
        """What it is doing."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._seconds, self._since = self.seconds, monotonic()
        self._state = state

    @property
    def seconds(self) -> float:
        """For which it has been at work, without its pauses."""
        return self._seconds + (monotonic() - self._since if self._state in _AT_WORK else 0.0)

    @property
    def is_active(self) -> bool:
        """Whether it is not over."""
        return self._state in _ACTIVE

    @property
    def under_way(self) -> int:
        """Calls that are not answered yet."""
        return 0 if self.step is None else self.step.asking

    @property
    def can_be_held(self) -> bool:
        """Whether it has steps between which it can wait."""
        return self.plan.teacher in ("endpoint", "student")

    @property
    def why_not_cancelled(self) -> str | None:
        """Why it cannot be broken off; None where it can."""
        return "mining is a single step, which takes a moment" if self.plan.teacher == "patterns" else None

    @property
    def price(self) -> str:
        """What it is expected to cost, and what limits that, in sentences."""
        assert self.expected is not None
        tally, plan = self.expected, self.plan
        prices = any(float(plan.values[price]) for price in ("prompt_price", "answer_price"))
        said = [
            f"{tally.paid:,} calls are to be paid, and {tally.hits:,} were answered before. They take about "
            f"{tally.prompt_tokens:,} tokens of prompts and {tally.completion_tokens:,} of answers",
            f"and cost about {tally.cost:.4f}." if prices else "(no prices were given, so the cost is not known).",
        ]
        if plan.budget:
            said.append(f"It ends before it passes {plan.budget}.")
        if not plan.has_key:
            said.append(f"The variable {plan.values['key']} is not set: the server is asked without a key.")
        return " ".join(said)

    def add(self, event: object) -> None:
        """Note what has happened."""
        match event:
            case Came():
                self.results.append(event)
            case Lost(reason):
                self.lost += 1
                if self.lost <= _REASONS:
                    self.reasons.append(reason)
            case Broken(reason):
                self.problem = reason

    def settle(self, problem: str | None) -> None:
        """Note that it is over, and why it could not be done, if so."""
        if problem is not None:
            self.problem, self.state = problem, "failed"
        elif self.gate.closed and self._state == "stopping":
            self.state = "cancelled"
        else:
            self.state = "stopped" if self.problem else "done"

    # In threads

    def estimate(self, db: "Database") -> "Iterator[Tally]":
        """What it would cost."""
        from kdtui.workflows.distill_with_model import rehearsal

        for event in rehearsal(db, self.plan.to_job()):
            self.step = Step("sessions looked up", event.sessions, event.of, event.sessions / event.of, event.tally)
            if self.gate.closed:
                return
        if self.step is not None and self.step.tally is not None:
            yield self.step.tally

    def work(self, db: "Database") -> Iterator[object]:
        """Do it. Once the gate is closed, it ends by itself."""
        work = {
            "endpoint": self._ask_model,
            "student": self._ask_student,
            "annotations": self._read_annotations,
            "patterns": self._mine,
        }
        return work[self.plan.teacher](db)

    def _ask_model(self, db: "Database") -> Iterator[object]:
        from kdtui.workflows.distill import Distilled
        from kdtui.workflows.distill_with_model import Progress, SessionFailed, Stopped, distil_with_model

        job = self.plan.to_job()
        for event in distil_with_model(db, job, self.gate):
            match event:
                case Progress(format, sessions, of, tally, asking):
                    # The formats are done one after the other.
                    share = (job.formats.index(format) + sessions / of) / len(job.formats)
                    self.step = Step(f"sessions for {format}s", sessions, of, share, tally, asking)
                case SessionFailed(format, session, reason):
                    yield Lost(f"session {session}: no {format}s; {reason}")
                case Stopped(reason, tally):
                    if self.step is not None:
                        self.step = replace(self.step, tally=tally, asking=0)
                    yield Broken(reason)
                case Distilled(format, kept, rejected):
                    yield Came(format, kept, rejected)

    def _ask_student(self, db: "Database") -> Iterator[object]:
        """Have a student answer. It stands still while the gate is held: it is asked for one step at a time."""
        from kdtui.workflows.distill import Distilled
        from kdtui.workflows.distill_with_student import Begun, distil_with_student
        from kdtui.workflows.generate import SessionAnswered

        done = of = 0
        limit = _whole(self.plan.values["limit"])
        events = distil_with_student(db, self.plan.dataset, self._formats, self.plan.values["student"], limit)
        with closing(cast("Generator[object]", events)):
            for event in events:
                match event:
                    case Begun(answered, sessions):
                        done, of = answered, sessions
                    case SessionAnswered(session, prediction):
                        done += 1
                        if prediction.error is not None:
                            yield Lost(f"session {session.id}: {prediction.error}")
                    case Distilled(format, kept, rejected):
                        yield Came(format, kept, rejected)
                self.step = Step("sessions", done, of, done / of)
                self.gate.wait()
                if self.gate.closed:
                    return

    def _read_annotations(self, db: "Database") -> Iterator[object]:
        from kdtui.workflows.distill import distil_annotations

        limit = _whole(self.plan.values["limit"])
        for format in self._formats:
            if self.gate.closed:
                return
            for each in distil_annotations(db, self.plan.dataset, [format], limit):
                yield Came(each.format, each.kept, each.rejected)

    def _mine(self, db: "Database") -> Iterator[object]:
        from kdtui.workflows.mine_patterns import mine_patterns

        values = self.plan.values
        count = mine_patterns(
            db,
            self.plan.dataset,
            levels=[int(each) for each in values["levels"].split(",")],
            min_support=float(values["min_support"]),
            max_size=int(values["max_size"]),
        )
        yield Came(PATTERNS, count, 0)

    @property
    def _formats(self) -> "list[Format]":
        return [format for format in FORMATS if format in self.plan.formats]
