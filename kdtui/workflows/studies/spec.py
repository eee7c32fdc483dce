"""What a study asks: questions, each with a grid of settings, read from a TOML file or from a preset."""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from kdtui.distill.annotations import TEACHER as ANNOTATIONS
from kdtui.distill.sampling import SampleStrategy
from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import check_address
from kdtui.workflows.studies.steps import ANY
from store.records import FORMATS, Format, Split
from store.similar import suggestion

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

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")

_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")

PRESETS = ("rq1", "rq2", "rq3", "all")

_LONGEST_NAME = 100
"""Characters: reports are files of that name."""

_LARGEST = 2**31 - 1
"""Of whole numbers: samplers, trainers and SQLite all take them."""

MOST_CELLS = 1_000_000
"""A grid of more is refused: it is a slip of the pen."""


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
        from kdtui.workflows.calls.asker import teacher_name

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


def read_spec(path: Path, datasets: Sequence[str] = ()) -> Spec:
    """A study from a TOML file.

    Args:
        datasets: of the questions that name none, instead of those in the file.

    Raises:
        KdtuiError: the file cannot be read, or does not describe a study; it says where, and what is expected.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise KdtuiError(f"{path}: cannot be read: {reason}") from error
    return parsed(text, str(path), datasets)


def parsed(text: str, source: str, datasets: Sequence[str] = ()) -> Spec:
    """A study from the text of a TOML file.

    Args:
        source: where the text is from, for messages.

    Raises:
        KdtuiError: as `read_spec`.
    """
    spec = _decoded(text, source)
    return checked(replace(spec, dataset=tuple(datasets)) if datasets else spec, source)


def preset(name: str, datasets: Sequence[str]) -> Spec:
    """A study that comes with the program.

    Args:
        name: one of `PRESETS`; `all` asks the questions of the others.
        datasets: what it is about.

    Raises:
        KdtuiError: there is no such preset, or no dataset is named.
    """
    if name not in PRESETS:
        raise KdtuiError(f"there is no preset {name!r}; {suggestion(name, PRESETS, _there_are(PRESETS))}")
    if not datasets:
        raise KdtuiError(f"say which dataset the study {name} is about, with --dataset")
    parts = [each for each in PRESETS if each != "all"] if name == "all" else [name]
    specs = [_decoded((files(__package__) / "presets" / f"{part}.toml").read_text("utf-8"), part) for part in parts]
    questions = tuple(question for spec in specs for question in spec.question)
    whole = replace(
        specs[0],
        name=_preset_name(name, datasets),
        question=questions,
        dataset=tuple(datasets),
    )
    return checked(whole, f"preset {name}")


def _preset_name(name: str, datasets: Sequence[str]) -> str:
    """What a preset is called on some datasets: others have another name.

    Where the names of the datasets are too long for it, or have characters that it cannot have, a part of their hash
    stands for what is left out.
    """
    plain = f"{name}-{'+'.join(datasets)}"
    if all(_PLAIN.fullmatch(each) for each in datasets) and len(plain) <= _LONGEST_NAME:
        return plain
    known = sha256(msgspec.json.encode(datasets)).hexdigest()[:6]
    readable = "+".join(filter(None, (_NOT_PLAIN.sub("-", each).strip("-") for each in datasets)))
    most = _LONGEST_NAME - len(name) - len(known) - 2
    return "-".join(filter(None, [name, readable[:most].rstrip("-+."), known]))


def changed(spec: Spec, source: str = "the study", **changes: Any) -> Spec:
    """The spec with other values for some of its fields; those of questions are set in every question.

    Raises:
        KdtuiError: as `read_spec`.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    of_questions = {name: given.pop(name) for name in (*AXES, "metric") if name in given and name != "dataset"}
    if "dataset" in given:
        of_questions["dataset"] = given["dataset"]
    questions = tuple(replace(question, **of_questions) for question in spec.question)
    return checked(replace(spec, question=questions, **given), source)


def to_toml(spec: Spec) -> str:
    """The spec as a TOML file that reads the same."""
    lines: list[str] = []
    content = msgspec.to_builtins(spec)
    tables = {"[training]": content.pop("training")}
    tables |= {f"[teachers.{_key(name)}]": options for name, options in content.pop("teachers").items()}
    questions = content.pop("question")
    lines += _fields(content)
    for heading, fields in [*tables.items(), *(("[[question]]", question) for question in questions)]:
        lines += ["", heading, *_fields(fields)]
    return "\n".join(lines) + "\n"


def _fields(values: Mapping[str, object]) -> list[str]:
    # What is None or empty is left out: it is the default.
    return [f"{name} = {_value(value)}" for name, value in values.items() if value is not None and value != []]


def _there_are(names: Sequence[str]) -> str:
    return f"there are: {', '.join(names)}"


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else _value(name)


def _value(value: object) -> str:
    # The strings, numbers and lists of JSON are those of TOML, but for the control character DEL.
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")


def _decoded(text: str, source: str) -> Spec:
    try:
        return msgspec.toml.decode(text, type=Spec)
    except msgspec.ValidationError as error:
        raise KdtuiError(f"{source}: {_in_words(str(error))}") from error
    except msgspec.DecodeError as error:
        raise KdtuiError(f"{source}: not TOML: {error}") from error


def _in_words(problem: str) -> str:
    """What msgspec says of a field, with the names that there are where an unknown one was met."""
    if "unknown field" in problem:
        name = problem.split("`")[1]
        inside = "question" in problem.rpartition(" - at ")[2]
        known = Question.__struct_fields__ if inside else Spec.__struct_fields__
        for table, options in (("training", TrainingOptions), ("teachers", TeacherOptions)):
            if table in problem.rpartition(" - at ")[2]:
                known = options.__struct_fields__
        return f"there is no field {name!r} here; {suggestion(name, known, _there_are(known))}"
    what, _, place = problem.partition(" - at ")
    for theirs, ours in _TYPES.items():
        what = what.replace(f"`{theirs}", f"`{ours}")
    what = what[0].lower() + what[1:]
    if what.startswith("object missing required field"):
        what = what.replace("object missing required field", "there is no field")
    return f"{where}: {what}" if (where := _where(place.strip("`"))) else what


_TYPES = {"array": "list", "object": "table", "str": "string", "int": "integer", "float": "number", "bool": "boolean"}
"""What TOML calls the types that msgspec names."""


def _where(place: str) -> str:
    """A place such as `$.question[0].rank[1]`, counted from 1 as everywhere: question 1, rank, value 2."""
    found = re.sub(r"^\$\.?", "", place)
    found = re.sub(r"^question\[(\d+)\]\.?", lambda number: f"question {int(number[1]) + 1}: ", found)
    found = re.sub(r"\[(\d+)\]", lambda number: f", value {int(number[1]) + 1}", found)
    return found.replace("[...]", "").removesuffix(": ")


def checked(spec: Spec, source: str) -> Spec:
    """The spec, its datasets filled in, if it describes a study.

    Raises:
        KdtuiError: it does not; it says why.
    """

    def refuse(problem: str) -> KdtuiError:
        return KdtuiError(f"{source}: {problem}")

    if not _NAME.fullmatch(spec.name):
        raise refuse(f"{spec.name!r} cannot be the name of a study; use letters, digits and . - + _")
    if len(spec.name) > _LONGEST_NAME:
        raise refuse(f"the name of a study has {_LONGEST_NAME} characters at most, not {len(spec.name):,}")
    if spec.name in PRESETS:
        raise refuse(f"{spec.name!r} is the name of a preset; give the study another one")
    if not spec.question:
        raise refuse("it asks nothing; write one [[question]] at least")
    if spec.sessions is not None and spec.sessions < 1:
        raise refuse(f"sessions is how many are answered, not {spec.sessions}")
    _check_whole("sessions", spec.sessions, 1, refuse)
    _check_whole("draw", spec.draw, 0, refuse)
    if not spec.hosts:
        raise refuse('hosts is empty; write hosts = ["local"] to train here')
    if len(set(spec.hosts)) < len(spec.hosts):
        raise refuse(f"hosts has {_twice(spec.hosts)!r} twice")
    training = spec.training
    if training.sessions is not None and training.sessions < 1:
        raise refuse(f"training.sessions is how many are trained on, not {training.sessions}")
    for name in ("epochs", "batch_tokens", "longest", "sessions"):
        _check_whole(f"training.{name}", getattr(training, name), 1, refuse)
    if training.learning_rate is not None and not 0 < training.learning_rate < 1:
        raise refuse(f"training.learning_rate is between 0 and 1, not {training.learning_rate:g}")
    for name, teacher in spec.teachers.items():
        _check_teacher(name, teacher, lambda problem, name=name: refuse(f"teachers.{name}: {problem}"))
    questions = []
    for number, given in enumerate(spec.question, 1):
        question = given if given.dataset else replace(given, dataset=spec.dataset)
        where = f"question {number}"
        if not question.dataset:
            raise refuse(f"{where} names no dataset; write dataset = [...] there, or use --dataset")
        _check_question(question, lambda problem, where=where: refuse(f"{where}: {problem}"))
        questions.append(question)
    return replace(spec, question=tuple(questions))


def _check_whole(name: str, value: int | None, least: int, refuse: Any) -> None:
    if value is not None and value < least:
        raise refuse(f"{name} is at least {least}, not {value}")
    if value is not None and value > _LARGEST:
        raise refuse(f"{name} is at most {_LARGEST:,}, not {value:,}")


def _twice(values: Sequence[Any]) -> Any:
    return next(value for value in values if values.count(value) > 1)


def _check_teacher(name: str, teacher: TeacherOptions, refuse: Any) -> None:
    if name in (ANY, ANNOTATIONS):
        raise refuse("that name is taken; call it otherwise")
    url, _, model = teacher.address.partition("#")
    try:
        check_address(url)
    except KdtuiError as problem:
        raise refuse(str(problem)) from problem
    if not model:
        raise refuse("the address names no model; write URL#MODEL")
    _check_whole("sessions", teacher.sessions, 1, refuse)
    _check_whole("max_calls", teacher.max_calls, 0, refuse)
    for option in ("prompt_price", "answer_price", "max_cost"):
        value = getattr(teacher, option)
        if value is not None and not 0 <= value < inf:
            raise refuse(f"{option} is a number of at least 0, not {value:g}")


def _check_question(question: Question, refuse: Any) -> None:
    for axis in AXES:
        values = values_of(question, axis)
        if not values:
            raise refuse(f"the axis {axis} is empty; leave it out, or name one value at least")
        if len(set(values)) < len(values):
            raise refuse(f"the axis {axis} has {_twice(values)!r} twice")
    for value in question.formats:
        formats_of(value, refuse)
    for ratio in question.ratio or ():
        if not 0 < ratio <= 1:
            raise refuse(f"a ratio is above 0 and at most 1, not {ratio:g}")
    for sessions in question.training_sessions or ():
        _check_whole("training_sessions", sessions, 1, refuse)
    for rank in question.rank:
        _check_whole("a rank", rank, 1, refuse)
    for seed in question.seed:
        _check_whole("a seed", seed, 0, refuse)
    # Datasets have sessions of their own, and seeds are averaged over.
    comparable = [axis for axis in AXES if axis not in ("dataset", "seed")]
    if question.compare not in comparable:
        there_are = f"there are: {', '.join(comparable)}"
        raise refuse(
            f"no axis {question.compare!r} can be compared; {suggestion(question.compare, comparable, there_are)}"
        )
    compared = values_of(question, question.compare)
    if question.baseline not in compared:
        raise refuse(
            f"the baseline {question.baseline!r} is none of the values of {question.compare}: "
            f"{', '.join(map(str, compared))}"
        )
    if len(compared) < 2:
        raise refuse(f"the axis {question.compare} has one value, so there is nothing to compare")
    cells = 1
    for axis in AXES:
        cells *= len(values_of(question, axis))
    if cells > MOST_CELLS:
        raise refuse(f"its grid has {cells:,} cells; {MOST_CELLS:,} are the most")


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
            raise refuse(f"there is no format {name!r} of knowledge; {suggestion(name, FORMATS, there_are)}")
    return tuple(format for format in FORMATS if format in named)


def as_mapping(question: Question) -> Mapping[str, tuple[Any, ...]]:
    """The values of each axis."""
    return {axis: values_of(question, axis) for axis in AXES}
