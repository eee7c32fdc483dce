"""A request for a distillation: a dataset, formats of knowledge, and a teacher with its options."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from kdtui.text import counted
from kdtui.tui.core.commands import command_line
from models.embedded import NAME

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.distillation_plan import DistillationPlan
    from store.records import Format

USUAL_LEVELS = (2, 3, 4)
"""Depths of the categories that are mined by default, as far as the products have them."""


@dataclass(frozen=True, slots=True)
class Mining:
    """No teacher: patterns are mined from bundles.

    Attributes:
        levels: depths of the categories to mine; all products must have them, except the usual ones.
        min_support: least share of training bundles that hold a pattern, 0..1.
        max_size: most categories in a pattern.
    """

    levels: tuple[int, ...] = USUAL_LEVELS
    min_support: float = 0.005
    max_size: int = 3


@dataclass(frozen=True, slots=True)
class Annotations:
    """The teacher is what people annotated: bundles and intents."""


@dataclass(frozen=True, slots=True)
class StudentTeacher:
    """The teacher is a student, or a GGUF file, on this machine.

    Attributes:
        student: its name, as `kdtui evaluate --student` takes it.
    """

    student: str = NAME


@dataclass(frozen=True, slots=True)
class EndpointTeacher:
    """The teacher is a model behind an OpenAI-compatible endpoint.

    Attributes:
        url: None if it is not known yet.
        model: None for the only model of the server.
        key: the environment variable that has the API key.
        prompt_price: price of a million tokens of prompts; None if unknown.
        answer_price: the same for answers.
        max_calls: maximum number of calls to pay for; None for no limit.
        max_cost: maximum cost at these prices; None for no limit.
        concurrency: maximum number of calls at a time.
        per_minute: maximum number of calls a minute; None for no limit.
        tokens_per_minute: maximum number of tokens a minute, by an estimate; None for no limit.
        timeout: seconds for a call.
        answer_tokens: most tokens of an answer; None for the default.
        retry_failed: whether to pay again for calls whose answer was useless.
    """

    url: str | None = None
    model: str | None = None
    key: str = "OPENAI_API_KEY"
    prompt_price: float | None = None
    answer_price: float | None = None
    max_calls: int | None = None
    max_cost: float | None = None
    concurrency: int = 16
    per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 120.0
    answer_tokens: int | None = None
    retry_failed: bool = False

    @property
    def address(self) -> str:
        """The endpoint as commands name it; URL if it is not known yet."""
        return (self.url or "URL") + (f"#{self.model}" if self.model else "")

    @property
    def title(self) -> str:
        """The model and its host, without the rest of the address."""
        host = (self.url or "").partition("//")[2].partition("/")[0]
        return f"{self.model} at {host}" if self.model else host

    @property
    def budget(self) -> str:
        """The limits of calls and cost, in words; empty if there are none."""
        calls = "" if self.max_calls is None else counted(self.max_calls, "call")
        cost = "" if self.max_cost is None else f"a cost of {self.max_cost:g}"
        return " and ".join(filter(None, (calls, cost)))

    @property
    def has_key(self) -> bool:
        """Whether the environment variable of the key is set."""
        return bool(os.environ.get(self.key, "").strip())


Teacher: TypeAlias = Mining | Annotations | StudentTeacher | EndpointTeacher

_MINING_OPTIONS = {"--min-support": "min_support", "--max-size": "max_size"}
_ENDPOINT_OPTIONS = {
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


@dataclass(frozen=True, slots=True)
class DistillationRequest:
    """A request for a distillation.

    Attributes:
        dataset: the dataset whose training sessions are distilled.
        limit: most sessions to distil; None for all.
        seed: draws the sessions.
        replaces: whether earlier knowledge of the teacher that is not found again is deleted.
    """

    dataset: str
    formats: "tuple[Format, ...]"
    teacher: Teacher = field(default_factory=Annotations)
    limit: int | None = None
    seed: int = 0
    replaces: bool = False

    @property
    def is_paid(self) -> bool:
        """Whether calls can cost money."""
        return isinstance(self.teacher, EndpointTeacher)

    @property
    def title(self) -> str:
        """The request in a line."""
        what = f"{' and '.join(f'{format}s' for format in self.formats)} of {self.dataset}"
        match self.teacher:
            case Mining():
                return what
            case Annotations():
                return f"{what} from the annotations"
            case StudentTeacher(student):
                return f"{what} from {student}"
            case EndpointTeacher():
                return f"{what} from {self.teacher.title}"

    def command(self, named_database: Path | None) -> str:
        """Return the command that does the same."""
        flags = ["--replace"] if self.replaces else []
        if isinstance(self.teacher, Mining):
            levels = self.teacher.levels
            return command_line(
                ("knowledge", "mine", *flags),
                None,
                {
                    "--dataset": self.dataset,
                    "--level": None if levels == USUAL_LEVELS else [str(level) for level in levels],
                    **_changed(self.teacher, Mining(), _MINING_OPTIONS),
                },
                database=named_database,
            )
        options = {
            "--dataset": self.dataset,
            "--format": None if self.formats == ("rule", "thought") else ",".join(self.formats),
            "--teacher": None,
            "--limit": number_text(self.limit) or None,
            "--seed": number_text(self.seed) if self.seed else None,
        }
        match self.teacher:
            case StudentTeacher(student):
                options["--teacher"] = student
            case EndpointTeacher():
                options["--teacher"] = self.teacher.address
                options |= _changed(self.teacher, EndpointTeacher(), _ENDPOINT_OPTIONS)
                flags += ["--retry-failed"] if self.teacher.retry_failed else []
        return command_line(("knowledge", "distill", *flags), None, options, database=named_database)

    def plan(self, teacher: EndpointTeacher) -> "DistillationPlan":
        """Return the plan for the workflow that asks the model behind the endpoint."""
        from kdtui.workflows.calls.costs import Budget, Prices
        from kdtui.workflows.knowledge.distillation_plan import DistillationPlan
        from models.endpoint.chat_server import Endpoint
        from models.endpoint.teacher import RequestLimits

        assert teacher.url is not None
        return DistillationPlan(
            self.dataset,
            self.formats,
            Endpoint(teacher.url, teacher.model, teacher.key),
            RequestLimits(teacher.concurrency, teacher.per_minute, teacher.tokens_per_minute, teacher.timeout),
            Prices(teacher.prompt_price, teacher.answer_price),
            Budget(teacher.max_calls, teacher.max_cost),
            self.limit,
            teacher.answer_tokens,
            teacher.retry_failed,
            self.replaces,
            self.seed,
        )


def number_text(number: float | None) -> str:
    """Format a number without a needless fraction; empty for None."""
    return "" if number is None else str(number).removesuffix(".0")


_Options = TypeVar("_Options", Mining, EndpointTeacher)


def _changed(teacher: _Options, usual: _Options, names: Mapping[str, str]) -> dict[str, str | None]:
    """Return the options of a command whose values are not the usual ones; None for the others.

    Args:
        names: attribute of the teacher by option.
    """
    values = {option: (getattr(teacher, name), getattr(usual, name)) for option, name in names.items()}
    return {
        option: None if value == usual_value else value if isinstance(value, str) else number_text(value)
        for option, (value, usual_value) in values.items()
    }
