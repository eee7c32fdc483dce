"""The fields of the forms for a distillation: what they ask for, and how their texts are read."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from re import fullmatch

from kdtui.errors import KdtuiError
from kdtui.tui.core.forms import Field
from kdtui.tui.places.distill.request import (
    Annotations,
    DistillationRequest,
    EndpointTeacher,
    Mining,
    StudentTeacher,
    Teacher,
    number_text,
)
from kdtui.workflows.model_names import check_address, is_endpoint
from store.records import FORMATS

_FORMATS = (
    ("rules and thoughts", "rule,thought"),
    ("rules", "rule"),
    ("thoughts", "thought"),
    ("patterns, mined from the bundles", "pattern"),
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

_MINING_FIELDS = (
    Field("levels", "Levels", help="Depths of the categories to mine, separated by commas."),
    Field("min_support", "Least support", help="Least share of training bundles that hold a pattern."),
    Field("max_size", "Most categories", help="In a pattern: 2 to 6."),
)
_STUDENT_FIELDS = (
    Field(
        "student",
        "Student",
        help="shipped, smollm2, patterns, a name that kdtui model ls shows, or a GGUF file: it runs here, at no cost.",
    ),
)
_ENDPOINT_FIELDS = (
    Field("url", "Address", help="Of an OpenAI-compatible endpoint: http://HOST:PORT/v1"),
    Field("model", "Model", help="Empty if the server has only one."),
    Field("key", "Variable of the key", help="The environment variable's name, not the key."),
    Field("prompt_price", "Price of prompts", help="Of a million tokens, in any currency; if empty, cost is unknown."),
    Field("answer_price", "Price of answers", help="The same; 0 if it is free."),
    Field("max_calls", "Calls at most", help="Calls to pay for; empty for no limit."),
    Field("max_cost", "Cost at most", help="At these prices; empty for no limit."),
    Field("concurrency", "Calls at a time"),
    Field("per_minute", "Calls a minute", help="At most; empty for no limit."),
    Field("tokens_per_minute", "Tokens a minute", help="At most, by an estimate; empty for no limit."),
    Field("timeout", "Seconds for a call"),
    Field("answer_tokens", "Tokens of an answer", help="At most, including reasoning; empty for 1024."),
    Field("retry_failed", "Retry failed calls", "switch", help="Pay again for calls whose answer was useless."),
)

_LARGEST = 2**63 - 1
"""The largest number that SQLite can store."""


def common_fields(before: Mapping[str, str], datasets: Sequence[str]) -> list[Field]:
    """Return the fields of the first form, with earlier values."""
    fields = list(_with_values(_COMMON_FIELDS, before))
    fields[0] = replace(fields[0], options=[(name, name) for name in datasets])
    return fields


def teacher_fields(teacher: Teacher) -> list[Field]:
    """Return the fields of the second form, with the options of a teacher; empty for one without options."""
    return list(_with_values(_fields_of(teacher), _values_of(teacher)))


def fields_of_request(request: DistillationRequest) -> dict[str, str]:
    """Return the texts of the fields of both forms that describe a request."""
    kinds: dict[type[Teacher], str] = {
        Annotations: "annotations",
        StudentTeacher: "student",
        EndpointTeacher: "endpoint",
    }
    kind = kinds.get(type(request.teacher))
    return {
        "dataset": request.dataset,
        "formats": ",".join(request.formats),
        **({} if kind is None else {"teacher": kind}),
        "limit": number_text(request.limit),
        "seed": number_text(request.seed) if request.seed else "",
        "replace": "yes" if request.replaces else "",
        **_values_of(request.teacher),
    }


def request_of_fields(values: Mapping[str, str], before: Mapping[str, str]) -> DistillationRequest:
    """Read the first form.

    Args:
        before: earlier values of the second form; those that cannot be read are the default ones.

    Raises:
        KdtuiError: a value cannot be read, or values do not go together.
    """
    texts = _Texts(values, _COMMON_FIELDS)
    limit, seed = texts.optional_whole_number("limit", 1), texts.optional_whole_number("seed", 0)
    if seed is not None and limit is None:
        raise KdtuiError("the seed draws sessions; say how many at most")
    chosen = values["formats"].split(",")
    kinds: dict[str, Teacher] = {
        "annotations": Annotations(),
        "student": StudentTeacher(),
        "endpoint": EndpointTeacher(),
    }
    teacher = Mining() if chosen == ["pattern"] else kinds[values["teacher"]]
    # The second form asks for what cannot be read.
    with suppress(KdtuiError):
        teacher = read_teacher({**_values_of(teacher), **before}, teacher)
    return DistillationRequest(
        values["dataset"],
        tuple(format for format in FORMATS if format in chosen),
        teacher,
        limit,
        seed or 0,
        bool(values["replace"]),
    )


def read_teacher(values: Mapping[str, str], teacher: Teacher) -> Teacher:
    """Read the second form: the options of this kind of teacher.

    Raises:
        KdtuiError: a value cannot be read, or values do not go together.
    """
    texts = _Texts(values, _fields_of(teacher))
    match teacher:
        case Annotations():
            return teacher
        case Mining():
            return _read_mining(texts)
        case StudentTeacher():
            return _read_student(texts)
        case EndpointTeacher():
            return _read_endpoint(texts)


def _read_mining(texts: "_Texts") -> Mining:
    levels = [each.strip() for each in texts["levels"].split(",")]
    if not all(fullmatch("[1-9][0-9]?", each) for each in levels):
        raise KdtuiError("levels are whole numbers from 1 to 99, such as 2,3,4")
    return Mining(
        tuple(map(int, levels)),
        texts.number("min_support", 0, 1),
        texts.whole_number("max_size", 2, 6),
    )


def _read_student(texts: "_Texts") -> StudentTeacher:
    student = texts["student"]
    if not student:
        raise KdtuiError("say which student to ask")
    if is_endpoint(student):
        raise KdtuiError("an endpoint is another kind of teacher; choose it in the form before this one")
    return StudentTeacher(student)


def _read_endpoint(texts: "_Texts") -> EndpointTeacher:
    url, key = texts["url"], texts["key"]
    if not url.startswith(("http://", "https://")):
        raise KdtuiError("the address begins with http:// or https://")
    if "#" in url:
        raise KdtuiError("the name of the model has a field of its own")
    check_address(f"{url}#{texts['model']}")
    if not (key.isidentifier() and key.isascii()):
        raise KdtuiError("the name of a variable has letters, digits and underscores; the key itself is not asked for")
    teacher = EndpointTeacher(
        url,
        texts["model"] or None,
        key,
        prompt_price=texts.optional_number("prompt_price", 0, 1e9),
        answer_price=texts.optional_number("answer_price", 0, 1e9),
        max_calls=texts.optional_whole_number("max_calls", 0),
        max_cost=texts.optional_number("max_cost", 0, 1e12),
        concurrency=texts.whole_number("concurrency", 1, 1000),
        per_minute=texts.optional_whole_number("per_minute", 1),
        tokens_per_minute=texts.optional_whole_number("tokens_per_minute", 1),
        timeout=texts.number("timeout", 0.1, 1e6),
        answer_tokens=texts.optional_whole_number("answer_tokens", 1),
        retry_failed=bool(texts["retry_failed"]),
    )
    if teacher.max_cost is not None and teacher.prompt_price is None and teacher.answer_price is None:
        raise KdtuiError("a limit of the cost needs prices; 0 is the price of a free model")
    return teacher


class _Texts:
    """The texts of fields, and how they are read. Errors name the label of the field."""

    def __init__(self, values: Mapping[str, str], fields: Sequence[Field]) -> None:
        self._values = values
        self._labels = {each.name: each.label for each in fields}

    def __getitem__(self, name: str) -> str:
        return self._values[name].strip()

    def number(self, name: str, least: float, most: float) -> float:
        try:
            number = float(self[name])
        except ValueError:
            raise KdtuiError(f"{self._labels[name]}: enter a number") from None
        self._check(name, "a number", number, least, most)
        return number

    def whole_number(self, name: str, least: int, most: int = _LARGEST) -> int:
        try:
            number = int(self[name])
        except ValueError:
            raise KdtuiError(f"{self._labels[name]}: enter a whole number") from None
        self._check(name, "a whole number", number, least, most)
        return number

    def optional_number(self, name: str, least: float, most: float) -> float | None:
        return self.number(name, least, most) if self[name] else None

    def optional_whole_number(self, name: str, least: int) -> int | None:
        return self.whole_number(name, least) if self[name] else None

    def _check(self, name: str, kind: str, number: float, least: float, most: float) -> None:
        if not least <= number <= most:
            limit = f"of {least:g} or more" if number < least else f"of {int(most):,} or less"
            raise KdtuiError(f"{self._labels[name]}: enter {kind} {limit}")


def _fields_of(teacher: Teacher) -> tuple[Field, ...]:
    match teacher:
        case Mining():
            return _MINING_FIELDS
        case Annotations():
            return ()
        case StudentTeacher():
            return _STUDENT_FIELDS
        case EndpointTeacher():
            return _ENDPOINT_FIELDS


def _values_of(teacher: Teacher) -> dict[str, str]:
    """Return the options of a teacher as texts: its fields have the names of its attributes."""
    return {each.name: _text(getattr(teacher, each.name)) for each in _fields_of(teacher)}


def _text(value: "str | bool | float | tuple[int, ...] | None") -> str:
    match value:
        case bool():
            return "yes" if value else ""
        case str():
            return value
        case tuple():
            return ",".join(map(str, value))
    return number_text(value)


def _with_values(fields: Sequence[Field], values: Mapping[str, str]) -> Iterator[Field]:
    for each in fields:
        yield replace(each, value=values.get(each.name, each.value))
