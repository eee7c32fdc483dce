"""A student without a language model: pairs of products, judged by what the mined patterns say of their categories.

Logistic regression gives each pair of products of a session a probability that they share a bundle, and average-link
clustering of these probabilities makes the bundles. It learns in seconds and answers at once: the floor that tells
whether a language model earns its cost, and evidence that one can be shown.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from math import log, sqrt
from re import compile as compile_pattern

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from kdtui.bundling.metrics import pairs
from kdtui.bundling.threshold import best_threshold
from kdtui.bundling.truth import ENOUGH, ENOUGH_VALID, true_bundles
from kdtui.errors import KdtuiError
from models.bundle_list import WrittenBundle
from models.clustering import Matrix, likely_bundles
from store.records import CategoryPath, Item, Session

_LEVELS = (2, 3, 4)
_PRIOR_WEIGHT = 4
"""How many pairs the overall rate counts for, where two categories have been seen together seldom."""
_FOLDS = 5
_DEPTH, _ALIKE, _RATE = 0, 2, 5
"""Columns of a pair's own features: shared category depth, likeness of titles, and the rate at the third level."""
_WORD = compile_pattern(r"[^\W_]+")


class PatternStudent:
    """Fitted on the training sessions of one dataset; answers sessions of the same kind of products."""

    def __init__(self, evidence: "_Evidence", model: Pipeline, threshold: float) -> None:
        self._evidence = evidence
        self._model = model
        self.threshold = threshold
        """Least mean probability between the members of a bundle; chosen on the validation sessions."""

    @classmethod
    def fit(cls, train: Sequence[Session], valid: Sequence[Session]) -> "PatternStudent":
        """Learn the pair probabilities on `train`, and choose the threshold of the best pair F1 on `valid`.

        Of more than `ENOUGH` sessions some are left out, evenly. Those without bundles choose no threshold.

        The evidence that a training session is judged by comes from the other folds of the training sessions, as
        it will for sessions never seen.

        Raises:
            KdtuiError: the training sessions have no pair that is bundled, or none that is not.
        """
        train, valid = _some(train, ENOUGH), _some(valid, ENOUGH_VALID)
        features: list[Matrix] = []
        labels: list[bool] = []
        for session, evidence in _cross_fitted(train):
            features.append(evidence.features(session))
            bundled = pairs(true_bundles(session))
            labels.extend(pair in bundled for pair in _pairs_of(session))
        if len(set(labels)) < 2:
            raise KdtuiError(
                "there are too few training sessions to learn from: bundled pairs and other pairs are needed"
            )
        model = make_pipeline(StandardScaler(), LogisticRegression())
        model.fit(np.concatenate(features), labels)
        student = cls(_Evidence(train), model, 0.5)
        scored = [each for each in valid if true_bundles(each)] or [each for each in train if true_bundles(each)]
        judged = [(true_bundles(session), student.pair_probabilities(session)) for session in scored]
        student.threshold = best_threshold(judged)
        return student

    def pair_probabilities(self, session: Session) -> Matrix:
        """Probability that two products of the session share a bundle, (items, items), symmetric, 0 on the diagonal."""
        return self._probabilities(session, self._evidence)

    def unseen_probabilities(self, train: Sequence[Session]) -> dict[str, Matrix]:
        """The same for the training sessions, by id, each as if it had never been seen."""
        return {session.id: self._probabilities(session, evidence) for session, evidence in _cross_fitted(train)}

    def _probabilities(self, session: Session, evidence: "_Evidence") -> Matrix:
        size = len(session.items)
        matrix = np.zeros((size, size))
        if size > 1:
            rows, columns = np.triu_indices(size, 1)
            matrix[rows, columns] = self._model.predict_proba(evidence.features(session))[:, 1]
        return matrix + matrix.T

    def write_bundles(self, session: Session) -> Iterator[WrittenBundle]:
        """The bundles of a session, the most confident first: the mean probability of a bundle's pairs."""
        probabilities = self.pair_probabilities(session)
        for number, (confidence, positions) in enumerate(likely_bundles(probabilities, self.threshold)):
            intent = _name([session.items[position - 1] for position in positions])
            yield WrittenBundle(number, positions, intent, confidence, complete=True)


def _some(sessions: Sequence[Session], count: int) -> Sequence[Session]:
    """No more than so many of them, evenly taken."""
    return sessions[:: max(1, -(-len(sessions) // count))]


def _cross_fitted(train: Sequence[Session]) -> Iterator[tuple[Session, "_Evidence"]]:
    """The training sessions, each with the evidence of the other folds."""
    for fold in range(_FOLDS):
        evidence = _Evidence([session for number, session in enumerate(train) if number % _FOLDS != fold])
        for session in train[fold::_FOLDS]:
            yield session, evidence


class _Evidence:
    """What training sessions say of two products: how often their categories were bundled when seen together."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._seen: Counter[tuple[CategoryPath, CategoryPath]] = Counter()
        self._bundled: Counter[tuple[CategoryPath, CategoryPath]] = Counter()
        titles = {item.id: _words(item) for session in sessions for item in session.items}
        self._titles = len(titles)
        self._titles_with = Counter(word for words in titles.values() for word in words)
        all_pairs = bundled_pairs = 0
        for session in sessions:
            bundled = pairs(true_bundles(session))
            for a, b in _pairs_of(session):
                keys = _category_pairs(session.items[a - 1], session.items[b - 1])
                self._seen.update(keys)
                all_pairs += 1
                if (a, b) in bundled:
                    self._bundled.update(keys)
                    bundled_pairs += 1
        self._rate = bundled_pairs / all_pairs if all_pairs else 0.5

    def features(self, session: Session) -> Matrix:
        """One row per pair of the session's products, in the order of `_pairs_of`: what is known of the two, and how
        that compares with the rest of the session."""
        words = [_words(item) for item in session.items]
        norms = [sqrt(sum(self._weight(word) ** 2 for word in each)) or 1.0 for each in words]
        size = log(len(session.items))
        rows = []
        for a, b in _pairs_of(session):
            one, other = session.items[a - 1], session.items[b - 1]
            shared = sum(self._weight(word) ** 2 for word in words[a - 1] & words[b - 1])
            rows.append(
                [
                    _shared_depth(one, other),
                    (not one.categories) + (not other.categories),
                    shared / (norms[a - 1] * norms[b - 1]),
                    size,
                    *(self._bundled_rate(key) for key in _category_pairs(one, other)),
                ]
            )
        own = np.array(rows, dtype=np.float64).reshape(len(rows), 4 + len(_LEVELS))
        return np.hstack([own, _context(own, len(session.items))])

    def _bundled_rate(self, key: tuple[CategoryPath, CategoryPath]) -> float:
        """Rate at which two categories were bundled when seen together, drawn to the overall rate where seldom seen."""
        return (self._bundled[key] + _PRIOR_WEIGHT * self._rate) / (self._seen[key] + _PRIOR_WEIGHT)

    def _weight(self, word: str) -> float:
        """Inverse document frequency of a word among titles."""
        return log((self._titles + 1) / (self._titles_with[word] + 1))


def _context(own: Matrix, size: int) -> Matrix:
    """For each pair of a session, from the rows of all its pairs: how often the two are bundled with the others, and
    how alike their titles are; how well a third product goes with both; and the means of the session.

    Two products that go with everything are bundled less often than two that go with each other alone.
    """
    rows, columns = np.triu_indices(size, 1)
    if size < 2:
        return np.zeros((0, 6))
    rate, alike = (_symmetric(own[:, column], size) for column in (_RATE, _ALIKE))
    third = np.minimum(rate[rows], rate[columns])
    pair = np.arange(len(rows))
    third[pair, rows] = third[pair, columns] = 0
    rates, likest = rate.sum(axis=1), alike.max(axis=1)
    return np.column_stack(
        [
            (rates[rows] + rates[columns]) / (size - 1),
            likest[rows] + likest[columns],
            third.max(axis=1),
            np.tile(own[:, [_RATE, _DEPTH, _ALIKE]].mean(axis=0), (len(rows), 1)),
        ]
    )


def _symmetric(values: npt.NDArray[np.float64], size: int) -> Matrix:
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size, 1)] = values
    return matrix + matrix.T


def _pairs_of(session: Session) -> Iterator[tuple[int, int]]:
    return combinations(range(1, len(session.items) + 1), 2)


def _category_pairs(one: Item, other: Item) -> list[tuple[CategoryPath, CategoryPath]]:
    """The main categories of two products at each level, the smaller first; an empty path where there is none.

    The level is a part of the key, so that a short path is not taken for a cut one.
    """
    first = one.categories[0] if one.categories else ()
    second = other.categories[0] if other.categories else ()
    keys = []
    for level in _LEVELS:
        a, b = sorted((first[:level], second[:level]))
        keys.append(((str(level), *a), (str(level), *b)))
    return keys


def _shared_depth(one: Item, other: Item) -> int:
    """Names that two category paths share from the top, for the two paths that share most."""
    deepest = 0
    for first in one.categories:
        for second in other.categories:
            depth = 0
            while depth < min(len(first), len(second)) and first[depth] == second[depth]:
                depth += 1
            deepest = max(deepest, depth)
    return deepest


def _words(item: Item) -> frozenset[str]:
    return frozenset(_WORD.findall((item.title or "").lower()))


def _name(items: Sequence[Item]) -> str:
    """An intent for products of these categories: what they have in common, or the two most frequent kinds."""
    paths = [item.categories[0] for item in items if item.categories]
    if not paths:
        return "products that go together"
    shared = 0
    while shared < min(map(len, paths)) and len({path[shared] for path in paths}) == 1:
        shared += 1
    if shared > 1 or len(paths) == 1:
        return paths[0][max(shared, 1) - 1]
    kinds = Counter(path[-1] for path in paths).most_common(2)
    return " with ".join(kind for kind, _ in kinds)
