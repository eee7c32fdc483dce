"""How far a student's judgement can be trusted, and which strategy suits it: found out where the truth is known.

Every strategy is fitted and judged on the same sessions, each session by a fit on the others, so that none gains by its
number of weights. The fastest of those that are as good as the best is chosen.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan, sqrt
from statistics import mean, stdev
from time import perf_counter
from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np
import numpy.typing as npt

from kdtui.bundling.metrics import pair_f1
from kdtui.bundling.text import counted
from kdtui.bundling.threshold import best_threshold
from kdtui.bundling.truth import true_bundles
from kdtui.distill.applicable import AICL
from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import why_uncalibrated
from kdtui.workflows.students import check_settings, open_model
from models.answers import STRATEGIES, Answered, Refused, StrategyName, Task
from models.calibration import (
    AT_ITS_WORD,
    Calibration,
    PairCalibration,
    expected_calibration_error,
    fit_bundles,
    fit_pairs,
)
from models.clustering import Matrix, likely_bundles
from models.strategies import make_strategy
from models.strategies.base import told
from models.strategies.listing import Listing
from store.calibrations import StoredCalibration, replace_calibrations
from store.datasets import iter_sessions
from store.records import RunSettings, Session
from store.sqlite import Database

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
class StrategyLeftOut:
    """A strategy cannot answer one of the sessions, so it cannot be compared with the others."""

    strategy: StrategyName
    reason: str


@dataclass(frozen=True, slots=True)
class Calibrated:
    """All strategies have been calibrated, and the results are stored."""

    results: list[StoredCalibration]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a strategy made of the sessions, each by a fit on the others.

    Attributes:
        calibration: the fit on all of them.
        found: the bundles of each session.
        f1: pair F1 of each session.
        error: how far confidences are from the share that is right.
    """

    calibration: Calibration
    found: list[Found]
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
            f"dataset {dataset!r} has {counted(len(sessions), 'validation session')} to calibrate on; "
            f"{LEAST_SESSIONS} are needed"
        )
    return sessions


def calibrate(
    db: Database,
    dataset: str,
    settings: RunSettings,
    strategies: Sequence[str],
    sessions: Sequence[Session],
) -> Iterator[SessionJudged | StrategyLeftOut | Calibrated]:
    """Calibrate strategies of a student on sessions whose bundles are known, and choose one.

    Raises:
        KdtuiError: the student is no language model, it cannot be used as the settings say, there is no such strategy,
            or none can answer all of the sessions.
        ModelError: the model cannot be loaded, or fails.
    """
    if (why := why_uncalibrated(settings.student)) is not None:
        raise KdtuiError(why)
    for name in strategies:
        if name == AICL:
            raise KdtuiError(f"{AICL} is a way to ask, and cannot be calibrated; there are: {', '.join(STRATEGIES)}")
        check_settings(msgspec.structs.replace(settings, strategy=name), dataset)
    judged: dict[StrategyName, Judged] = {}
    seconds: dict[StrategyName, float] = {}
    with open_model(db, dataset, settings) as model:
        student = model.student
        tasks = [model.task(session) for session in sessions]
        for name in cast("Sequence[StrategyName]", strategies):
            try:
                judged[name] = yield from _judge(student, tasks, name)
            except _Unanswered as problem:
                yield StrategyLeftOut(name, str(problem))
            else:
                seconds[name] = _seconds_per_session(student, tasks[:_TIMED], name, judged[name].calibration)
    if not judged:
        raise KdtuiError("no strategy can answer all of the validation sessions, so nothing is changed")
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


class _Unanswered(Exception):
    """The student refuses a session; the message says which, and why."""


def _judge(student: "Student", tasks: Sequence[Task], name: StrategyName) -> Generator[SessionJudged, None, Judged]:
    """Have a strategy judge the sessions, which are the keys of their tasks.

    Raises:
        _Unanswered: it cannot answer one of them.
    """
    # Sessions come as they are done, but are compared with those of other strategies one by one.
    sessions = [cast("Session", task.key) for task in tasks]
    lists: dict[object, Found] = {}
    matrices: dict[object, Matrix] = {}
    strategy = make_strategy(name, Calibration(AT_ITS_WORD) if name == "list" else None)
    if isinstance(strategy, Listing):
        for event in student.answer(tasks, strategy):
            if isinstance(event, Answered):
                lists[event.key] = [(bundle.confidence, bundle.positions) for bundle in event.bundles]
                yield SessionJudged(name)
            elif isinstance(event, Refused):
                raise _refusal(event)
        return _judge_lists([(true_bundles(each), lists[each], len(each.items)) for each in sessions])
    for judged in student.judge_pairs(tasks, strategy):
        if isinstance(judged, Refused):
            raise _refusal(judged)
        key, matrix = judged
        matrices[key] = matrix
        yield SessionJudged(name)
    evidence = {task.key: told(task) for task in tasks}
    return judge_pairs([PairScores(true_bundles(each), matrices[each], evidence[each]) for each in sessions])


def _refusal(event: Refused) -> _Unanswered:
    return _Unanswered(f"session {cast('Session', event.key).id}: {event.reason}")


@dataclass(frozen=True, slots=True)
class PairScores:
    """A session as a strategy judged it.

    Attributes:
        scores: (products, products), before calibration.
        evidence: (products, products), how likely pairs are by other sessions; None where that is not told.
    """

    truth: Truth
    scores: Matrix
    evidence: Matrix | None

    def probabilities(self, calibration: PairCalibration) -> Matrix:
        """(products, products)."""
        return calibration.probabilities(self.scores, self.evidence)


def judge_pairs(sessions: Sequence[PairScores]) -> Judged:
    """Calibrate the scores of pairs.

    Where all sessions have evidence, it is tried alone too. The answers of the model count only where bundles get
    better by more than one standard error of pair F1: to ask for them takes most of the time.
    """
    judged = judge_scores(sessions, with_scores=True)
    if any(each.evidence is None for each in sessions):
        return judged
    alone = judge_scores(sessions, with_scores=False)
    return alone if _as_good(alone.f1, judged.f1) else judged


def judge_scores(sessions: Sequence[PairScores], *, with_scores: bool) -> Judged:
    """Calibrate on evidence and, if asked for, the scores of the model; judge each session by a fit on the others."""

    def fit(chosen: Sequence[PairScores]) -> PairCalibration:
        fitted = fit_pairs(
            [each.scores for each in chosen],
            [_together(each.truth, len(each.scores)) for each in chosen],
            [each.evidence for each in chosen],
            with_scores=with_scores,
        )
        threshold = best_threshold([(each.truth, each.probabilities(fitted)) for each in chosen])
        return replace(fitted, threshold=threshold)

    found: list[Found] = [[] for _ in sessions]
    for kept, others in _folds(len(sessions)):
        fitted = fit([sessions[number] for number in others])
        for number in kept:
            found[number] = likely_bundles(sessions[number].probabilities(fitted), fitted.threshold)
    judged = _judge_lists(
        [(each.truth, answer, len(each.scores)) for each, answer in zip(sessions, found, strict=True)]
    )
    return replace(judged, calibration=replace(judged.calibration, pairs=fit(sessions)))


def _judge_lists(sessions: Sequence[tuple[Truth, Found, int]]) -> Judged:
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
    return Judged(calibration, [found for _, found, _ in sessions], f1, expected_calibration_error(confidences, right))


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
    return min((name for name in f1 if _as_good(f1[name], f1[best])), key=lambda name: seconds[name])


def _as_good(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether the mean over the same sessions is at most one standard error of the difference lower."""
    behind = [b - a for a, b in zip(one, other, strict=True)]
    return mean(behind) <= stdev(behind) / sqrt(len(behind))
