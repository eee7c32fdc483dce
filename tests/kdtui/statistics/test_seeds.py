"""Seeds as a second source of variance: their spread is reported, and not mistaken for an effect."""

import numpy as np
import pytest

from kdtui.statistics.estimates import CellPair, compare_cells, estimate_cells
from kdtui.statistics.results import LEVEL
from kdtui.statistics.sessions import CellValues, Matrix, Resampling

FEW = Resampling(400)


def repeated(chance: np.random.Generator, cells: int, seeds: int, spread: float, sessions: int = 90) -> Matrix:
    """Return cells that differ only randomly, (cells, seeds, sessions); seeds differ by `spread`."""
    common = chance.choice([0, 0.4, 0.5, 2 / 3, 1], sessions)
    own = np.where(chance.random((cells, 1, sessions)) < 0.3, chance.choice([0, 0.5, 1], (cells, 1, sessions)), common)
    each = np.where(chance.random((cells, seeds, sessions)) < 0.1, 1 - own, own)
    return np.asarray(each + chance.normal(0, spread, (cells, seeds, 1)))


def pairs(cells: Matrix) -> list[CellPair]:
    return [
        CellPair("0", str(at), "pair_f1", CellValues.of(cells[0]), CellValues.of(each))
        for at, each in enumerate(cells)
        if at
    ]


def test_a_cell_has_the_mean_of_its_seeds_and_their_standard_deviation() -> None:
    values = repeated(np.random.default_rng(1), 1, 3, 0.05)[0]
    [found] = estimate_cells([CellValues.of(values)], FEW)
    assert found.mean == pytest.approx(values.mean())
    assert found.between_seeds == pytest.approx(values.mean(axis=1).std(ddof=1))
    assert found.seeds == 3
    [single] = estimate_cells([CellValues.of(values[0])], FEW)
    assert np.isnan(single.between_seeds)


def test_seeds_that_leave_out_different_sessions_have_equal_weight() -> None:
    values = np.array([[1.0, 0.0, 0.5, 0.5], [0.2, 0.4, 0.6, 0.0]])
    weights = np.array([[1, 3, 0, 0], [1, 1, 1, 0]])
    [found] = estimate_cells([CellValues.of(values, weights)], FEW)
    assert found.mean == pytest.approx((0.25 + 0.4) / 2)
    assert found.sessions == 3


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_includes_the_variance_of_sessions_and_seeds(seeds: int) -> None:
    """The true value is the mean over all sessions and all seeds."""
    chance, covered = np.random.default_rng(seeds), []
    for number in range(200):
        cells = repeated(chance, 4, seeds, 0.05)
        found = estimate_cells([CellValues.of(each) for each in cells], Resampling(400, number))
        # Shared by the cells or the cell's own; inverted in one of ten sessions.
        true = np.mean([0, 0.4, 0.5, 2 / 3, 1]) * 0.7 + 0.5 * 0.3
        true = 0.9 * true + 0.1 * (1 - true)
        covered += [each.low <= true <= each.high for each in found]
    assert 0.94 <= np.mean(covered) <= 0.995


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spreads", [(0.05,), (0, 0.05), (0.01, 0.01, 0.01, 0.08)], ids=str)
def test_variance_of_seeds_is_rarely_mistaken_for_an_effect(seeds: int, spreads: tuple[float, ...]) -> None:
    chance, claims, covered, questions = np.random.default_rng(7), 0, [], 100
    for number in range(questions):
        cells = repeated(chance, 5, seeds, 0)
        luck = chance.normal(0, 1, (5, seeds, 1)) * np.resize(spreads, (5, 1, 1))
        found = compare_cells(pairs(cells + luck), Resampling(400, number))
        claims += any(each.is_claimed for each in found)
        covered += [each.low <= 0 <= each.high for each in found]
    assert claims <= LEVEL * questions
    assert np.mean(covered) >= 0.95


def test_single_lucky_seeds_would_have_looked_like_an_effect() -> None:
    chance = np.random.default_rng(3)
    cells = repeated(chance, 2, 3, 0)
    cells[1] += np.array([[0.4], [0.02], [-0.05]])
    [lucky] = compare_cells(pairs(cells[:, :1]), FEW)
    [known] = compare_cells(pairs(cells), FEW)
    assert lucky.is_claimed
    assert not known.is_claimed
    assert known.seeds == (3, 3)


def test_an_effect_larger_than_the_variance_of_seeds_is_claimed() -> None:
    cells = repeated(np.random.default_rng(3), 4, 3, 0.01)
    cells[1] += 0.3
    found = compare_cells(pairs(cells), FEW)
    assert [each.is_claimed for each in found] == [True, False, False]


def test_seeds_without_variance_do_not_widen_the_interval() -> None:
    cells = repeated(np.random.default_rng(3), 2, 1, 0)
    [once] = compare_cells(pairs(cells), FEW)
    [thrice] = compare_cells(pairs(np.repeat(cells, 3, axis=1)), FEW)
    assert (thrice.low, thrice.high, thrice.p) == pytest.approx((once.low, once.high, once.p))
    [cell] = estimate_cells([CellValues.of(np.repeat(cells[0], 3, axis=0))], FEW)
    assert cell.between_seeds == pytest.approx(0)


def test_two_seeds_say_little() -> None:
    chance = np.random.default_rng(3)
    values = repeated(chance, 1, 2, 0)[0] + np.array([[0.05], [-0.05]])
    [alone] = estimate_cells([CellValues.of(values)], FEW)
    others = [CellValues.of(each) for each in repeated(chance, 8, 2, 0.07)]
    together = estimate_cells([CellValues.of(values), *others], FEW)[0]
    assert together.high - together.low < 0.5 * (alone.high - alone.low)


def test_an_interval_stays_within_the_range_of_the_metric() -> None:
    values = np.array([[0.9] * 30, [0.7] * 30])
    [found] = estimate_cells([CellValues.of(values)], FEW, within=(0, 1))
    assert (found.low, found.high) == (0, 1)


@pytest.mark.filterwarnings("error")
def test_a_seed_without_answers_is_left_out() -> None:
    values = repeated(np.random.default_rng(3), 2, 3, 0.05)
    values[1, 2] = np.nan
    [found] = compare_cells(pairs(values), FEW)
    assert found.seeds == (3, 2)
    assert found.sessions == 90


@pytest.mark.filterwarnings("error")
def test_unfinished_seeds_are_compared_over_their_common_sessions() -> None:
    values = repeated(np.random.default_rng(3), 2, 3, 0.05)
    values[1, 2, :30] = np.nan
    values[0, 1, 80:] = np.nan
    [found] = compare_cells(pairs(values), FEW)
    assert found.sessions == 50
    assert found.difference == pytest.approx(values[1, :, 30:80].mean() - values[0, :, 30:80].mean())
    values[0, 1, :30] = np.nan
    values[1, 2, 30:] = np.nan
    values[1, 2, :30] = 0.5
    [apart] = compare_cells(pairs(values), FEW)
    assert (apart.sessions, apart.p) == (0, 1)


def test_seeds_with_equal_means_but_different_answers_depend_on_them() -> None:
    """Counts, such as exact bundles, often tie between two or three seeds."""
    chance = np.random.default_rng(3)
    others = [CellValues.of(each) for each in repeated(chance, 4, 2, 0.07)]
    tied = np.tile([0.0, 1.0], (2, 45))
    same = estimate_cells([CellValues.of(tied), *others], FEW)[0]
    tied[1, :2] = 1, 0
    different = estimate_cells([CellValues.of(tied), *others], FEW)[0]
    assert same.between_seeds == different.between_seeds == 0
    assert different.high - different.low > 1.1 * (same.high - same.low)
