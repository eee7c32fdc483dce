"""How often the training sessions of a dataset bundle two categories, compared with the expectation.

For each pair of categories, at several levels, the counts are: pairs of such products seen together, pairs bundled, and
pairs expected to be bundled by a model that knows nothing of the dataset. The surprise is the difference between the
last two, shrunk to zero if few pairs were seen. So it is zero without training sessions, and gets more informative with
each one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from kdtui.bundling.metrics import pairs
from kdtui.bundling.truth import true_bundles
from models.pairs.clustering import Matrix
from models.pairs.logistic import Vector
from store.records import CategoryPath, Session

_Numbers: TypeAlias = npt.NDArray[np.intp]

LEVELS: tuple[int | None, ...] = (0, 1, 2, 3, 4, None)
"""Numbers of names of the main category that count: from none, which makes all products alike, to all."""

SURPRISE_NAMES = tuple(f"surprise at level {'all' if level is None else level}" for level in LEVELS)
"""Columns of `SurpriseFeatures`."""

_UNSEEN = 12.0
"""Pairs without surprise that are added to the seen ones, as shrinkage."""


class LevelCounts(Struct, frozen=True, gc=False):
    """Counts for pairs of categories at one level.

    Attributes:
        paths: the categories, cut at the level.
        pairs: (number of a path, number of another or the same path, pairs seen, bundled, expected), the smaller number
            first.
    """

    paths: list[tuple[str, ...]]
    pairs: list[tuple[int, int, int, int, float]]


def count_surprises(sessions: Iterable[tuple[Session, npt.NDArray[np.float64]]]) -> list[LevelCounts]:
    """Count pairs of categories at each of `LEVELS`.

    Args:
        sessions: each with the expected probabilities of its pairs, in the order of `pairs_of`.
    """
    paths: list[dict[CategoryPath, int]] = [{} for _ in LEVELS]
    counts: list[dict[tuple[int, int], list[float]]] = [{} for _ in LEVELS]
    for session, expected in sessions:
        together = pairs(true_bundles(session))
        numbers = list(combinations(range(len(session.items)), 2))
        bundled = [(a + 1, b + 1) in together for a, b in numbers]
        probabilities = expected.tolist()
        for level, known, counted in zip(LEVELS, paths, counts, strict=True):
            kinds = [known.setdefault(item.main_category[:level], len(known)) for item in session.items]
            for (a, b), is_bundled, probability in zip(numbers, bundled, probabilities, strict=True):
                one, other = kinds[a], kinds[b]
                count = counted.setdefault((one, other) if one <= other else (other, one), [0, 0, 0.0])
                count[0] += 1
                count[1] += is_bundled
                count[2] += probability
    return [
        LevelCounts(list(known), [(*key, int(n), int(k), round(e, 4)) for key, (n, k, e) in counted.items()])
        for known, counted in zip(paths, counts, strict=True)
    ]


class SurpriseFeatures:
    """Turns the counts into features of the pairs of any session."""

    def __init__(self, levels: Sequence[LevelCounts]) -> None:
        self._levels = [_Level.of(level) for level in levels]

    def features(self, session: Session) -> Matrix:
        """Return the features of a session: (pairs, len(NAMES)), in the order of `pairs_of`."""
        return np.concatenate(self.stacked_features([session]))

    def stacked_features(self, sessions: Sequence[Session]) -> Matrix:
        """Return the features of sessions with equally many products: (sessions, pairs, len(NAMES))."""
        rows, columns = np.triu_indices(len(sessions[0].items), 1)
        categories: dict[CategoryPath, int] = {}
        kinds = np.array(
            [[categories.setdefault(item.main_category, len(categories)) for item in each.items] for each in sessions]
        ).reshape(len(sessions), -1)
        one, other = kinds[:, rows], kinds[:, columns]
        # A large session has many more pairs of products than pairs of categories.
        few = len(categories) ** 2 < one.size
        table = np.zeros((len(sessions), len(rows), len(SURPRISE_NAMES)))
        for column, (level, names) in enumerate(zip(self._levels, LEVELS, strict=False)):
            numbers = np.array([level.numbers.get(path[:names], -1) for path in categories], np.intp)
            if few:
                table[:, :, column] = level.surprises(numbers[:, np.newaxis], numbers)[one, other]
            else:
                table[:, :, column] = level.surprises(numbers[one], numbers[other])
        return table


@dataclass(frozen=True, slots=True)
class _Level:
    """The surprises at one level.

    Attributes:
        numbers: number of each category.
        keys: keys of the pairs, ascending: smaller number x number of categories + larger number.
        values: the surprise of each pair.
    """

    numbers: dict[CategoryPath, int]
    keys: _Numbers
    values: Vector

    @classmethod
    def of(cls, level: LevelCounts) -> "_Level":
        numbers = {path: number for number, path in enumerate(level.paths)}
        pairs = sorted(
            (a * len(numbers) + b, (bundled - expected) / (seen + _UNSEEN))
            for a, b, seen, bundled, expected in level.pairs
        )
        return cls(
            numbers, np.array([key for key, _ in pairs], np.intp), np.array([value for _, value in pairs], np.float64)
        )

    def surprises(self, one: _Numbers, other: _Numbers) -> Vector:
        """Return the surprises of pairs of category numbers, which are broadcast; 0 for unseen pairs."""
        smaller, larger = np.minimum(one, other), np.maximum(one, other)
        if not len(self.keys):
            return np.zeros(smaller.shape)
        pair_keys = smaller * len(self.numbers) + larger
        at = np.minimum(np.searchsorted(self.keys, pair_keys), len(self.keys) - 1)
        is_known = (self.keys[at] == pair_keys) & (smaller >= 0)
        return np.where(is_known, self.values[at], 0.0)
