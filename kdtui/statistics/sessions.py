"""Variance due to sessions: whole sessions are resampled, or the signs of their differences are flipped."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, nan

import numpy as np
import numpy.typing as npt

from kdtui.statistics.results import LEVEL

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]
"""Halves the time of matrix products; values are centred first, so the lost precision is not visible."""

ROUNDING = 1e-12
"""Differences below this are rounding errors."""

_BLOCK = 2**23
"""Numbers in a matrix block."""

_KEPT = 6
"""Cached blocks: those of the draws and of the first flips, for datasets of two or three sizes."""

_ROWS = 1024
"""Comparisons whose signs are flipped in one batch."""

_FLIPS_PER_COMPARISON = 100
"""A p value that Holm's correction multiplies by m comparisons needs far more precision than .05 / m."""

_TINY = 1e-3
"""If the bound of a p value, times the number of comparisons, is below this, the p value itself is not needed."""

_CLEARLY_NOISE = 50
"""Once this number of flips gave a difference as large as the observed one, a comparison needs no more flips."""


@dataclass(frozen=True, slots=True, eq=False)
class CellValues:
    """The values of a metric of one cell; see `CellValues.of`.

    Attributes:
        values: (seeds, sessions); 0 if the weight is 0.
        weights: (seeds, sessions); each seed has a session with a weight above 0.
    """

    values: Matrix
    weights: Matrix

    @classmethod
    def of(cls, values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> "CellValues":
        """Build from the values of a metric, by session, or by seed and session.

        Seeds without any session are dropped.

        Args:
            values: (sessions,) or (seeds, sessions); nan if missing, such as for an answer that is still due.
            weights: of the same shape; None for 1 each. 0 leaves a session out; for coverage, the weight is the number
                of hits.

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
        """Number of seeds with at least one session."""
        return len(self.values)

    @property
    def sessions(self) -> int:
        """Number of sessions that count for at least one seed."""
        return int((self.weights > 0).any(axis=0).sum())

    @property
    def depends_on_seeds(self) -> bool:
        """Whether the seeds differ in any session. Their means can be equal although they do."""
        parts = (self.values, self.weights)
        return self.seeds > 1 and any(bool((np.abs(part - part[0]) > ROUNDING).any()) for part in parts)

    @property
    def of_seeds(self) -> Vector:
        """The value of each seed."""
        return np.asarray((self.values * self.weights).sum(axis=1) / self.weights.sum(axis=1))


@dataclass(frozen=True, slots=True)
class Resampling:
    """Random resampling of sessions. The same numbers give the same draws for all cells with equally many sessions.

    It caches draws of common sizes: sharing one instance among all metrics and questions of a study saves time.
    """

    count: int = 10_000
    seed: int = 0
    _kept: dict[tuple[int, ...], Single] = field(default_factory=dict, init=False, repr=False, compare=False)

    def draws(self, sessions: int) -> Iterator[tuple[slice, Single]]:
        """Yield blocks of draws: a slice of draw numbers, and how often each session is drawn, (draws, sessions)."""

        def draw(rng: np.random.Generator, block: int) -> Single:
            drawn = rng.integers(0, sessions, (block, sessions)) + sessions * np.arange(block)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=block * sessions).reshape(block, sessions)
            return counts.astype(np.float32)

        size = max(1, _BLOCK // 2 // max(1, sessions))
        for start in range(0, self.count, size):
            block = min(size, self.count - start)
            yield slice(start, start + block), self._block(draw, sessions, block, 0, start)

    def signs(self, sessions: int, count: int, number: int = 0) -> Iterator[Single]:
        """Yield `count` rows of random signs, -1 or 1, (flips, sessions), in blocks; `number` selects a stream."""

        def flip(rng: np.random.Generator, block: int) -> Single:
            bits = np.frombuffer(rng.bytes(ceil(block * sessions / 8)), dtype=np.uint8)
            flips = np.unpackbits(bits, count=block * sessions).reshape(block, sessions)
            return flips.astype(np.float32) * 2 - 1

        size = max(1, min(_BLOCK // 2 // max(1, sessions), _BLOCK // _ROWS))
        for start in range(0, count, size):
            yield self._block(flip, sessions, min(size, count - start), 1 + number, start)

    def _block(
        self, make: Callable[[np.random.Generator, int], Single], sessions: int, block: int, stream: int, start: int
    ) -> Single:
        key = sessions, block, stream, start
        made = self._kept.get(key)
        if made is None:
            made = make(np.random.default_rng([self.seed, stream, start]), block)
            if len(self._kept) < _KEPT:
                self._kept[key] = made
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """The mean of each cell, and its interval due to the variance of sessions only."""

    mean: Vector
    low: Vector
    high: Vector


def session_intervals(cells: Sequence[CellValues], resampling: Resampling) -> Intervals:
    """Return the intervals of many cells, with the same draws for all."""
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


def _percentiles(cells: Sequence[CellValues], resampling: Resampling) -> tuple[Vector, Vector]:
    """Return the ends of the intervals relative to the means, for cells with equally many sessions."""
    from scipy.special import ndtr

    rows = [_as_rows(cell) for cell in cells]
    moves = _ratio_changes(
        np.concatenate([values for values, _ in rows]), np.concatenate([weights for _, weights in rows])
    )
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


def _as_rows(cell: CellValues) -> tuple[Matrix, Matrix]:
    """Return one row per seed; if all seeds weigh sessions alike, one row with their mean."""
    if (cell.weights == cell.weights[:1]).all():
        return cell.values.mean(axis=0, keepdims=True), cell.weights[:1]
    return cell.values, cell.weights


def _ratio_changes(values: Matrix, weights: Matrix) -> Callable[[Single], Single]:
    """Return a function that maps draws, (draws, sessions), to changes of the rows' ratios, (rows, draws)."""
    totals = weights.sum(axis=1, keepdims=True)
    centred = ((values - (values * weights).sum(axis=1, keepdims=True) / totals) * weights).astype(np.float32)
    if (weights == weights[:, :1]).all():
        centred /= totals.astype(np.float32)
        return lambda draws: centred @ draws.T
    weighing = weights.astype(np.float32)

    def ratios(draws: Single) -> Single:
        above: Single = centred @ draws.T
        below: Single = weighing @ draws.T
        # In a draw without any counted session both are 0, so the ratio does not change.
        above /= np.maximum(below, np.finfo(np.float32).tiny, out=below)
        return above

    return ratios


def _quantile(ascending: Single, level: Vector) -> Vector:
    """Return a quantile of each row, each at its own level."""
    last = ascending.shape[1] - 1
    position = np.clip(level * (last + 2) - 1, 0, last)
    below = np.floor(position).astype(np.intp)
    rows = np.arange(len(ascending))
    one, next_one = ascending[rows, below], ascending[rows, np.minimum(below + 1, last)]
    return np.asarray(one + (position - below) * (next_one.astype(np.float64) - one))


def flip_p(differences: Sequence[CellValues], family: int, resampling: Resampling) -> Vector:
    """Return two-sided p values of mean differences, by flipping signs of sessions, as if the two cells were swapped.

    Each p value counts the observed difference among the flips, so false claims are no more frequent than the level.
    Comparisons that are not clearly noise get more flips, until they are, or until the p value is precise enough for
    the number of comparisons. If a p value is far too small to need precision, its upper bound is used (Hoeffding,
    1963).

    Args:
        family: number of comparisons that are corrected together.
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
        # A sum that is smaller only by rounding counts as equally large.
        observed = np.abs(rows.sum(axis=1)) - 1e-6 * np.abs(rows).sum(axis=1)
        single = rows.astype(np.float32)
        as_large = np.zeros(len(same), dtype=np.intp)
        flips = np.zeros(len(same), dtype=np.intp)
        for number, count in enumerate((resampling.count, more)):
            unclear = np.flatnonzero(~is_tiny & (as_large < _CLEARLY_NOISE))
            signs = resampling.signs(sessions, count, number)
            as_large[unclear] += _count_as_large(single[unclear], observed[unclear], signs)
            flips[unclear] += count
        p[same] = np.where(is_tiny, bound, (as_large + 1) / (flips + 1))
    return p


def _count_as_large(rows: Single, observed: Vector, signs: Iterator[Single]) -> npt.NDArray[np.intp]:
    """Count the flips of each row whose sum is at least as large as the observed one."""
    counts = np.zeros(len(rows), dtype=np.intp)
    bound = observed.astype(np.float32)[:, None]
    for block in signs if len(rows) else ():
        for start in range(0, len(rows), _ROWS):
            part = slice(start, start + _ROWS)
            sums = rows[part] @ block.T
            np.abs(sums, out=sums)
            counts[part] += np.count_nonzero(sums >= bound[part], axis=1)
    return counts


def student_t(freedom: npt.ArrayLike, alpha: npt.ArrayLike) -> Vector:
    """Return the value that Student's t exceeds with probability alpha; freedom below 1 counts as 1."""
    from scipy.special import stdtrit

    return np.asarray(-stdtrit(np.maximum(freedom, 1), alpha))
