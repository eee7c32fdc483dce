"""Variance due to seeds, of which there are few."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from kdtui.statistics.sessions import CellValues, Vector, student_t


def seed_spread(cell: CellValues) -> float:
    """Return the standard deviation of the values of a cell's seeds; nan with fewer than two."""
    return float(cell.of_seeds.std(ddof=1)) if cell.seeds > 1 else nan


@dataclass(frozen=True, slots=True, eq=False)
class SeedErrors:
    """The standard error of each cell's mean due to seeds; 0 if seeds make no difference, or the cell has only one.

    Attributes:
        freedom: degrees of freedom of all errors; 0 if nothing is known about seeds.
    """

    errors: Vector
    freedom: int

    def quantile(self, alpha: float) -> float:
        """Return the upper quantile of Student's t."""
        return float(student_t(self.freedom, alpha)) if self.freedom else 0.0


def pooled_seed_errors(cells: Sequence[CellValues]) -> SeedErrors:
    """Pool the variance between seeds over all repeated cells; use a cell's own variance if it is larger."""
    spreads = np.array([seed_spread(cell) for cell in cells])
    free = np.array([cell.seeds - 1 for cell in cells])
    varies = np.array([cell.depends_on_seeds for cell in cells], dtype=bool)
    freedom = int(free[varies].sum())
    if not freedom:
        return SeedErrors(np.zeros(len(cells)), 0)
    shared = np.sqrt((free[varies] * spreads[varies] ** 2).sum() / freedom)
    return SeedErrors(np.where(varies, np.fmax(spreads, shared) / np.sqrt(np.maximum(free, 0) + 1), 0), freedom)
