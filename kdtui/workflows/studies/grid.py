"""The cells of a question: its grid, without settings that make no difference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from kdtui.workflows.studies.spec import AXES, NOTHING, Question, Spec, formats_of, values_of
from kdtui.workflows.studies.steps import ANY, EvaluationStep, MixtureStep, SampleStep, TrainingStep
from models.sft.job import CONTINUED_LEARNING_RATE, LEARNING_RATE
from store.records import Format

LEAST_TO_CALIBRATE, LEAST_TO_ROUTE = 20, 2
"""Validation sessions that are needed. Defined here since their own modules import slowly; a test compares them."""

_TRAINED = ("sft", "sft+icl", "routed", "merged")
"""Utilizations that need adapters."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A position in the grid of a question, and its cell. Several positions can have the same cell.

    Attributes:
        at: the value of each axis.
    """

    at: Mapping[str, Any]
    cell: EvaluationStep


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid of a question.

    Attributes:
        left_out: why some positions have no cell, each reason once.
    """

    question: Question
    arms: list[Arm]
    left_out: list[str]


def grids(spec: Spec, validation: Mapping[str, int]) -> list[Grid]:
    """Return the grid of each question of a study.

    Args:
        validation: validation sessions with a pair of products, by dataset.
    """
    return [_grid(spec, question, validation) for question in spec.question]


def _grid(spec: Spec, question: Question, validation: Mapping[str, int]) -> Grid:
    arms = []
    left_out: dict[str, None] = {}
    for values in product(*(values_of(question, axis) for axis in AXES)):
        at = dict(zip(AXES, values, strict=True))
        cell = _cell(spec, at, validation)
        if isinstance(cell, str):
            left_out[cell] = None
        else:
            arms.append(Arm(at, cell))
    return Grid(question, arms, list(left_out))


def _cell(spec: Spec, at: Mapping[str, Any], validation: Mapping[str, int]) -> EvaluationStep | str:
    """Return the cell of a position in the grid, or the reason why there is none."""
    dataset, utilization = at["dataset"], at["utilization"]
    formats = formats_of(at["formats"])
    shown = formats if utilization in ("icl", "sft+icl", "merged") else ()
    datasets = _of_domains(spec.datasets(), dataset, at["domains"])
    if not datasets and (shown or utilization in _TRAINED):
        return f"{at['domains']} domains of {dataset}: the study has no other dataset"
    training = mixture = None
    if utilization in ("routed", "merged") and formats:
        if utilization == "routed" and (why := _why_not_routed(dataset, at["form"], validation)) is not None:
            return why
        adapter_formats: list[tuple[Format, ...]] = [(), *((format,) for format in formats)]
        mixture = MixtureStep(
            dataset, utilization, tuple(_training(spec, datasets, each, at) for each in adapter_formats)
        )
    elif utilization in _TRAINED:
        training = _training(spec, datasets, formats, at)
    return EvaluationStep(
        dataset,
        spec.split,
        spec.sessions,
        0 if spec.sessions is None else spec.draw,
        at["student"],
        at["form"],
        shown,
        _sample(spec, datasets, shown, at, is_named=datasets != (dataset,)),
        training,
        # A student writes a list as it is. Only answers about pairs have a threshold.
        is_calibrated=at["form"] == "pairs" and validation[dataset] >= LEAST_TO_CALIBRATE,
        mixture=mixture,
    )


def _why_not_routed(dataset: str, form: str, validation: Mapping[str, int]) -> str | None:
    if form == "pairs":
        return "routed students that are asked about pairs: a router takes adapters that write lists"
    if validation[dataset] < LEAST_TO_ROUTE:
        return f"routed students on {dataset}: comparing adapters takes {LEAST_TO_ROUTE} validation sessions"
    return None


def _training(
    spec: Spec, datasets: tuple[str, ...], formats: tuple[Format, ...], at: Mapping[str, Any]
) -> TrainingStep:
    options = spec.training
    start = None if at["from"] == NOTHING else str(at["from"])
    usual = LEARNING_RATE if start is None else CONTINUED_LEARNING_RATE
    return TrainingStep(
        datasets,
        at["form"],
        formats,
        _sample(spec, datasets, formats, at),
        at["student"],
        at["rank"] if start is None else 0,
        options.epochs,
        usual if options.learning_rate is None else options.learning_rate,
        options.batch_tokens,
        options.longest,
        options.sessions if at["training_sessions"] is None else at["training_sessions"],
        at["seed"],
        start,
    )


def _of_domains(datasets: Sequence[str], own: str, domains: str) -> tuple[str, ...]:
    match domains:
        case "own":
            return (own,)
        case "other":
            return tuple(each for each in datasets if each != own)
        case _:
            return tuple(datasets) if len(datasets) > 1 else ()


def _teacher(spec: Spec, formats: Sequence[Format], at: Mapping[str, Any]) -> str:
    """Return the teacher of rules and thoughts; "any" if there are only patterns, which are mined."""
    if not set(formats) - {"pattern"}:
        return ANY
    teacher = str(at["teacher"])
    options = spec.teachers.get(teacher)
    return teacher if options is None else options.stored_name


def _sample(
    spec: Spec,
    datasets: tuple[str, ...],
    formats: tuple[Format, ...],
    at: Mapping[str, Any],
    *,
    is_named: bool = False,
) -> SampleStep | None:
    """Return the sample that knowledge is taken from; None for all knowledge.

    Args:
        is_named: whether all knowledge needs a sample too: only a sample can show knowledge of other datasets.
    """
    teacher, ratio = _teacher(spec, formats, at), at["ratio"]
    if not formats or (ratio is None and teacher == ANY and not is_named):
        return None
    if ratio is None or ratio == 1:
        # If everything is taken, its order makes no difference.
        return SampleStep(datasets, formats, teacher, "random", 1.0, 0)
    student = at["student"] if at["strategy"] == "difficulty" else None
    return SampleStep(datasets, formats, teacher, at["strategy"], ratio, at["seed"], student)
