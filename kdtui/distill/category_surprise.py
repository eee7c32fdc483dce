"""How often the training sessions of a dataset bundle two categories, beyond what their products let one expect.

For each pair of categories, at several levels, it is counted how many pairs of such products were seen together, how
many were bundled, and how many a model that knows nothing of the dataset expected to be. The surprise is the difference
between the two, drawn to zero where little was seen. So it is zero where there are no training sessions, and says more
with each one.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations, combinations_with_replacement

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from kdtui.bundling.metrics import pairs
from kdtui.bundling.truth import true_bundles
from models.clustering import Matrix
from store.records import CategoryPath, Item, Session

LEVELS: tuple[int | None, ...] = (0, 1, 2, 3, 4, None)
"""How many names of the main category count: none of them, so that all products are alike, up to all."""

NAMES = tuple(f"surprise at level {'all' if level is None else level}" for level in LEVELS)
"""What the columns of `SurpriseFeatures` are."""

_UNSEEN = 12.0
"""Pairs as expected that are added to those that were seen."""


class LevelCounts(Struct, frozen=True, gc=False):
    """What was seen of pairs of categories at one level.

    Attributes:
        paths: the categories, cut at the level.
        pairs: (number of a path, number of another or the same, pairs seen, bundled, expected to be), the smaller
            number first.
    """

    paths: list[tuple[str, ...]]
    pairs: list[tuple[int, int, int, int, float]]


def count_surprises(sessions: Iterable[tuple[Session, npt.NDArray[np.float64]]]) -> list[LevelCounts]:
    """Count what was seen at each of `LEVELS`.

    Args:
        sessions: each with how likely its pairs were expected to be bundled, in the order of `pairs_of`.
    """
    paths: list[dict[CategoryPath, int]] = [{} for _ in LEVELS]
    counts: list[dict[tuple[int, int], list[float]]] = [{} for _ in LEVELS]
    for session, expected in sessions:
        together = pairs(true_bundles(session))
        numbers = list(combinations(range(len(session.items)), 2))
        bundled = [(a + 1, b + 1) in together for a, b in numbers]
        likely = expected.tolist()
        for level, known, counted in zip(LEVELS, paths, counts, strict=True):
            kinds = [known.setdefault(_main_category(item)[:level], len(known)) for item in session.items]
            for (a, b), is_bundled, chance in zip(numbers, bundled, likely, strict=True):
                one, other = kinds[a], kinds[b]
                count = counted.setdefault((one, other) if one <= other else (other, one), [0, 0, 0.0])
                count[0] += 1
                count[1] += is_bundled
                count[2] += chance
    return [
        LevelCounts(list(known), [(*key, int(n), int(k), round(e, 4)) for key, (n, k, e) in counted.items()])
        for known, counted in zip(paths, counts, strict=True)
    ]


class SurpriseFeatures:
    """Turns the counts into features of the pairs of any session."""

    def __init__(self, levels: Sequence[LevelCounts]) -> None:
        self._numbers = [{path: number for number, path in enumerate(level.paths)} for level in levels]
        self._surprises = [
            {(a, b): (bundled - expected) / (seen + _UNSEEN) for a, b, seen, bundled, expected in level.pairs}
            for level in levels
        ]

    def features(self, session: Session) -> Matrix:
        """(pairs, len(NAMES)), in the order of `pairs_of`."""
        rows, columns = np.triu_indices(len(session.items), 1)
        found = np.zeros((len(rows), len(NAMES)))
        for place in range(len(self._surprises)):
            matrix, kinds = self._surprises_of(place, session.items)
            found[:, place] = matrix[kinds[rows], kinds[columns]]
        return found

    def _surprises_of(self, place: int, items: Sequence[Item]) -> tuple[Matrix, npt.NDArray[np.intp]]:
        """The surprises of the categories of the items at a level.

        Returns:
            (categories, categories), symmetric; and the number of its category there for each item.
        """
        known, surprises = self._numbers[place], self._surprises[place]
        numbers = [known.get(_main_category(item)[: LEVELS[place]], -1) for item in items]
        at = {number: i for i, number in enumerate(dict.fromkeys(numbers))}
        matrix = np.zeros((len(at), len(at)))
        # A large session has more pairs of categories than are known.
        keys: Iterable[tuple[int, int]] = surprises
        if len(at) ** 2 < len(surprises):
            keys = combinations_with_replacement(sorted(at), 2)
        for one, other in keys:
            if one in at and other in at and (found := surprises.get((one, other))) is not None:
                matrix[at[one], at[other]] = matrix[at[other], at[one]] = found
        return matrix, np.array([at[number] for number in numbers])


def _main_category(item: Item) -> CategoryPath:
    return item.categories[0] if item.categories else ()
