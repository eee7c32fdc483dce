"""Logistic regression with few weights, fitted by Newton's method.

scikit-learn fits the same, but takes a second or more to import, which every command would wait for.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Vector = npt.NDArray[np.float64]

_STEPS = 100
_PRECISION = 1e-8
_LEAST_CURVATURE = 1e-10


class Regression(Struct, frozen=True):
    """Log odds from features: bias + the sum of weight x feature."""

    bias: float
    weights: dict[str, float]

    def log_odds(self, features: npt.NDArray[np.float64]) -> Vector:
        """Return the log odds (…, examples) of features (…, examples, features) in the order of the weights."""
        odds: Vector = self.bias + features @ np.array([*self.weights.values()])
        return odds

    def log_odds_of(self, features: Mapping[str, float]) -> float:
        """Return the log odds of one example."""
        return self.bias + sum(weight * features[name] for name, weight in self.weights.items())


def fit_logistic(
    features: npt.NDArray[np.float64],
    labels: Sequence[bool] | npt.NDArray[np.bool_],
    *,
    counts: Vector | None = None,
    penalty: float = 1.0,
    prior: tuple[float, Vector] | None = None,
) -> tuple[float, Vector]:
    """Minimize the sum of counts x log loss + penalty x |weights - prior weights|^2 / 2; return bias and weights.

    Without a prior the weights are pulled to zero, and the bias is free. With a prior, the bias is pulled to that of
    the prior too, a tenth as strongly: other datasets differ most in how often the label is true.

    Args:
        features: (examples, features), finite; of similar scale, because all weights are penalized alike.
        labels: one for each example; without a prior both values occur.
        counts: weight of each example; None for 1 each.
        prior: a bias and weights.
    """
    x = np.column_stack([np.ones(len(features)), features])
    y = np.asarray(labels, np.float64)
    counted = np.ones(len(x)) if counts is None else counts
    strength = np.full(x.shape[1], penalty)
    strength[0] = 0.0 if prior is None else penalty / 10
    center = np.zeros(x.shape[1]) if prior is None else np.concatenate([[prior[0]], prior[1]])

    def loss_of(weights: Vector) -> float:
        odds = x @ weights
        losses = counted * (np.logaddexp(0, odds) - y * odds)
        return float(losses.sum() + (strength * (weights - center) ** 2).sum() / 2)

    weights = center.copy()
    loss = loss_of(weights)
    for _ in range(_STEPS):
        predicted = sigmoid(x @ weights)
        gradient = x.T @ (counted * (predicted - y)) + strength * (weights - center)
        curvature = np.maximum(counted * predicted * (1 - predicted), _LEAST_CURVATURE)
        step = np.linalg.solve((x.T * curvature) @ x + np.diag(strength), gradient)
        # Far from the minimum a full step can lead away from it.
        scale = 1.0
        while (shorter := loss_of(weights - scale * step)) > loss and scale > _PRECISION:
            scale /= 2
        weights = weights - scale * step
        loss = shorter
        if np.abs(scale * step).max() < _PRECISION:
            break
    return float(weights[0]), weights[1:]


def fit_regression(
    names: Sequence[str],
    features: npt.NDArray[np.float64],
    labels: Sequence[bool] | npt.NDArray[np.bool_],
    *,
    counts: Vector | None = None,
    penalty: float = 1.0,
) -> Regression:
    """Fit on features of any scale; constant features get no weight."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread == 0] = 1.0
    bias, weights = fit_logistic((features - mean) / spread, labels, counts=counts, penalty=penalty)
    weights = weights / spread
    return Regression(bias - float(mean @ weights), dict(zip(names, weights.tolist(), strict=True)))


def sigmoid(value: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return 1 / (1 + exp(-value)) without overflow."""
    result: npt.NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * np.asarray(value, np.float64)))
    return result
