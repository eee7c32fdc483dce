"""The chance that lies in seeds, of which there are few."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from kdtui.statistics.sessions import ROUNDING, Cell, Vector, student_t


def spread_of(cell: Cell) -> float:
    """Standard deviation of the values of its seeds; nan with fewer than two."""
    return float(cell.of_seeds.std(ddof=1)) if cell.seeds > 1 else nan


@dataclass(frozen=True, slots=True, eq=False)
class SeedLuck:
    """Of each cell, the standard error that its mean has by its seeds; 0 where they make no difference, or it has one.

    Attributes:
        freedom: degrees of freedom of all errors; 0 where none is known.
    """

    errors: Vector
    freedom: int

    def quantile(self, alpha: float) -> float:
        """Of Student's t, above 0."""
        return float(student_t(self.freedom, alpha)) if self.freedom else 0.0


def luck_of_seeds(cells: Sequence[Cell]) -> SeedLuck:
    """All repeated cells say how much seeds differ; none is taken to vary less than that, nor less than its own do."""
    spreads = np.array([spread_of(cell) for cell in cells])
    free = np.array([cell.seeds - 1 for cell in cells])
    varies = spreads > ROUNDING
    freedom = int(free[varies].sum())
    if not freedom:
        return SeedLuck(np.zeros(len(cells)), 0)
    shared = np.sqrt((free[varies] * spreads[varies] ** 2).sum() / freedom)
    return SeedLuck(np.where(varies, np.fmax(spreads, shared) / np.sqrt(np.maximum(free, 0) + 1), 0), freedom)
