"""From what a model says to how often it is right: logistic regressions with a few weights each.

A model's own probabilities order its choices, but are far from frequencies: a small one is sure of much that is wrong.
The weights below are fitted on sessions whose bundles are known (Platt scaling, 1999, with the size of the session and
of the bundle beside the score).
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from models.pairs.clustering import Matrix
from models.pairs.logistic import fit_logistic, sigmoid

_LEAST = 1e-6
"""Probabilities are kept so far from 0 and 1, where their log odds end."""


@dataclass(frozen=True, slots=True)
class PairCalibration:
    """How a score says that two products share a bundle, and from which probability on they are put together.

    The log odds are `bias + score * (score of the pair) + mean * (mean score of the session) + size * ln(products) +
    evidence * (log odds of the pair by other sessions)`. So a model whose questions tell the evidence cannot make of it
    less than it is.
    """

    bias: float
    score: float
    mean: float
    size: float
    threshold: float
    evidence: float = 0.0

    @property
    def needs_scores(self) -> bool:
        """Whether scores change anything: where they do not, the model need not be asked."""
        return self.score != 0 or self.mean != 0

    def probabilities(self, scores: Matrix, evidence: Matrix | None = None) -> Matrix:
        """(products, products): probabilities from symmetric scores; the diagonal is of no meaning.

        Args:
            evidence: (products, products), how likely each pair is by other sessions.
        """
        count = len(scores)
        mean = scores[np.triu_indices(count, 1)].mean()
        known = 0.0 if evidence is None else self.evidence * _log_odds(evidence)
        return sigmoid(self.bias + self.score * scores + self.mean * mean + self.size * np.log(count) + known)


@dataclass(frozen=True, slots=True)
class BundleCalibration:
    """How the probability that a model gives a bundle says that the bundle is right: part of a true one, or all of it.

    The log odds are `bias + score * (log odds of the model) + size * ln(products in the bundle) + session * ln(products
    in the session)`.
    """

    bias: float
    score: float
    size: float
    session: float

    def confidence(self, probability: float, size: int, products: int) -> float:
        """The chance that a bundle of this size is right, 0..1."""
        odds = self.bias + self.score * log_odds(probability) + self.size * np.log(size)
        return float(sigmoid(odds + self.session * np.log(products)))


AT_ITS_WORD = BundleCalibration(bias=0.0, score=1.0, size=0.0, session=0.0)
"""The model's own probability."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a strategy needs to know of a model: `pairs` where it judges pairs of products."""

    bundle: BundleCalibration
    pairs: PairCalibration | None = None

    @property
    def is_finite(self) -> bool:
        """Whether all weights are numbers that one can compute with."""
        weights = [*astuple(self.bundle), *(() if self.pairs is None else astuple(self.pairs))]
        return all(map(isfinite, weights))


def fit_bundles(bundles: Sequence[tuple[float, int, int, bool]]) -> BundleCalibration:
    """Fit on (the model's probability, products in the bundle, products in the session, whether it was right).

    Where all bundles were right, or all wrong, the confidence is their smoothed share.
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
    """Fit on sessions: scores, which pairs share a bundle, and how likely they are by other sessions, where that is
    told. The threshold is left at one half.

    Args:
        with_scores: whether the scores of the model count, beside the evidence.
    """
    features, labels = [], []
    told = evidence if evidence is not None else [None] * len(scores)
    for matrix, truth, known in zip(scores, together, told, strict=True):
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
    """ln(p / (1 - p)), finite for 0 and 1 too."""
    return float(_log_odds(probability))


def _log_odds(probability: npt.ArrayLike) -> Matrix:
    kept = np.clip(np.asarray(probability, np.float64), _LEAST, 1 - _LEAST)
    odds: Matrix = np.log(kept / (1 - kept))
    return odds


def expected_calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """Mean distance of confidence and share that was right, over bins of equally many (Naeini et al., 2015)."""
    if not confidences:
        return float("nan")
    order = np.argsort(confidences)
    values, hits = np.array(confidences)[order], np.array(right, np.float64)[order]
    parts = np.array_split(np.arange(len(values)), min(bins, len(values)))
    return float(sum(abs(values[part].mean() - hits[part].mean()) * len(part) for part in parts) / len(values))


def _fit(features: Matrix, labels: Sequence[bool]) -> list[float]:
    """Bias and weights of a logistic regression, drawn a little to zero so that few examples cannot run away."""
    if len(set(labels)) < 2:
        return [log_odds((sum(labels) + 1) / (len(labels) + 2)), *[0.0] * features.shape[1]]
    bias, weights = fit_logistic(features, labels)
    return [bias, *weights.tolist()]
