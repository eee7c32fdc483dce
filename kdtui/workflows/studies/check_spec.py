"""Check that a spec describes a study."""

import re
from collections.abc import Sequence
from math import inf
from typing import Any

from msgspec.structs import replace

from kdtui.distill.annotations import TEACHER as ANNOTATIONS
from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import check_address
from kdtui.workflows.studies.spec import (
    AXES,
    LONGEST_NAME,
    PRESETS,
    Question,
    Spec,
    TeacherOptions,
    formats_of,
    values_of,
)
from kdtui.workflows.studies.steps import ANY
from store.similar import suggestion

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


_LARGEST = 2**31 - 1
"""The largest integer that samplers, trainers and SQLite all take."""


MOST_CELLS = 1_000_000
"""Larger grids are refused: they are mistakes."""


def checked_spec(spec: Spec, source: str) -> Spec:
    """Return the spec with its datasets filled in, if it describes a study.

    Raises:
        KdtuiError: it does not; the message says why.
    """

    def refuse(problem: str) -> KdtuiError:
        return KdtuiError(f"{source}: {problem}")

    if not _NAME.fullmatch(spec.name):
        raise refuse(f"{spec.name!r} cannot be the name of a study; use letters, digits and . - + _")
    if len(spec.name) > LONGEST_NAME:
        raise refuse(f"the name of a study has {LONGEST_NAME} characters at most, not {len(spec.name):,}")
    if spec.name in PRESETS:
        raise refuse(f"{spec.name!r} is the name of a preset; give the study another one")
    if not spec.question:
        raise refuse("it has no question; write at least one [[question]]")
    if spec.sessions is not None and spec.sessions < 1:
        raise refuse(f"sessions must be at least 1, not {spec.sessions}")
    _check_whole("sessions", spec.sessions, 1, refuse)
    _check_whole("draw", spec.draw, 0, refuse)
    if not spec.hosts:
        raise refuse('hosts is empty; write hosts = ["local"] to train on this machine')
    if len(set(spec.hosts)) < len(spec.hosts):
        raise refuse(f"hosts has {_twice(spec.hosts)!r} twice")
    training = spec.training
    if training.sessions is not None and training.sessions < 1:
        raise refuse(f"training.sessions must be at least 1, not {training.sessions}")
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
        raise refuse("that name is reserved; choose another one")
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
            raise refuse(f"the axis {axis} is empty; leave it out, or name at least one value")
        if len(set(values)) < len(values):
            raise refuse(f"the axis {axis} has {_twice(values)!r} twice")
    for value in question.formats:
        formats_of(value, refuse)
    for ratio in question.ratio or ():
        if not 0 < ratio <= 1:
            raise refuse(f"a ratio must be above 0 and at most 1, not {ratio:g}")
    for sessions in question.training_sessions or ():
        _check_whole("training_sessions", sessions, 1, refuse)
    for rank in question.rank:
        _check_whole("a rank", rank, 1, refuse)
    for seed in question.seed:
        _check_whole("a seed", seed, 0, refuse)
    # Datasets have different sessions, and seeds are averaged.
    comparable = [axis for axis in AXES if axis not in ("dataset", "seed")]
    if question.compare not in comparable:
        there_are = f"there are: {', '.join(comparable)}"
        raise refuse(
            f"no axis {question.compare!r} can be compared; {suggestion(question.compare, comparable, there_are)}"
        )
    compared = values_of(question, question.compare)
    if question.baseline not in compared:
        raise refuse(
            f"the baseline {question.baseline!r} is not one of the values of {question.compare}: "
            f"{', '.join(map(str, compared))}"
        )
    if len(compared) < 2:
        raise refuse(f"the axis {question.compare} has one value, so there is nothing to compare")
    cells = 1
    for axis in AXES:
        cells *= len(values_of(question, axis))
    if cells > MOST_CELLS:
        raise refuse(f"its grid has {cells:,} cells; at most {MOST_CELLS:,} are allowed")
