"""Estimates, confidence intervals and paired comparisons of the cells of a study.

A metric of a cell is a ratio of sums over sessions, sum(value * weight) / sum(weight), for each of its seeds; the
cell's value is the mean over its seeds. There are two sources of variance, and each needs its own method:

- *Sessions.* Whole sessions are resampled, with the same draws for all cells. The interval is the percentile interval
  of these draws at levels that account for few sessions (the expanded percentile interval of Hesterberg, 2015): those
  at which a normal distribution whose variance is too small by (n - 1) / n reaches the quantiles of Student's t. It
  stays within the range of the metric. On pair F1, exact, precision and coverage of simple students, of real training
  sessions, it covers the value for 94.2 % of samples of 30 sessions, 94.9 % of 60 and 94.6 % of 180; the plain
  percentile interval covers 92.7 % at 30. BCa intervals are as good for single cells, but cover 91.4 % for differences
  at 30; studentized ones can be of any length if most sessions have the same value.
- *Seeds.* There are few, and a bootstrap over them is too narrow, so Student's t is used. The variance between seeds is
  pooled over all repeated cells; for no cell is it assumed to be smaller than that, or than the variance of its own
  seeds. (For only two seeds, t is 12.7.) A cell whose seeds give the same values in every session does not depend on
  them.

The two parts are combined on each side by the root of the sum of their squares (MOVER; Zou and Donner, 2008). On
simulated grids of 2, 3 and 5 seeds the interval covers the true difference in at least 95 % of cases, and at most 4 %
of questions without an effect claim one, even if some cells vary more than others. The variance due to the seed is
unknown for a single seed, and is in no interval.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, log2, nan

import numpy as np
import numpy.typing as npt

from kdtui.bundling.metrics import ANSWERED, INTENTS
from kdtui.statistics.results import LEVEL, Comparison, Estimate
from kdtui.statistics.seeds import pooled_seed_errors, seed_spread
from kdtui.statistics.sessions import (
    ROUNDING,
    CellValues,
    Resampling,
    Vector,
    flip_p,
    session_intervals,
    student_t,
)

_LEAVE_OUT = {name for name, _ in (*ANSWERED, *INTENTS)} | {"recall_2024"}
"""Metrics that leave out other sessions for each cell."""

POWER = 0.8
"""Power at which the smallest effect is found."""


@dataclass(frozen=True, slots=True, eq=False)
class CellPair:
    """Two cells to compare by a metric that counts every session.

    Attributes:
        baseline, other: names of the cells; a name always means the same cell.
        metric: name of the metric.
        baseline_cell, other_cell: their values, over the same sessions in the same order.
    """

    baseline: str
    other: str
    metric: str
    baseline_cell: CellValues
    other_cell: CellValues


def estimate_cells(
    cells: Sequence[CellValues], resampling: Resampling | None = None, within: tuple[float, float] = (-inf, inf)
) -> list[Estimate]:
    """Estimate one metric of many cells.

    Args:
        resampling: the draws; None for the defaults.
        within: range of the metric; intervals are clipped to it.
    """
    intervals = session_intervals(cells, resampling or Resampling())
    by_seeds = pooled_seed_errors(cells)
    reach = by_seeds.quantile(LEVEL / 2) * by_seeds.errors
    low = np.maximum(intervals.mean - np.hypot(intervals.mean - intervals.low, reach), within[0])
    high = np.minimum(intervals.mean + np.hypot(intervals.high - intervals.mean, reach), within[1])
    return [
        Estimate(
            float(intervals.mean[at]), float(low[at]), float(high[at]), cell.sessions, cell.seeds, seed_spread(cell)
        )
        for at, cell in enumerate(cells)
    ]


def compare_cells(pairs: Sequence[CellPair], resampling: Resampling | None = None) -> list[Comparison]:
    """Compare the pairs of one question. All are corrected together, whatever their metrics and baselines.

    Args:
        resampling: the draws and flips; None for the defaults.

    Raises:
        ValueError: the two cells of a pair differ in their sessions, or their metric weighs sessions or leaves some
            out.
    """
    if not pairs:
        return []
    resampling = resampling or Resampling()
    together = [_differences(pair) for pair in pairs]
    intervals = session_intervals(together, resampling)
    n = np.array([cell.sessions for cell in together])
    errors = np.array([_standard_error(cell) for cell in together])
    seed_errors, freedom = _seed_errors_of_pairs(pairs)

    def reach(alpha: Vector | float) -> Vector:
        by_sessions, by_seeds = student_t(n - 1, alpha / 2) * errors, student_t(freedom, alpha / 2) * seed_errors
        return np.asarray(np.hypot(by_sessions, by_seeds))

    by_seeds = student_t(freedom, LEVEL / 2) * seed_errors
    low = intervals.mean - np.hypot(intervals.mean - intervals.low, by_seeds)
    high = intervals.mean + np.hypot(intervals.high - intervals.mean, by_seeds)
    p = flip_p(together, len(pairs), resampling)
    is_repeated = (seed_errors > 0) & (n > 1)
    p = np.where(is_repeated, np.maximum(p, _level_reaching(np.abs(intervals.mean), reach)), p)
    adjusted = holm(p)
    strictest, both = LEVEL / len(pairs), np.hypot(errors, seed_errors)
    effects = reach(strictest) + student_t(n - 1, 1 - POWER) * both
    # Of all ways to flip the signs of n differences, two are as extreme as if all agreed.
    can_show = (n > 1 + log2(1 / strictest)) & (both > 0)
    return [
        Comparison(
            pair.baseline,
            pair.other,
            pair.metric,
            float(intervals.mean[at]),
            float(low[at]),
            float(high[at]),
            float(p[at]),
            float(adjusted[at]),
            int(n[at]),
            (pair.baseline_cell.seeds, pair.other_cell.seeds),
            float(effects[at]) if can_show[at] else nan,
        )
        for at, pair in enumerate(pairs)
    ]


def holm(p: npt.ArrayLike) -> Vector:
    """Apply Holm's correction to p values: at any level, the chance of even one false claim is at most that level."""
    given = np.asarray(p, dtype=np.float64)
    order = np.argsort(given)
    falling = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(falling, 1)
    return adjusted


def _seed_errors_of_pairs(pairs: Sequence[CellPair]) -> tuple[Vector, Vector]:
    """Return the standard errors of the differences due to seeds, and their degrees of freedom, metric by metric."""
    errors, freedom = np.zeros(len(pairs)), np.ones(len(pairs))
    for metric in {pair.metric for pair in pairs}:
        of_metric = [at for at, pair in enumerate(pairs) if pair.metric == metric]
        cells: dict[str, CellValues] = {}
        for at in of_metric:
            cells.setdefault(pairs[at].baseline, pairs[at].baseline_cell)
            cells.setdefault(pairs[at].other, pairs[at].other_cell)
        luck = pooled_seed_errors([_where_all_answered(cell) for cell in cells.values()])
        of_cell = dict(zip(cells, luck.errors, strict=True))
        for at in of_metric:
            errors[at] = np.hypot(of_cell[pairs[at].baseline], of_cell[pairs[at].other])
            freedom[at] = max(1, luck.freedom)
    return errors, freedom


def _where_all_answered(cell: CellValues) -> CellValues:
    return CellValues.of(cell.values, cell.weights * (cell.weights > 0).all(axis=0))


def _differences(pair: CellPair) -> CellValues:
    """Return the differences over the sessions that all seeds of both cells have."""
    one, other = pair.baseline_cell, pair.other_cell
    if pair.metric in _LEAVE_OUT:
        raise ValueError(f"{pair.metric} leaves out other sessions for each cell, so that it cannot compare them")
    if one.values.shape[1] != other.values.shape[1]:
        raise ValueError(f"{pair.other} and {pair.baseline} do not have the same sessions")
    if ((one.weights != 0) & (one.weights != 1)).any() or ((other.weights != 0) & (other.weights != 1)).any():
        raise ValueError(f"{pair.metric} weighs sessions, so that they cannot be compared one by one")
    if not (one.seeds and other.seeds):
        return CellValues.of(np.zeros(one.values.shape[1]), np.zeros(one.values.shape[1]))
    common = (one.weights > 0).all(axis=0) & (other.weights > 0).all(axis=0)
    return CellValues.of(other.values.mean(axis=0) - one.values.mean(axis=0), common.astype(np.float64))


def _standard_error(differences: CellValues) -> float:
    if differences.sessions < 2:
        return 0.0
    counted = differences.values[differences.weights > 0]
    error = float(counted.std(ddof=1)) / np.sqrt(len(counted))
    return float(error) if error > ROUNDING else 0.0


def _level_reaching(distance: Vector, reach: Callable[[Vector], Vector]) -> Vector:
    """Return the alpha at which an interval reaches this far; `reach` falls as alpha rises."""
    low, high = np.full(len(distance), -15.0), np.zeros(len(distance))
    for _ in range(50):
        middle = (low + high) / 2
        too_far = reach(10**middle) > distance
        low, high = np.where(too_far, middle, low), np.where(too_far, high, middle)
    return np.asarray(10**high)
