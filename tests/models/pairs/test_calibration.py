"""Calibration: a confidence equals the share of right answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pairs.calibration import (
    BundleCalibration,
    expected_calibration_error,
    fit_bundles,
    fit_pairs,
    log_odds,
)


def test_an_overconfident_model_is_corrected() -> None:
    random = np.random.default_rng(0)
    said = random.uniform(0.05, 0.999, 4000)
    # It is right about half as often as it says, and less often for large bundles.
    sizes = random.integers(2, 8, 4000)
    right = random.random(4000) < said / 2 / np.log(sizes + 1)
    examples = [(float(p), int(size), 10, bool(hit)) for p, size, hit in zip(said, sizes, right, strict=True)]
    fitted = fit_bundles(examples[:2000])
    confidences = [fitted.confidence(p, size, products) for p, size, products, _ in examples[2000:]]
    hits = right[2000:].tolist()
    assert expected_calibration_error(said[2000:].tolist(), hits) > 0.2
    assert expected_calibration_error(confidences, hits) < 0.06


def test_pairs_are_fitted_relative_to_the_mean_of_their_session() -> None:
    """A model that says yes to everything in one session and no in another is judged by the differences."""
    random = np.random.default_rng(1)
    scores, together = [], []
    for _ in range(60):
        truth = np.zeros((6, 6), np.bool_)
        truth[np.ix_([0, 1, 2], [0, 1, 2])] = True
        noise = random.normal(0, 0.3, (6, 6))
        scores.append(truth * 2.0 + random.normal(0, 5) + (noise + noise.T) / 2)
        together.append(truth)
    calibration = fit_pairs(scores, together)
    for matrix, truth in zip(scores, together, strict=True):
        found = calibration.probabilities(matrix) > 0.5
        upper = np.triu_indices(6, 1)
        assert (found[upper] == truth[upper]).mean() > 0.9


def test_evidence_counts_if_the_model_knows_nothing() -> None:
    random = np.random.default_rng(2)
    scores, together, evidence = [], [], []
    for _ in range(60):
        truth = np.zeros((6, 6), np.bool_)
        truth[np.ix_([0, 1, 2], [0, 1, 2])] = True
        noise = random.normal(0, 1, (6, 6))
        scores.append(noise + noise.T)
        together.append(truth)
        evidence.append(np.where(truth, 0.8, 0.3))
    calibration = fit_pairs(scores, together, evidence)
    assert abs(calibration.score) < 0.2 < calibration.evidence
    for matrix, truth, known in zip(scores, together, evidence, strict=True):
        upper = np.triu_indices(6, 1)
        assert ((calibration.probabilities(matrix, known) > 0.5)[upper] == truth[upper]).all()
    assert fit_pairs(scores, together).evidence == 0


@pytest.mark.parametrize(("right", "share"), [(True, 0.9), (False, 0.1)])
def test_examples_with_one_label_give_their_share(right: bool, share: float) -> None:
    fitted = fit_bundles([(0.5, 2, 4, right)] * 8)
    assert fitted.confidence(0.99, 3, 5) == pytest.approx(share)


@given(st.floats(0, 1), st.integers(2, 500), st.integers(2, 500))
def test_confidence_is_a_probability(probability: float, size: int, products: int) -> None:
    confidence = BundleCalibration(0.3, 1.2, -0.5, 0.1).confidence(probability, size, products)
    assert 0 < confidence < 1


@given(st.floats(0, 1))
def test_log_odds_are_finite(probability: float) -> None:
    assert np.isfinite(log_odds(probability))


def test_the_error_without_examples_is_nan() -> None:
    assert np.isnan(expected_calibration_error([], []))
    assert expected_calibration_error([0.0, 1.0], [False, True]) == 0
