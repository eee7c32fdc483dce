"""The spec of a study: questions, each with a grid of settings."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

from msgspec import Struct, field

from kdtui.distill.sampling import SampleStrategy
from kdtui.errors import KdtuiError
from kdtui.workflows.studies.steps import ANY
from models.sft.job import RANK
from store.records import FORMATS, Format, Split
from store.similar import suggestion

Utilization: TypeAlias = Literal["zero-shot", "icl", "sft", "sft+icl", "routed", "merged"]
"""How a student uses knowledge: not at all, in its prompt, by training with it, or both."""
UTILIZATIONS: tuple[Utilization, ...] = get_args(Utilization)

Domains: TypeAlias = Literal["own", "other", "pooled"]
"""Whose training sessions a student is trained on, and whose knowledge it is shown: those of the dataset, of the other
datasets, or of all.
"""
DOMAINS: tuple[Domains, ...] = get_args(Domains)

Metric: TypeAlias = Literal["pair_f1", "strict_precision", "strict_recall", "exact"]
"""The metrics that count every session, so that two students can be compared session by session."""
METRICS: tuple[Metric, ...] = get_args(Metric)

NOTHING = "nothing"
"""No adapter, as a value of the axis `from`."""

NONE = "none"
"""No knowledge, as a value of the axis `formats`."""


PRESETS = ("rq1", "rq2", "rq3", "all")

LONGEST_NAME = 100
"""Characters of a name at most: reports are files of that name."""


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """A question: the effect of the values of one axis, for each combination of the others.

    Attributes:
        title: the question in words.
        compare: the axis whose values are compared.
        baseline: the value of that axis that the others are compared with.
        metric: of the comparison.
        dataset: whose sessions are answered; empty for those of the study.
        student: base models, as `kdtui evaluate --student` takes them.
        form: what a student is asked for: a list of bundles, or an answer for each pair of products. Answers of an
            untrained model about pairs are worth little.
        utilization: how the knowledge is used. "routed": by adapters, one for each format and one without any, and a
            router chooses one of them for each session; "merged": by the mean of these adapters.
        formats: of the knowledge, several joined by "+"; "none" for none.
        teacher: whose rules and thoughts; "any" for all that are kept.
        domains: whose training sessions a student is trained on, and whose knowledge it is shown.
        strategy: that draws samples of knowledge.
        ratio: the share of the knowledge that is used. Empty: all of it, without sampling.
        from_: the adapter that a training begins from, which determines the rank; "nothing" for the base without one.
        training_sessions: of each dataset, drawn by chance. Empty: the number in `[training]`.
        rank: of adapters.
        seed: of training and sampling. Several are averaged, and their spread is reported.
    """

    title: str
    compare: str
    baseline: str | int | float
    metric: Metric = "pair_f1"
    dataset: tuple[str, ...] = ()
    student: tuple[str, ...] = ("smollm2",)
    form: tuple[Literal["list", "pairs"], ...] = ("list",)
    utilization: tuple[Utilization, ...] = ("icl",)
    formats: tuple[str, ...] = ("pattern+rule+thought",)
    teacher: tuple[str, ...] = (ANY,)
    domains: tuple[Domains, ...] = ("own",)
    strategy: tuple[SampleStrategy, ...] = ("random",)
    ratio: tuple[float, ...] | None = None
    from_: tuple[str, ...] = field(default=(NOTHING,), name="from")
    training_sessions: tuple[int, ...] | None = None
    rank: tuple[int, ...] = (RANK,)
    seed: tuple[int, ...] = (0,)


AXES = (
    "dataset",
    "student",
    "form",
    "utilization",
    "formats",
    "teacher",
    "domains",
    "strategy",
    "ratio",
    "from",
    "training_sessions",
    "rank",
    "seed",
)


class TrainingOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How all adapters of a study are trained; the names and defaults are those of `kdtui sft launch`.

    Attributes:
        learning_rate: None for the usual one, which is lower for a training that begins from an adapter.
        batch_tokens: None for the usual number, which is lower for few training sessions.
        sessions: training sessions of each dataset, drawn by chance; None for all.
    """

    epochs: int = 2
    learning_rate: float | None = None
    batch_tokens: int | None = None
    longest: int = 2048
    sessions: int | None = None


class TeacherOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """A model as a teacher of rules and thoughts; the names and defaults are those of `kdtui knowledge distill`.

    Attributes:
        address: of an endpoint and its model: URL#MODEL.
        key: the environment variable that holds its key.
        prompt_price, answer_price: of a million tokens.
        max_calls, max_cost: limits for each dataset and format; None for no limit.
        sessions: training sessions that it is asked about, drawn by chance; None for all.
    """

    address: str
    key: str = "OPENAI_API_KEY"
    prompt_price: float | None = None
    answer_price: float | None = None
    max_calls: int | None = None
    max_cost: float | None = None
    sessions: int | None = None

    @property
    def stored_name(self) -> str:
        """The name of this teacher in the knowledge that it gives."""
        from kdtui.workflows.calls.requests import teacher_name

        url, _, model = self.address.partition("#")
        return teacher_name(url, model)


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """The spec of a study.

    Attributes:
        name: of the study.
        question: its questions.
        dataset: of the questions that name none.
        split: whose sessions are answered.
        sessions: the number of answered sessions, drawn by chance; None for all.
        draw: the seed of that draw.
        training: of all adapters.
        hosts: where adapters are trained; "local" is this machine.
        teachers: models, by their names on the axis `teacher`.
    """

    name: str
    question: tuple[Question, ...]
    dataset: tuple[str, ...] = ()
    split: Split = "test"
    sessions: int | None = None
    draw: int = 0
    training: TrainingOptions = TrainingOptions()
    hosts: tuple[str, ...] = ("local",)
    teachers: dict[str, TeacherOptions] = {}

    def datasets(self) -> tuple[str, ...]:
        """Return the datasets of all questions, in the order in which they are named."""
        return tuple(dict.fromkeys(name for question in self.question for name in question.dataset))


def values_of(question: Question, axis: str) -> tuple[Any, ...]:
    """Return the values of an axis; only None if the axis is not used."""
    values = getattr(question, "from_" if axis == "from" else axis)
    return (None,) if values is None else tuple(values)


def formats_of(value: str, refuse: Any = KdtuiError) -> tuple[Format, ...]:
    """Return the formats of a value of the axis `formats`, from the plainest to the richest.

    Raises:
        KdtuiError: it names an unknown format.
    """
    if value == NONE:
        return ()
    named = [name.strip() for name in value.split("+")]
    for name in named:
        if name not in FORMATS:
            there_are = f"there are: {', '.join((NONE, *FORMATS))}, and several joined by +"
            raise refuse(f"there is no format {name!r} of knowledge; {suggestion(name, FORMATS, there_are)}")
    return tuple(format for format in FORMATS if format in named)


def as_mapping(question: Question) -> Mapping[str, tuple[Any, ...]]:
    """Return the values of each axis."""
    return {axis: values_of(question, axis) for axis in AXES}
