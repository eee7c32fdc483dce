"""Calibration of a model's scores: logistic regressions with a few weights each.

A model's own probabilities order its choices, but are far from frequencies: a small model is sure of much that is
wrong. The weights are fitted on sessions whose bundles are known (Platt scaling, 1999, with the sizes of the session
and of the bundle as further features).
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from models.pairs.clustering import Matrix
from models.pairs.logistic import fit_logistic, sigmoid

_LEAST = 1e-6
"""Probabilities are kept this far from 0 and 1, so that their log odds are finite."""


@dataclass(frozen=True, slots=True)
class PairCalibration:
    """How a score predicts that two products share a bundle, and the probability from which on they are joined.

    The log odds are `bias + score * (score of the pair) + mean * (mean score of the session) + size * ln(products) +
    evidence * (log odds of the pair by other sessions)`. The evidence has a weight of its own, so that a model whose
    questions contain it cannot weaken it.
    """

    bias: float
    score: float
    mean: float
    size: float
    threshold: float
    evidence: float = 0.0

    @property
    def needs_scores(self) -> bool:
        """Whether scores have any weight; if not, the model need not be asked."""
        return self.score != 0 or self.mean != 0

    def probabilities(self, scores: Matrix, evidence: Matrix | None = None) -> Matrix:
        """Return probabilities for symmetric scores, (products, products); the diagonal is meaningless.

        Args:
            evidence: (products, products), how likely each pair is by other sessions.
        """
        count = len(scores)
        mean = scores[np.triu_indices(count, 1)].mean()
        known = 0.0 if evidence is None else self.evidence * _log_odds(evidence)
        return sigmoid(self.bias + self.score * scores + self.mean * mean + self.size * np.log(count) + known)


@dataclass(frozen=True, slots=True)
class BundleCalibration:
    """How the probability that a model gives a bundle predicts that the bundle is a true one or a part of one.

    The log odds are `bias + score * (log odds of the model) + size * ln(products in the bundle) + session * ln(products
    in the session)`.
    """

    bias: float
    score: float
    size: float
    session: float

    def confidence(self, probability: float, size: int, products: int) -> float:
        """Return the probability that a bundle of this size is right, 0..1."""
        odds = self.bias + self.score * log_odds(probability) + self.size * np.log(size)
        return float(sigmoid(odds + self.session * np.log(products)))


UNCALIBRATED = BundleCalibration(bias=0.0, score=1.0, size=0.0, session=0.0)
"""The model's own probability."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a strategy needs to know about a model; `pairs` if it judges pairs of products."""

    bundle: BundleCalibration
    pairs: PairCalibration | None = None

    @property
    def is_finite(self) -> bool:
        """Whether all weights are finite numbers."""
        weights = [*astuple(self.bundle), *(() if self.pairs is None else astuple(self.pairs))]
        return all(map(isfinite, weights))


def fit_bundles(bundles: Sequence[tuple[float, int, int, bool]]) -> BundleCalibration:
    """Fit on (the model's probability, products in the bundle, products in the session, whether it was right).

    If all bundles were right or all were wrong, the confidence is their smoothed share.
    """
    features = [[log_odds(probability), np.log(size), np.log(products)] for probability, size, products, _ in bundles]
    return BundleCalibration(*_fit(np.array(features, np.float64).reshape(-1, 3), [right for *_, right in bundles]))


def fit_pairs(
    scores: Sequence[Matrix],
    together: Sequence[npt.NDArray[np.bool_]],
    evidence: Sequence[Matrix | None] | None = None,
    *,
    with_scores: bool = True,
) -> PairCalibration:
    """Fit on sessions. The threshold stays at one half.

    Args:
        scores: of the pairs of each session.
        together: which pairs share a bundle.
        evidence: how likely they are by other sessions; None if that is unknown.
        with_scores: whether the scores of the model count in addition to the evidence.
    """
    features, labels = [], []
    given = evidence if evidence is not None else [None] * len(scores)
    for matrix, truth, known in zip(scores, together, given, strict=True):
        upper = np.triu_indices(len(matrix), 1)
        values = matrix[upper]
        odds = np.zeros(len(values)) if known is None else _log_odds(known[upper])
        counts = 1.0 if with_scores else 0.0
        features += [
            [counts * value, counts * values.mean(), np.log(len(matrix)), each]
            for value, each in zip(values, odds, strict=True)
        ]
        labels += truth[upper].tolist()
    bias, score, mean, size, weight = _fit(np.array(features, np.float64).reshape(-1, 4), labels)
    return PairCalibration(bias, score, mean, size, 0.5, weight)


def log_odds(probability: float) -> float:
    """Return ln(p / (1 - p)), finite for 0 and 1 too."""
    return float(_log_odds(probability))


def _log_odds(probability: npt.ArrayLike) -> Matrix:
    kept = np.clip(np.asarray(probability, np.float64), _LEAST, 1 - _LEAST)
    odds: Matrix = np.log(kept / (1 - kept))
    return odds


def expected_calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """Return the mean distance of confidence and accuracy over bins of equal counts (Naeini et al., 2015)."""
    if not confidences:
        return float("nan")
    order = np.argsort(confidences)
    values, hits = np.array(confidences)[order], np.array(right, np.float64)[order]
    parts = np.array_split(np.arange(len(values)), min(bins, len(values)))
    return float(sum(abs(values[part].mean() - hits[part].mean()) * len(part) for part in parts) / len(values))


def _fit(features: Matrix, labels: Sequence[bool]) -> list[float]:
    """Fit bias and weights of a logistic regression, penalized so that few examples cannot give extreme weights."""
    if len(set(labels)) < 2:
        return [log_odds((sum(labels) + 1) / (len(labels) + 2)), *[0.0] * features.shape[1]]
    bias, weights = fit_logistic(features, labels)
    return [bias, *weights.tolist()]
