"""Fit calibrations and judge them by cross-validation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import mean, stdev

import numpy as np
import numpy.typing as npt

from kdtui.bundling.metrics import pair_f1
from kdtui.bundling.threshold import best_threshold
from models.pairs.calibration import (
    Calibration,
    PairCalibration,
    expected_calibration_error,
    fit_bundles,
    fit_pairs,
)
from models.pairs.clustering import Matrix, likely_bundles

_FOLDS = 5


Truth = list[frozenset[int]]


Found = list[tuple[float, tuple[int, ...]]]
"""Bundles with the probability that the model gives them."""


@dataclass(frozen=True, slots=True)
class JudgedStrategy:
    """The results of a strategy on the sessions, each by a fit on the others.

    Attributes:
        calibration: the fit on all of them.
        found: the bundles of each session.
        f1: pair F1 of each session.
        error: expected calibration error of the confidences.
        scores: of each session, to try other calibrations on; None if there are only bundles.
    """

    calibration: Calibration
    found: list[Found]
    f1: list[float]
    error: float
    scores: "Sequence[PairScores] | None" = None


@dataclass(frozen=True, slots=True)
class PairScores:
    """The scores of a strategy for a session.

    Attributes:
        scores: (products, products), before calibration.
        evidence: (products, products), how likely pairs are by other sessions; None if unknown.
    """

    truth: Truth
    scores: Matrix
    evidence: Matrix | None

    def probabilities(self, calibration: PairCalibration) -> Matrix:
        """Return (products, products)."""
        return calibration.probabilities(self.scores, self.evidence)


def cross_validate_pairs(sessions: Sequence[PairScores]) -> JudgedStrategy:
    """Calibrate the scores of pairs.

    If all sessions have evidence, evidence without scores is tried too. The scores of the model are used only if
    bundles get better by more than one standard error of pair F1, since asking for them takes most of the time.
    """
    judged = judge_scores(sessions, with_scores=True)
    if any(each.evidence is None for each in sessions):
        return judged
    by_evidence = judge_scores(sessions, with_scores=False)
    return by_evidence if _as_good(by_evidence.f1, judged.f1) else judged


def judge_scores(sessions: Sequence[PairScores], *, with_scores: bool) -> JudgedStrategy:
    """Calibrate on evidence and, if requested, the scores of the model. Judge each session by a fit on the others."""

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
    judged = judge_lists([(each.truth, answer, len(each.scores)) for each, answer in zip(sessions, found, strict=True)])
    return replace(judged, calibration=replace(judged.calibration, pairs=fit(sessions)))


def judge_lists(sessions: Sequence[tuple[Truth, Found, int]]) -> JudgedStrategy:
    """Judge bundles as they are, and fit how confident to be of them."""

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
    return JudgedStrategy(
        calibration, [found for _, found, _ in sessions], f1, expected_calibration_error(confidences, right)
    )


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


def choose(f1: Mapping[str, list[float]], seconds: Mapping[str, float]) -> str:
    """Choose the fastest of the strategies whose pair F1 is within one standard error of the best, by session."""
    best = max(f1, key=lambda name: mean(f1[name]))
    return min((name for name in f1 if _as_good(f1[name], f1[best])), key=lambda name: seconds[name])


def _as_good(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether the mean over the same sessions is at most one standard error of the difference lower."""
    behind = [b - a for a, b in zip(one, other, strict=True)]
    return mean(behind) <= stdev(behind) / sqrt(len(behind))
