"""What training sessions say of two products: how often their categories were bundled, and how rare their words are.

The statistics become the features of each pair of products in a session, from which `pattern_student` makes
probabilities. All features of a session are computed at once, on matrices of its products.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, combinations_with_replacement
from math import log
from re import compile as compile_pattern

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from kdtui.bundling.metrics import pairs
from kdtui.bundling.truth import true_bundles
from models.clustering import Matrix
from store.records import CategoryPath, Item, Session

LEVELS = (2, 3, 4)
"""Levels of the main category at which rates are counted."""

FEATURES = (
    "shared category depth",
    "products without a category",
    "likeness of titles",
    "ln(products of the session)",
    *(f"rate at level {level}" for level in LEVELS),
    "mean rates of the two with all others",
    "best likeness of titles of the two",
    "best third product by rate",
    "mean rate of the session",
    "mean depth of the session",
    "mean likeness of the session",
)
"""What the columns of `features` are."""

_RATE_LEVEL = 1
"""Place in `LEVELS` of the level by which a pair is compared with the rest of its session."""

_PRIOR_WEIGHT = 4
"""How many pairs the overall rate counts for, where two categories have been seen together seldom."""

_WORDS_AT_ONCE = 4096
_WORD = compile_pattern(r"[^\W_]+")


class LevelCounts(Struct, frozen=True, gc=False):
    """How often pairs of categories were seen in a session, and bundled, at one level.

    Attributes:
        paths: the categories, cut at the level.
        pairs: (number of a path, number of another or the same, seen, bundled), the smaller number first.
    """

    paths: list[tuple[str, ...]]
    pairs: list[tuple[int, int, int, int]]


class PairStatistics(Struct, frozen=True, gc=False):
    """What was counted in training sessions; made by `count_pairs`.

    Attributes:
        levels: counts at each of `LEVELS`.
        rate: share of all pairs of products that were bundled; .5 without any pair.
        titles: different products.
        titles_with: how many of their titles have a word.
    """

    levels: list[LevelCounts]
    rate: float
    titles: int
    titles_with: dict[str, int]


def count_pairs(sessions: Iterable[Session]) -> PairStatistics:
    """Count how often the categories of two products were bundled, and in how many titles each word stands."""
    paths: list[dict[CategoryPath, int]] = [{} for _ in LEVELS]
    seen: list[Counter[tuple[int, int]]] = [Counter() for _ in LEVELS]
    bundled: list[Counter[tuple[int, int]]] = [Counter() for _ in LEVELS]
    words: dict[str, frozenset[str]] = {}
    for session in sessions:
        together = pairs(true_bundles(session))
        words.update((item.id, words_of(item)) for item in session.items if item.id not in words)
        for level, known, all_pairs, true_pairs in zip(LEVELS, paths, seen, bundled, strict=True):
            numbers = [known.setdefault(_main_category(item)[:level], len(known)) for item in session.items]
            for a, b in combinations(range(len(numbers)), 2):
                key = (min(numbers[a], numbers[b]), max(numbers[a], numbers[b]))
                all_pairs[key] += 1
                if (a + 1, b + 1) in together:
                    true_pairs[key] += 1
    total = sum(seen[0].values())
    return PairStatistics(
        [
            LevelCounts(list(known), [(*key, count, true_pairs[key]) for key, count in all_pairs.items()])
            for known, all_pairs, true_pairs in zip(paths, seen, bundled, strict=True)
        ],
        sum(bundled[0].values()) / total if total else 0.5,
        len(words),
        Counter(word for each in words.values() for word in each),
    )


class PairFeatures:
    """Turns the statistics into the features of the pairs of any session."""

    def __init__(self, statistics: PairStatistics) -> None:
        self._statistics = statistics
        self._numbers = [{path: number for number, path in enumerate(level.paths)} for level in statistics.levels]
        self._rates = [
            {
                (a, b): (bundled + _PRIOR_WEIGHT * statistics.rate) / (seen + _PRIOR_WEIGHT)
                for a, b, seen, bundled in level.pairs
            }
            for level in statistics.levels
        ]

    def features(self, session: Session) -> Matrix:
        """(pairs, len(FEATURES)): a row for each pair of products, in the order of `pairs_of`.

        A pair is described by itself and by the rest of its session: two products that go with everything are bundled
        less often than two that go with each other alone.
        """
        size = len(session.items)
        if size < 2:
            return np.zeros((0, len(FEATURES)))
        rows, columns = np.triu_indices(size, 1)
        depth = _shared_depth(session.items)
        alike = self._likeness([words_of(item) for item in session.items])
        by_category = [self._rates_of(place, session.items) for place in range(len(LEVELS))]
        rates = [_between_others(matrix[np.ix_(kinds, kinds)]) for matrix, kinds in by_category]
        bare = np.array([not item.categories for item in session.items], np.float64)
        rate = rates[_RATE_LEVEL]
        sums, likest = rate.sum(axis=1), alike.max(axis=1)
        own = [
            depth[rows, columns],
            bare[rows] + bare[columns],
            alike[rows, columns],
            np.full(len(rows), log(size)),
            *(each[rows, columns] for each in rates),
        ]
        rest = [
            (sums[rows] + sums[columns]) / (size - 1),
            likest[rows] + likest[columns],
            _best_third(*by_category[_RATE_LEVEL])[rows, columns],
            *(np.full(len(rows), each[rows, columns].mean()) for each in (rate, depth, alike)),
        ]
        return np.column_stack([*own, *rest])

    def _rates_of(self, place: int, items: Sequence[Item]) -> tuple[Matrix, npt.NDArray[np.intp]]:
        """How often categories of the items were bundled when seen together, drawn to the overall rate where seldom
        seen.

        Returns:
            (categories, categories), symmetric; and the number of its category there for each item.
        """
        known, rates = self._numbers[place], self._rates[place]
        numbers = [known.get(_main_category(item)[: LEVELS[place]], -1) for item in items]
        at = {number: i for i, number in enumerate(dict.fromkeys(numbers))}
        matrix = np.full((len(at), len(at)), self._statistics.rate)
        # A large session has more pairs of categories than are known.
        keys: Iterable[tuple[int, int]] = rates
        if len(at) ** 2 < len(rates):
            keys = combinations_with_replacement(sorted(at), 2)
        for one, other in keys:
            if one in at and other in at and (found := rates.get((one, other))) is not None:
                matrix[at[one], at[other]] = matrix[at[other], at[one]] = found
        return matrix, np.array([at[number] for number in numbers])

    def _likeness(self, words: Sequence[frozenset[str]]) -> Matrix:
        """(items, items): cosine of titles as bags of words, the rare ones weighing more; 0 on the diagonal."""
        size = len(words)
        counts = Counter(word for each in words for word in each)
        shared = {word: number for number, word in enumerate(word for word, count in counts.items() if count > 1)}
        squares = np.array([sum(self._weight(word) ** 2 for word in each) for each in words])
        norms = np.sqrt(np.where(squares > 0, squares, 1.0))
        dot = np.zeros((size, size))
        # Words of one title alone join nothing; of the others some are taken at a time, to bound the memory.
        for first in range(0, len(shared), _WORDS_AT_ONCE):
            part = np.zeros((size, min(_WORDS_AT_ONCE, len(shared) - first)))
            for item, each in enumerate(words):
                for word in each:
                    number = shared.get(word, -1) - first
                    if 0 <= number < part.shape[1]:
                        part[item, number] = self._weight(word)
            dot += part @ part.T
        return _between_others(dot / np.outer(norms, norms))

    def _weight(self, word: str) -> float:
        """Inverse document frequency of a word among titles."""
        return log((self._statistics.titles + 1) / (self._statistics.titles_with.get(word, 0) + 1))


def pairs_of(session: Session) -> Iterator[tuple[int, int]]:
    """The pairs of product numbers of a session, 1-based."""
    return combinations(range(1, len(session.items) + 1), 2)


def words_of(item: Item) -> frozenset[str]:
    """The different words of a title, in lower case."""
    return frozenset(_WORD.findall((item.title or "").lower()))


def _main_category(item: Item) -> CategoryPath:
    return item.categories[0] if item.categories else ()


def _shared_depth(items: Sequence[Item]) -> Matrix:
    """(items, items): names that two category paths share from the top, for the two paths that share most."""
    size = len(items)
    deepest = max((len(path) for item in items for path in item.categories), default=0)
    depth = np.zeros((size, size))
    for level in range(1, deepest + 1):
        prefixes: dict[CategoryPath, int] = {}
        places = [
            (number, prefixes.setdefault(path[:level], len(prefixes)))
            for number, item in enumerate(items)
            for path in item.categories
            if len(path) >= level
        ]
        has = np.zeros((size, len(prefixes)), np.float32)
        has[tuple(np.array(places).T)] = 1
        # Who shares a prefix shares all shorter ones, so the levels at which two share one are counted.
        depth += (has @ has.T) > 0
    return depth


def _between_others(matrix: Matrix) -> Matrix:
    """The matrix with a diagonal of 0: what a product has in common with itself counts for nothing."""
    np.fill_diagonal(matrix, 0)
    return matrix


def _best_third(rate: Matrix, kinds: npt.NDArray[np.intp]) -> Matrix:
    """(items, items): for two items, how well that third item goes with both that goes best with both.

    Items of one category go alike with all others, so the best is found once for each two categories.

    Args:
        rate: (categories, categories).
        kinds: the category of each item.
    """
    count = np.bincount(kinds)
    own = rate.diagonal()
    others = _between_others(rate.astype(np.float32))
    best = np.zeros(rate.shape)
    for one in range(len(rate)):
        rest = slice(one, None)
        third = np.minimum(others[one], others[rest]).max(axis=1).astype(np.float64)
        # The third may be of the category of one of the two, where there are more items of it.
        if count[one] > 1:
            third = np.maximum(third, np.minimum(own[one], rate[one, rest]))
        third = np.maximum(third, np.where(count[rest] > 1, np.minimum(own[rest], rate[one, rest]), 0))
        third[0] = max(others[one].max(), own[one] if count[one] > 2 else 0)
        best[one, rest] = best[rest, one] = third
    return best[np.ix_(kinds, kinds)]
