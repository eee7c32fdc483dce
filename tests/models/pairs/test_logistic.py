"""The logistic regression has the same minimum as scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from models.pairs.logistic import fit_logistic, sigmoid


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(5, 200), st.integers(1, 6), st.floats(0, 5))
def test_the_weights_equal_those_of_scikit_learn(seed: int, examples: int, features: int, strength: float) -> None:
    numbers = np.random.default_rng(seed)
    x = numbers.normal(size=(examples, features))
    labels = numbers.random(examples) < sigmoid(strength * x[:, 0])
    labels[:2] = [True, False]
    bias, weights = fit_logistic(x, labels)
    known = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(x, labels)
    assert [bias, *weights] == pytest.approx([known.intercept_[0], *known.coef_[0]], abs=1e-3, rel=1e-3)


def test_the_weight_of_a_perfect_feature_stays_finite() -> None:
    x = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    bias, weights = fit_logistic(x, [False, False, True, True])
    assert bias == pytest.approx(0, abs=1e-6)
    assert 0 < weights[0] < 5


def test_the_sigmoid_of_large_numbers_is_zero_or_one() -> None:
    assert sigmoid([-1e6, 0, 1e6]).tolist() == [0, 0.5, 1]
