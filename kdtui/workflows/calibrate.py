"""How far a student's judgement can be trusted, and which strategy suits it: found out where the truth is known.

Every strategy is fitted and judged on the same sessions, each session by a fit on the others, so that none gains by its
number of weights. The fastest of those that are as good as the best is chosen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan, sqrt
from statistics import mean, stdev
from time import perf_counter
from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np
import numpy.typing as npt
from sqlite_utils import Database

from kdtui.bundling.metrics import pair_f1
from kdtui.bundling.threshold import best_threshold
from kdtui.bundling.truth import true_bundles
from kdtui.errors import KdtuiError
from kdtui.workflows.students import PATTERNS, check_settings, is_endpoint, open_model
from models.answers import Answered, StrategyName, Task
from models.calibration import (
    BundleCalibration,
    Calibration,
    PairCalibration,
    expected_calibration_error,
    fit_bundles,
    fit_pairs,
)
from models.clustering import Matrix, likely_bundles
from models.strategies import PairStrategy, make_strategy
from store.calibrations import StoredCalibration, replace_calibrations
from store.datasets import iter_sessions
from store.records import RunSettings, Session

if TYPE_CHECKING:
    from models.student import Student

LEAST_SESSIONS = 20
"""Fewer cannot tell one strategy from another."""

_FOLDS = 5
_TIMED = 16
"""Sessions that a strategy answers whole, to see how long it takes."""

Truth = list[frozenset[int]]
Found = list[tuple[float, tuple[int, ...]]]
"""Bundles with the probability that the model gives them."""


@dataclass(frozen=True, slots=True)
class SessionJudged:
    """A strategy has judged another session."""

    strategy: StrategyName


@dataclass(frozen=True, slots=True)
class Calibrated:
    """All strategies have been calibrated, and the results are stored."""

    results: list[StoredCalibration]


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a strategy made of the sessions, each by a fit on the others."""

    calibration: Calibration
    f1: list[float]
    error: float


def sessions_to_learn_from(db: Database, dataset: str, limit: int | None) -> list[Session]:
    """The validation sessions of a dataset.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: there are too few.
    """
    sessions = [each for each in iter_sessions(db, dataset, split="valid", limit=limit) if len(each.items) > 1]
    if len(sessions) < LEAST_SESSIONS:
        raise KdtuiError(
            f"dataset {dataset!r} has {len(sessions)} validation sessions to calibrate on; {LEAST_SESSIONS} are needed"
        )
    return sessions


def calibrate(
    db: Database,
    dataset: str,
    settings: RunSettings,
    strategies: Sequence[StrategyName],
    sessions: Sequence[Session],
) -> Iterator[SessionJudged | Calibrated]:
    """Calibrate strategies of a student on sessions whose bundles are known, and choose one.

    Raises:
        KdtuiError: the student is no language model, or cannot be used as the settings say.
        ModelError: the model cannot be loaded, or fails.
    """
    check_settings(settings, dataset)
    if settings.student == PATTERNS:
        raise KdtuiError("the pattern student is calibrated whenever it learns; name another with --student")
    if is_endpoint(settings.student):
        raise KdtuiError("an endpoint answers in its own way, so there is no strategy to choose")
    truths = {session.id: true_bundles(session) for session in sessions}
    judged: dict[StrategyName, _Judged] = {}
    seconds: dict[StrategyName, float] = {}
    with open_model(db, dataset, settings) as (student, task):
        tasks = [task(session) for session in sessions]
        for name in strategies:
            strategy = make_strategy(name)
            if hasattr(strategy, "plan_scores"):
                scores: dict[str, Matrix] = {}
                for key, matrix in student.judge_pairs(tasks, cast("PairStrategy", strategy)):
                    scores[cast("Session", key).id] = matrix
                    yield SessionJudged(name)
                judged[name] = _judge_pairs([(truths[each], scores[each]) for each in scores])
            else:
                lists: dict[str, Found] = {}
                uncalibrated = make_strategy(name, Calibration(BundleCalibration(0.0, 1.0, 0.0, 0.0)))
                for event in student.answer(tasks, uncalibrated):
                    if isinstance(event, Answered):
                        session = cast("Session", event.key)
                        lists[session.id] = [(bundle.confidence, bundle.positions) for bundle in event.bundles]
                        yield SessionJudged(name)
                products = {session.id: len(session.items) for session in sessions}
                judged[name] = _judge_lists([(truths[each], lists[each], products[each]) for each in lists])
            seconds[name] = _seconds_per_session(student, tasks[:_TIMED], name, judged[name].calibration)
    chosen = choose({name: each.f1 for name, each in judged.items()}, seconds)
    results = [
        StoredCalibration(
            name,
            msgspec.json.encode(each.calibration).decode(),
            len(each.f1),
            mean(each.f1),
            None if isnan(each.error) else each.error,
            seconds[name],
            name == chosen,
        )
        for name, each in judged.items()
    ]
    replace_calibrations(db, dataset, settings, results)
    yield Calibrated(results)


def _judge_pairs(sessions: Sequence[tuple[Truth, Matrix]]) -> _Judged:
    def bundles(calibration: PairCalibration, matrix: Matrix) -> Found:
        return likely_bundles(calibration.probabilities(matrix), calibration.threshold)

    def fit(chosen: Sequence[tuple[Truth, Matrix]]) -> PairCalibration:
        weights = fit_pairs(
            [matrix for _, matrix in chosen], [_together(truth, len(matrix)) for truth, matrix in chosen]
        )
        fitted = PairCalibration(*weights, threshold=0.5)
        threshold = best_threshold([(truth, fitted.probabilities(matrix)) for truth, matrix in chosen])
        return replace(fitted, threshold=threshold)

    found: list[Found] = [[] for _ in sessions]
    for kept, others in _folds(len(sessions)):
        fitted = fit([sessions[number] for number in others])
        for number in kept:
            found[number] = bundles(fitted, sessions[number][1])
    judged = _judge_lists(
        [(truth, answer, len(matrix)) for (truth, matrix), answer in zip(sessions, found, strict=True)]
    )
    return replace(judged, calibration=replace(judged.calibration, pairs=fit(sessions)))


def _judge_lists(sessions: Sequence[tuple[Truth, Found, int]]) -> _Judged:
    """Judge bundles as they are, and fit how confident one may be of them."""

    def examples(numbers: Sequence[int]) -> list[tuple[float, int, int, bool]]:
        return [
            (probability, len(positions), products, any(set(positions) <= bundle for bundle in truth))
            for truth, found, products in (sessions[number] for number in numbers)
            for probability, positions in found
        ]

    confidences: list[float] = []
    right: list[bool] = []
    for kept, others in _folds(len(sessions)):
        fitted = fit_bundles(examples(others))
        for probability, size, products, hit in examples(kept):
            confidences.append(fitted.confidence(probability, size, products))
            right.append(hit)
    f1 = [pair_f1(truth, [frozenset(positions) for _, positions in found]) for truth, found, _ in sessions]
    calibration = Calibration(fit_bundles(examples(range(len(sessions)))))
    return _Judged(calibration, f1, expected_calibration_error(confidences, right))


def _folds(count: int) -> Iterator[tuple[list[int], list[int]]]:
    for fold in range(_FOLDS):
        yield (
            [number for number in range(count) if number % _FOLDS == fold],
            [number for number in range(count) if number % _FOLDS != fold],
        )


def _together(truth: Truth, products: int) -> npt.NDArray[np.bool_]:
    matrix = np.zeros((products, products), np.bool_)
    for bundle in truth:
        places = [position - 1 for position in bundle]
        matrix[np.ix_(places, places)] = True
    return matrix


def _seconds_per_session(
    student: "Student", tasks: Sequence[Task], name: StrategyName, calibration: Calibration
) -> float:
    started = perf_counter()
    for _ in student.answer(tasks, make_strategy(name, calibration)):
        pass
    return (perf_counter() - started) / len(tasks)


def choose(f1: dict[StrategyName, list[float]], seconds: dict[StrategyName, float]) -> StrategyName:
    """The fastest of the strategies whose pair F1 is within one standard error of the best, session by session."""
    best = max(f1, key=lambda name: mean(f1[name]))

    def as_good(name: StrategyName) -> bool:
        behind = [one - other for one, other in zip(f1[best], f1[name], strict=True)]
        return name == best or mean(behind) <= stdev(behind) / sqrt(len(behind))

    # Sessions that one of them refused cannot be compared.
    comparable = [name for name in f1 if len(f1[name]) == len(f1[best])]
    return min(filter(as_good, comparable), key=lambda name: seconds[name])
