"""What a study asks: questions, each with a grid of settings, read from a TOML file or from a preset."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

from msgspec import Struct, field

from kdtui.distill.sampling import SampleStrategy
from kdtui.errors import KdtuiError
from kdtui.workflows.studies.steps import ANY
from store.records import FORMATS, Format, Split
from store.similar import meant

Utilization: TypeAlias = Literal["zero-shot", "icl", "sft", "sft+icl", "routed", "merged"]
"""How a student uses knowledge: not at all, in its prompt, by training with it, or both."""
UTILIZATIONS: tuple[Utilization, ...] = get_args(Utilization)

Domains: TypeAlias = Literal["own", "other", "pooled"]
"""Whose training sessions a student is trained on, and whose knowledge it is shown: those of the dataset, of the other
datasets, or of all."""
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
"""Characters: reports are files of that name."""


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """A question: what the values of one axis do, for each combination of the others.

    Attributes:
        title: the question in words.
        compare: the axis whose values are compared.
        baseline: the value of that axis that the others are compared with.
        metric: by which they are compared.
        dataset: whose sessions are answered; empty for those of the study.
        student: base models, as `kdtui evaluate --student` takes them.
        form: what a student is asked: for a list of bundles, or about each pair of products. What an untrained model
            answers about pairs is worth little.
        utilization: how the knowledge is used; "routed": by adapters, one for each of the formats and one without any,
            of which a router chooses one for each session; "merged": by the mean of these adapters.
        formats: of the knowledge, several joined by "+"; "none" for none.
        teacher: whose rules and thoughts; "any" for all that are kept.
        domains: whose training sessions a student is trained on, and whose knowledge it is shown.
        strategy: by which samples of knowledge are drawn.
        ratio: the share of the knowledge that is used. Empty: all of it, not sampled.
        from_: the adapter that a training begins from, which says the rank; "nothing" for the base alone.
        training_sessions: how many sessions of each dataset are trained on, drawn by chance. Empty: the number in
            `[training]`.
        rank: of adapters.
        seed: of training and sampling. Several are averaged over, and their spread is told.
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
    rank: tuple[int, ...] = (16,)
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
        sessions: training sessions of each dataset, drawn by chance; None for all.
    """

    epochs: int = 2
    learning_rate: float | None = None
    batch_tokens: int = 2048
    longest: int = 2048
    sessions: int | None = None


class TeacherOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """A model that is asked for rules and thoughts; the names and defaults are those of `kdtui knowledge distill`.

    Attributes:
        address: of an endpoint and its model: URL#MODEL.
        key: the environment variable that holds its key.
        prompt_price, answer_price: of a million tokens.
        max_calls, max_cost: that may be paid for each dataset and format; None where it does not matter.
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
        """What the knowledge that it gives calls its teacher."""
        from kdtui.workflows.calls.requests import teacher_name

        url, _, model = self.address.partition("#")
        return teacher_name(url, model)


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """A study as it is written down.

    Attributes:
        name: what it is called.
        question: what it asks.
        dataset: of the questions that name none.
        split: whose sessions are answered.
        sessions: how many of them, drawn by chance; None for all.
        draw: the seed by which they are drawn.
        training: of all adapters.
        hosts: where adapters are trained; "local" is here.
        teachers: those that are models, by the names that the axis `teacher` has for them.
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
        """All that are answered, in the order in which they are named."""
        return tuple(dict.fromkeys(name for question in self.question for name in question.dataset))


def values_of(question: Question, axis: str) -> tuple[Any, ...]:
    """The values of an axis; one of None where the axis is not used."""
    values = getattr(question, "from_" if axis == "from" else axis)
    return (None,) if values is None else tuple(values)


def formats_of(value: str, refuse: Any = KdtuiError) -> tuple[Format, ...]:
    """The formats that a value of the axis `formats` names, in the order from the plainest to the richest.

    Raises:
        KdtuiError: it names another.
    """
    if value == NONE:
        return ()
    named = [name.strip() for name in value.split("+")]
    for name in named:
        if name not in FORMATS:
            there_are = f"there are: {', '.join((NONE, *FORMATS))}, and several joined by +"
            raise refuse(f"there is no format {name!r} of knowledge; {meant(name, FORMATS, there_are)}")
    return tuple(format for format in FORMATS if format in named)


def as_mapping(question: Question) -> Mapping[str, tuple[Any, ...]]:
    """The values of each axis."""
    return {axis: values_of(question, axis) for axis in AXES}
