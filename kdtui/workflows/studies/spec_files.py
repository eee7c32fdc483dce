"""Read the spec of a study from a TOML file or a preset, change it, and write it."""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from kdtui.errors import EXCESSIVE_TOML, KdtuiError
from kdtui.workflows.studies.check_spec import checked_spec
from kdtui.workflows.studies.spec import AXES, LONGEST_NAME, PRESETS, Question, Spec, TeacherOptions, TrainingOptions
from store.similar import suggestion

_PLAIN = re.compile(r"[A-Za-z0-9._-]+")


_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


def read_spec(path: Path, datasets: Sequence[str] = ()) -> Spec:
    """Read a study from a TOML file.

    Args:
        datasets: of the questions that name none, in place of those in the file.

    Raises:
        KdtuiError: the file cannot be read, or does not describe a study; the message says where and why.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise KdtuiError(f"{path}: cannot be read: {reason}") from error
    return parsed_spec(text, str(path), datasets)


def parsed_spec(text: str, source: str, datasets: Sequence[str] = ()) -> Spec:
    """Parse a study from TOML.

    Args:
        source: where the text is from, for messages.

    Raises:
        KdtuiError: as `read_spec`.
    """
    spec = _decoded(text, source)
    return checked_spec(replace(spec, dataset=tuple(datasets)) if datasets else spec, source)


def load_preset(name: str, datasets: Sequence[str]) -> Spec:
    """Return a study that comes with the program.

    Args:
        name: one of `PRESETS`; `all` has the questions of all others.
        datasets: of the study.

    Raises:
        KdtuiError: there is no such preset, or no dataset is named.
    """
    if name not in PRESETS:
        raise KdtuiError(f"there is no preset {name!r}; {suggestion(name, PRESETS, _there_are(PRESETS))}")
    if not datasets:
        raise KdtuiError(f"the study {name} needs a dataset; name one with --dataset")
    parts = [each for each in PRESETS if each != "all"] if name == "all" else [name]
    specs = [_decoded((files(__package__) / "presets" / f"{part}.toml").read_text("utf-8"), part) for part in parts]
    questions = tuple(question for spec in specs for question in spec.question)
    whole = replace(
        specs[0],
        name=_preset_name(name, datasets),
        question=questions,
        dataset=tuple(datasets),
    )
    return checked_spec(whole, f"preset {name}")


def _preset_name(name: str, datasets: Sequence[str]) -> str:
    """Return the name of a preset on some datasets. Other datasets give another name.

    If the names of the datasets are too long or have characters that are not allowed, a part of their hash replaces
    what is left out.
    """
    plain = f"{name}-{'+'.join(datasets)}"
    if all(_PLAIN.fullmatch(each) for each in datasets) and len(plain) <= LONGEST_NAME:
        return plain
    known = sha256(msgspec.json.encode(datasets)).hexdigest()[:6]
    readable = "+".join(filter(None, (_NOT_PLAIN.sub("-", each).strip("-") for each in datasets)))
    most = LONGEST_NAME - len(name) - len(known) - 2
    return "-".join(filter(None, [name, readable[:most].rstrip("-+."), known]))


def changed_spec(spec: Spec, source: str = "the study", **changes: Any) -> Spec:
    """Return the spec with other values for some fields. Fields of questions are set in every question.

    Raises:
        KdtuiError: as `read_spec`.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    of_questions = {name: given.pop(name) for name in (*AXES, "metric") if name in given and name != "dataset"}
    if "dataset" in given:
        of_questions["dataset"] = given["dataset"]
    questions = tuple(replace(question, **of_questions) for question in spec.question)
    return checked_spec(replace(spec, question=questions, **given), source)


def to_toml(spec: Spec) -> str:
    """Write the spec as TOML that reads the same."""
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
    # None and empty values are left out: they are the defaults.
    return [f"{name} = {_value(value)}" for name, value in values.items() if value is not None and value != []]


def _there_are(names: Sequence[str]) -> str:
    return f"there are: {', '.join(names)}"


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else _value(name)


def _value(value: object) -> str:
    # JSON and TOML write strings, numbers and lists alike, except for the control character DEL.
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")


def _decoded(text: str, source: str) -> Spec:
    try:
        return msgspec.toml.decode(text, type=Spec)
    except msgspec.ValidationError as error:
        raise KdtuiError(f"{source}: {_in_words(str(error))}") from error
    except msgspec.DecodeError as error:
        raise KdtuiError(f"{source}: not TOML: {error}") from error
    except (ValueError, RecursionError) as error:
        raise KdtuiError(f"{source}: {EXCESSIVE_TOML}") from error


def _in_words(problem: str) -> str:
    """Rewrite an error of msgspec in plain words; for an unknown field, list the known ones."""
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
"""TOML's names for the types that msgspec names."""


def _where(place: str) -> str:
    """Rewrite a place such as `$.question[0].rank[1]`, counting from 1: question 1, rank, value 2."""
    text = re.sub(r"^\$\.?", "", place)
    text = re.sub(r"^question\[(\d+)\]\.?", lambda number: f"question {int(number[1]) + 1}: ", text)
    text = re.sub(r"\[(\d+)\]", lambda number: f", value {int(number[1]) + 1}", text)
    return text.replace("[...]", "").removesuffix(": ")
