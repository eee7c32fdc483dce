"""The chance that lies in sessions: whole ones are drawn again, or their differences change their signs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, nan

import numpy as np
import numpy.typing as npt

from kdtui.statistics.results import LEVEL

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]
"""Matrix products take half the time in it; values are centred before, so that nothing is lost that could be seen."""

ROUNDING = 1e-12
"""What numbers differ by that are the same."""

_BLOCK = 2**23
"""Numbers of a matrix that is made at once."""

_KEPT = 6
"""Blocks that are kept: those of the draws and of the first flips, for datasets of two or three sizes."""

_ROWS = 1024
"""Comparisons whose signs are flipped at once."""

_FLIPS_PER_COMPARISON = 100
"""A p value that Holm's correction multiplies by m comparisons has to be known to far better than .05 / m."""

_TINY = 1e-3
"""A bound of a p value, times the comparisons, below which nobody needs the p value itself."""

_CLEARLY_NOISE = 50
"""Differences of chance that were as large, after which a comparison needs no more flips."""


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """A metric of one cell, as `Cell.of` makes it.

    Attributes:
        values: (seeds, sessions); 0 where the weight is 0.
        weights: (seeds, sessions); each seed has a session with a weight above 0.
    """

    values: Matrix
    weights: Matrix

    @classmethod
    def of(cls, values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> "Cell":
        """The values of a metric, by session, or by seed and session.

        Args:
            values: (sessions,) or (seeds, sessions); nan where there is none, such as for an answer that is still due.
            weights: as many; None for 1 each. 0 leaves a session out; for coverage, a session counts by its hits.

        Seeds without any session are dropped.

        Raises:
            ValueError: the shapes differ, or a weight is negative.
        """
        given = np.atleast_2d(np.asarray(values, dtype=np.float64))
        weighed = np.ones_like(given) if weights is None else np.atleast_2d(np.asarray(weights, dtype=np.float64))
        if given.ndim != 2 or given.shape != weighed.shape:
            raise ValueError(f"values of shape {given.shape} have weights of shape {weighed.shape}")
        if (weighed < 0).any():
            raise ValueError("a weight is negative")
        counted = np.isfinite(given) & np.isfinite(weighed) & (weighed > 0)
        seeds = counted.any(axis=1)
        return cls(np.where(counted, given, 0)[seeds], np.where(counted, weighed, 0)[seeds])

    @property
    def seeds(self) -> int:
        """How many have at least one session."""
        return len(self.values)

    @property
    def sessions(self) -> int:
        """How many sessions at least one seed counts."""
        return int((self.weights > 0).any(axis=0).sum())

    @property
    def of_seeds(self) -> Vector:
        """The value of each seed."""
        return np.asarray((self.values * self.weights).sum(axis=1) / self.weights.sum(axis=1))


@dataclass(frozen=True, slots=True)
class Resampling:
    """How sessions are drawn anew. The same numbers give the same draws, for any cell over as many sessions.

    It keeps draws of usual sizes: to use one for all metrics and questions of a study saves making them again.
    """

    count: int = 10_000
    seed: int = 0
    _kept: dict[tuple[int, ...], Single] = field(default_factory=dict, init=False, repr=False, compare=False)

    def draws(self, sessions: int) -> Iterator[tuple[slice, Single]]:
        """How often each session is in each draw, (draws, sessions), in blocks; and which draws these are."""

        def draw(chance: np.random.Generator, block: int) -> Single:
            drawn = chance.integers(0, sessions, (block, sessions)) + sessions * np.arange(block)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=block * sessions).reshape(block, sessions)
            return counts.astype(np.float32)

        size = max(1, _BLOCK // 2 // max(1, sessions))
        for start in range(0, self.count, size):
            block = min(size, self.count - start)
            yield slice(start, start + block), self._made(draw, sessions, block, 0, start)

    def signs(self, sessions: int, count: int, number: int = 0) -> Iterator[Single]:
        """So many times signs by chance, -1 or 1, (flips, sessions), in blocks; with another number, others."""

        def flip(chance: np.random.Generator, block: int) -> Single:
            bits = np.frombuffer(chance.bytes(ceil(block * sessions / 8)), dtype=np.uint8)
            flips = np.unpackbits(bits, count=block * sessions).reshape(block, sessions)
            return flips.astype(np.float32) * 2 - 1

        size = max(1, min(_BLOCK // 2 // max(1, sessions), _BLOCK // _ROWS))
        for start in range(0, count, size):
            yield self._made(flip, sessions, min(size, count - start), 1 + number, start)

    def _made(
        self, make: Callable[[np.random.Generator, int], Single], sessions: int, block: int, stream: int, start: int
    ) -> Single:
        key = sessions, block, stream, start
        found = self._kept.get(key)
        if found is None:
            found = make(np.random.default_rng([self.seed, stream, start]), block)
            if len(self._kept) < _KEPT:
                self._kept[key] = found
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Of each cell: its mean, and the interval that holds the chance of sessions alone."""

    mean: Vector
    low: Vector
    high: Vector


def over_sessions(cells: Sequence[Cell], resampling: Resampling) -> Intervals:
    """The intervals of many cells, the same draws for all."""
    mean, low, high = (np.full(len(cells), nan) for _ in range(3))
    by_size: dict[int, list[int]] = {}
    for at, cell in enumerate(cells):
        if cell.seeds:
            mean[at] = cell.of_seeds.mean()
            if cell.sessions > 1:
                by_size.setdefault(cell.values.shape[1], []).append(at)
    size = max(1, _BLOCK // resampling.count)
    for same in by_size.values():
        for start in range(0, len(same), size):
            block = same[start : start + size]
            below, above = _percentiles([cells[at] for at in block], resampling)
            low[block], high[block] = mean[block] + below, mean[block] + above
    return Intervals(mean, low, high)


def _percentiles(cells: Sequence[Cell], resampling: Resampling) -> tuple[Vector, Vector]:
    """How far below and above the means of cells over as many sessions the ends of their intervals are."""
    from scipy.special import ndtr

    rows = [_as_rows(cell) for cell in cells]
    moves = _moves(np.concatenate([values for values, _ in rows]), np.concatenate([weights for _, weights in rows]))
    counts = np.array([len(values) for values, _ in rows])
    moved = np.empty((counts.sum(), resampling.count), dtype=np.float32)
    for part, draws in resampling.draws(cells[0].values.shape[1]):
        moved[:, part] = moves(draws)
    if len(moved) > len(cells):
        moved = np.add.reduceat(moved, np.cumsum(counts) - counts, axis=0) / counts[:, None].astype(np.float32)
    moved.sort(axis=1)
    n = np.array([cell.sessions for cell in cells])
    level = ndtr(-np.sqrt(n / (n - 1)) * student_t(n - 1, LEVEL / 2))
    return _quantile(moved, level), _quantile(moved, 1 - level)


def _as_rows(cell: Cell) -> tuple[Matrix, Matrix]:
    """Seeds that weigh sessions alike are one row, their mean."""
    if (cell.weights == cell.weights[:1]).all():
        return cell.values.mean(axis=0, keepdims=True), cell.weights[:1]
    return cell.values, cell.weights


def _moves(values: Matrix, weights: Matrix) -> Callable[[Single], Single]:
    """What draws of sessions do to the ratios of rows: (draws, sessions) to (rows, draws), in differences to them."""
    totals = weights.sum(axis=1, keepdims=True)
    centred = ((values - (values * weights).sum(axis=1, keepdims=True) / totals) * weights).astype(np.float32)
    if (weights == weights[:, :1]).all():
        centred /= totals.astype(np.float32)
        return lambda draws: centred @ draws.T
    weighing = weights.astype(np.float32)

    def ratios(draws: Single) -> Single:
        above: Single = centred @ draws.T
        below: Single = weighing @ draws.T
        # In a draw without any session that counts both are 0; it says nothing, and moves nothing.
        above /= np.maximum(below, np.finfo(np.float32).tiny, out=below)
        return above

    return ratios


def _quantile(ascending: Single, level: Vector) -> Vector:
    """Of each row, at a level of its own."""
    last = ascending.shape[1] - 1
    place = np.clip(level * (last + 2) - 1, 0, last)
    below = np.floor(place).astype(np.intp)
    rows = np.arange(len(ascending))
    one, next_one = ascending[rows, below], ascending[rows, np.minimum(below + 1, last)]
    return np.asarray(one + (place - below) * (next_one.astype(np.float64) - one))


def flip_p(differences: Sequence[Cell], family: int, resampling: Resampling) -> Vector:
    """Two-sided p values of mean differences, by flipping signs of sessions, as if the two cells changed places.

    Each p value counts the observed one among the flips, so that a claim is false no more often than its level says.
    Those that are not clearly noise are flipped until they are, or known well enough for so many comparisons; one that
    is far too small for that is told by a bound, which no p value of such a test exceeds (Hoeffding, 1963).

    Args:
        family: how many comparisons are corrected together.
    """
    p = np.ones(len(differences))
    by_size: dict[int, list[int]] = {}
    for at, cell in enumerate(differences):
        if cell.seeds and np.abs(cell.values).max() > ROUNDING:
            by_size.setdefault(cell.values.shape[1], []).append(at)
    more = max(0, _FLIPS_PER_COMPARISON * family - resampling.count)
    for sessions, same in by_size.items():
        rows = np.concatenate([differences[at].values for at in same])
        rows /= np.abs(rows).max(axis=1, keepdims=True)
        bound = 2 * np.exp(-(rows.sum(axis=1) ** 2) / (2 * (rows**2).sum(axis=1)))
        is_tiny = bound * family < _TINY
        # A sum that differs by rounding alone is as large.
        observed = np.abs(rows.sum(axis=1)) - 1e-6 * np.abs(rows).sum(axis=1)
        single = rows.astype(np.float32)
        as_large = np.zeros(len(same), dtype=np.intp)
        flips = np.zeros(len(same), dtype=np.intp)
        for number, count in enumerate((resampling.count, more)):
            unclear = np.flatnonzero(~is_tiny & (as_large < _CLEARLY_NOISE))
            signs = resampling.signs(sessions, count, number)
            as_large[unclear] += _as_large(single[unclear], observed[unclear], signs)
            flips[unclear] += count
        p[same] = np.where(is_tiny, bound, (as_large + 1) / (flips + 1))
    return p


def _as_large(rows: Single, observed: Vector, signs: Iterator[Single]) -> npt.NDArray[np.intp]:
    """How many flips of each row have a sum that is as large as the observed one."""
    found = np.zeros(len(rows), dtype=np.intp)
    bound = observed.astype(np.float32)[:, None]
    for block in signs if len(rows) else ():
        for start in range(0, len(rows), _ROWS):
            part = slice(start, start + _ROWS)
            sums = rows[part] @ block.T
            np.abs(sums, out=sums)
            found[part] += np.count_nonzero(sums >= bound[part], axis=1)
    return found


def student_t(freedom: npt.ArrayLike, alpha: npt.ArrayLike) -> Vector:
    """The value that Student's t exceeds with a probability of alpha; freedom below 1 counts as 1."""
    from scipy.special import stdtrit

    return np.asarray(-stdtrit(np.maximum(freedom, 1), alpha))
