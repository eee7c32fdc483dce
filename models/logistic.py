"""Logistic regression with few weights, fitted by Newton's method.

scikit-learn fits the same, but takes a second or more to import, which a command would wait for.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

_STEPS = 100
_PRECISION = 1e-8
_LEAST_CURVATURE = 1e-10


def fit_logistic(
    features: npt.NDArray[np.float64], labels: Sequence[bool] | npt.NDArray[np.bool_]
) -> tuple[float, Vector]:
    """The bias and the weights that minimize log loss + |weights|^2 / 2; the bias is not drawn to zero.

    Args:
        features: (examples, features), finite; of about the same scale, since all weights are drawn to zero alike.
        labels: one for each example; both values occur.
    """
    x = np.column_stack([np.ones(len(features)), features])
    y = np.asarray(labels, np.float64)
    penalty = np.ones(x.shape[1])
    penalty[0] = 0.0
    weights = np.zeros(x.shape[1])
    loss = _loss(x, y, weights, penalty)
    for _ in range(_STEPS):
        predicted = sigmoid(x @ weights)
        gradient = x.T @ (predicted - y) + penalty * weights
        curvature = np.maximum(predicted * (1 - predicted), _LEAST_CURVATURE)
        step = np.linalg.solve((x.T * curvature) @ x + np.diag(penalty), gradient)
        # Far from the minimum a whole step may lead away from it.
        scale = 1.0
        while (shorter := _loss(x, y, weights - scale * step, penalty)) > loss and scale > _PRECISION:
            scale /= 2
        weights = weights - scale * step
        loss = shorter
        if np.abs(scale * step).max() < _PRECISION:
            break
    return float(weights[0]), weights[1:]


def sigmoid(value: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """1 / (1 + exp(-value)), without overflow."""
    result: npt.NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * np.asarray(value, np.float64)))
    return result


def _loss(x: npt.NDArray[np.float64], y: Vector, weights: Vector, penalty: Vector) -> float:
    odds = x @ weights
    return float((np.logaddexp(0, odds) - y * odds).sum() + (penalty * weights**2).sum() / 2)
