"""Every cell has a mean and an interval with the stated coverage."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy import stats

from kdtui.statistics.estimates import estimate_cells
from kdtui.statistics.results import Estimate
from kdtui.statistics.sessions import CellValues, Matrix, Resampling, Vector

FEW = Resampling(500)

SCORES = arrays(np.float64, st.integers(2, 40), elements=st.sampled_from([0, 1 / 3, 0.4, 0.5, 2 / 3, 1]))


def lumpy(chance: np.random.Generator, *shape: int) -> Matrix:
    """Return scores distributed like pair F1: many at both ends, a few fractions between."""
    return np.asarray(
        chance.choice([0, 1 / 3, 0.4, 0.5, 2 / 3, 0.8, 1], shape, p=[0.15, 0.12, 0.1, 0.13, 0.15, 0.1, 0.25])
    )


def only(values: object, weights: object = None, resampling: Resampling = FEW) -> Estimate:
    [found] = estimate_cells([CellValues.of(values, weights)], resampling)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("sessions", [30, 180])
def test_the_interval_covers_the_true_value_in_95_of_100_samples(sessions: int) -> None:
    chance = np.random.default_rng(5)
    values = lumpy(chance, 2_000, sessions)
    true = float(lumpy(chance, 1_000_000).mean())
    found = estimate_cells([CellValues.of(each) for each in values], Resampling(4_000))
    assert np.mean([each.low <= true <= each.high for each in found]) == pytest.approx(0.95, abs=0.015)


def test_the_interval_of_a_ratio_of_sums_covers_the_true_value() -> None:
    chance = np.random.default_rng(6)
    hits = chance.integers(0, 4, (1_000, 60))
    values = np.clip(0.9 - 0.1 * hits + chance.normal(0, 0.2, hits.shape), 0, 1)
    many = chance.integers(0, 4, 1_000_000)
    true = np.average(np.clip(0.9 - 0.1 * many + chance.normal(0, 0.2, many.shape), 0, 1), weights=many)
    found = estimate_cells([CellValues.of(*each) for each in zip(values, hits, strict=True)], Resampling(1_000))
    assert np.mean([each.low <= true <= each.high for each in found]) == pytest.approx(0.95, abs=0.015)


def test_many_sessions_have_the_bootstrap_interval_of_scipy() -> None:
    values = lumpy(np.random.default_rng(1), 400)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=2).confidence_interval
    ours = only(values, resampling=Resampling())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.002)


def test_a_ratio_has_the_bootstrap_interval_of_scipy() -> None:
    chance = np.random.default_rng(3)
    values, weights = lumpy(chance, 400), chance.integers(0, 4, 400).astype(float)

    def ratio(one: Vector, other: Vector, axis: int) -> Vector:
        return np.asarray((one * other).sum(axis=axis) / other.sum(axis=axis))

    theirs = stats.bootstrap(
        (values, weights), ratio, n_resamples=10_000, method="percentile", paired=True, rng=2
    ).confidence_interval
    ours = only(values, weights, Resampling())
    assert ours.mean == pytest.approx(np.average(values, weights=weights))
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.003)


@given(SCORES, st.data())
@settings(max_examples=40, deadline=None)
def test_the_order_of_sessions_makes_no_difference(values: Vector, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(values))))
    one, other = only(values, resampling=Resampling(2_000)), only(values[order], resampling=Resampling(2_000))
    assert one.mean == pytest.approx(other.mean)
    # Other sessions are drawn, so the ends vary randomly.
    moved = 2 * np.ptp(values) / len(values) + 0.2 * (one.high - one.low) + 1e-6
    assert_allclose([one.low, one.high], [other.low, other.high], atol=moved)


@given(SCORES)
@settings(max_examples=40, deadline=None)
def test_an_interval_contains_the_mean_and_stays_within_the_values(values: Vector) -> None:
    found = only(values)
    assert values.min() - 1e-6 <= found.low <= found.mean + 1e-6
    assert found.mean - 1e-6 <= found.high <= values.max() + 1e-6


def test_the_same_resamples_are_used_for_all_cells() -> None:
    values = lumpy(np.random.default_rng(1), 60)
    one, again, shifted = estimate_cells([CellValues.of(values), CellValues.of(values), CellValues.of(values + 1)], FEW)
    assert one == again
    assert [shifted.low - 1, shifted.high - 1] == pytest.approx([one.low, one.high], abs=1e-6)


def test_another_seed_draws_other_sessions() -> None:
    values = lumpy(np.random.default_rng(1), 60)
    assert only(values, resampling=Resampling(500, 1)) != only(values, resampling=Resampling(500, 2))


def test_cells_of_datasets_of_different_sizes_are_estimated_together() -> None:
    chance = np.random.default_rng(1)
    small, large = lumpy(chance, 30), lumpy(chance, 180)
    assert estimate_cells([CellValues.of(small), CellValues.of(large)], FEW) == [only(small), only(large)]


def test_sessions_that_a_metric_leaves_out_do_not_count() -> None:
    values = lumpy(np.random.default_rng(1), 90)
    counted = np.arange(90) % 3 > 0
    for left_out in (only(values, counted), only(np.where(counted, values, np.nan))):
        assert left_out.mean == pytest.approx(values[counted].mean())
        assert left_out.sessions == 60


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("values", "weights", "mean", "low", "high", "sessions"),
    [
        ([0.7], None, 0.7, np.nan, np.nan, 1),
        ([0.7, np.nan], None, 0.7, np.nan, np.nan, 1),
        ([0.7] * 5, None, 0.7, 0.7, 0.7, 5),
        ([0.0] * 180, None, 0, 0, 0, 180),
        ([np.nan] * 5, None, np.nan, np.nan, np.nan, 0),
        ([], None, np.nan, np.nan, np.nan, 0),
        ([0.5, 1.0], [0, 0], np.nan, np.nan, np.nan, 0),
        ([0.5, np.inf, 1.0], None, 0.75, 0.5, 1.0, 2),
    ],
    ids=["one session", "one answer", "equal", "zero", "no answer", "no session", "all left out", "infinite"],
)
def test_degenerate_cells_have_defined_estimates(
    values: list[float], weights: list[float] | None, mean: float, low: float, high: float, sessions: int
) -> None:
    found = only(values, weights)
    assert (found.mean, found.low, found.high) == pytest.approx((mean, low, high), nan_ok=True)
    assert found.sessions == sessions


@pytest.mark.parametrize(
    ("values", "weights", "problem"),
    [([1, 2], [1], "shape"), ([1, 2], [1, -1], "negative"), (np.zeros((2, 2, 2)), None, "shape")],
)
def test_invalid_values_are_refused(values: object, weights: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        CellValues.of(values, weights)  # type: ignore[arg-type]


def test_draws_of_a_million_sessions_take_limited_memory() -> None:
    values = np.random.default_rng(1).random(1_000_000)
    tracemalloc.start()
    try:
        found = only(values, resampling=Resampling(24))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.low < found.mean < found.high
    assert peak < 300e6
