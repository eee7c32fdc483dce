"""A student without a language model: pairs of products, judged by what the mined patterns say of their categories.

Logistic regression gives each pair of products of a session a probability that they share a bundle, and average-link
clustering of these probabilities makes the bundles. It learns in seconds and answers at once: the floor that tells
whether a language model earns its cost, and evidence that one can be shown.
"""

from collections.abc import Iterator, Sequence
from math import isfinite

import numpy as np
from msgspec import DecodeError, Struct, ValidationError, json
from msgspec.structs import replace

from kdtui.bundling.metrics import pairs
from kdtui.bundling.threshold import best_threshold
from kdtui.bundling.truth import ENOUGH, ENOUGH_VALID, true_bundles
from kdtui.distill.category_intent import category_intent
from kdtui.distill.pair_statistics import FEATURES, LEVELS, PairFeatures, PairStatistics, count_pairs, pairs_of
from kdtui.errors import KdtuiError
from models.bundle_list import WrittenBundle
from models.clustering import Matrix, likely_bundles
from models.logistic import fit_logistic, sigmoid
from store.records import Session
from store.subsets import drawn

MOST_PRODUCTS = 2000
"""Larger sessions have too many pairs: this many take a gigabyte and some seconds."""

_FOLDS = 5


class Regression(Struct, frozen=True):
    """From features to the log odds that two products share a bundle: bias + the sum of weight x feature."""

    bias: float
    weights: dict[str, float]


class PairModel(Struct, frozen=True):
    """What makes probabilities of features.

    Attributes:
        usual: for sessions in which a product has a category.
        titles: for those in which none has one. By the other regression, which has seen such sessions seldom or never,
            products of which nothing is known but a title would go with everything, or with nothing.
    """

    usual: Regression
    titles: Regression


class _Stored(Struct, frozen=True):
    """What `to_json` writes."""

    threshold: float
    model: PairModel
    statistics: PairStatistics


class PatternStudent:
    """Fitted on the training sessions of one dataset; answers sessions of the same kind of products."""

    def __init__(self, statistics: PairStatistics, model: PairModel, threshold: float) -> None:
        self._statistics = statistics
        self._features = PairFeatures(statistics)
        self._model = model
        self.threshold = threshold
        """Least mean probability between the members of a bundle; chosen on the validation sessions."""

    @classmethod
    def fit(cls, train: Sequence[Session], valid: Sequence[Session]) -> "PatternStudent":
        """Learn the pair probabilities on `train`, and choose the threshold of the best bundles on both.

        Of more than `ENOUGH` sessions some are left out, by chance. Those without bundles choose no threshold.

        The statistics that a training session is judged by come from the other folds of the training sessions, as
        they will for sessions never seen. So training sessions may choose the threshold too: the validation sessions
        alone are too few, and a threshold of theirs differs by as much as it matters.

        Raises:
            KdtuiError: the training sessions have no pair that is bundled, or none that is not.
        """
        train, valid = _some(train, ENOUGH), _some(valid, ENOUGH_VALID)
        judged: list[tuple[Session, Matrix]] = []
        bare: list[Matrix] = []
        for session, others in _cross_fitted(train):
            if len(session.items) <= MOST_PRODUCTS:
                judged.append((session, others.features(session)))
                bare.append(others.features(_without_categories(session)))
        together = [(pairs(true_bundles(session)), session) for session, _ in judged]
        labels = [pair in bundled for bundled, session in together for pair in pairs_of(session)]
        if len(set(labels)) < 2:
            raise KdtuiError(
                "there are too few training sessions to learn from: bundled pairs and other pairs are needed"
            )
        usual = np.concatenate([features for _, features in judged])
        model = PairModel(_regression(usual, labels), _regression(np.concatenate(bare), labels))
        student = cls(count_pairs(train), model, 0.5)
        judged += [
            (session, student._features.features(session)) for session in valid if len(session.items) <= MOST_PRODUCTS
        ]
        student.threshold = best_threshold(
            [
                (true_bundles(session), student._matrix(features, session))
                for session, features in judged
                if session.bundles
            ]
        )
        return student

    def to_json(self) -> bytes:
        """All that was learned, to be kept and read again by `from_json`."""
        return json.encode(_Stored(self.threshold, self._model, self._statistics))

    @classmethod
    def from_json(cls, text: bytes | str) -> "PatternStudent":
        """The student that `to_json` wrote.

        Raises:
            ValueError: the text is something else, or was written by a version with other features.
        """
        try:
            found = json.decode(text, type=_Stored)
        except (DecodeError, ValidationError) as error:
            raise ValueError(f"this is no pattern student: {error}") from error
        regressions = (found.model.usual, found.model.titles)
        numbers = [found.threshold, found.statistics.rate]
        for each in regressions:
            numbers += [each.bias, *each.weights.values()]
        if any(tuple(each.weights) != FEATURES for each in regressions) or len(found.statistics.levels) != len(LEVELS):
            raise ValueError("this is a pattern student with other features")
        if not all(map(isfinite, numbers)):
            raise ValueError("this is a pattern student with weights that are no numbers")
        return cls(found.statistics, found.model, found.threshold)

    def pair_probabilities(self, session: Session) -> Matrix:
        """Probability that two products of the session share a bundle, (items, items), symmetric, 0 on the diagonal.

        Raises:
            KdtuiError: the session has too many products.
        """
        return self._probabilities(session, self._features)

    def unseen_probabilities(self, train: Sequence[Session]) -> dict[str, Matrix]:
        """The same for the training sessions, by id, each as if it had never been seen."""
        return {session.id: self._probabilities(session, others) for session, others in _cross_fitted(train)}

    def _probabilities(self, session: Session, source: PairFeatures) -> Matrix:
        size = len(session.items)
        if size > MOST_PRODUCTS:
            raise KdtuiError(
                f"session {session.id!r} has {size:,} products, and patterns judge {MOST_PRODUCTS:,} at most; "
                "split it into smaller ones"
            )
        return self._matrix(source.features(session), session)

    def _matrix(self, features: Matrix, session: Session) -> Matrix:
        """Probabilities of the pairs of a session with these features, (items, items)."""
        has_categories = any(item.categories for item in session.items)
        regression = self._model.usual if has_categories else self._model.titles
        matrix = np.zeros((len(session.items), len(session.items)))
        odds = regression.bias + features @ np.array([*regression.weights.values()])
        matrix[np.triu_indices(len(matrix), 1)] = sigmoid(odds)
        return matrix + matrix.T

    def write_bundles(self, session: Session) -> Iterator[WrittenBundle]:
        """The bundles of a session, the most confident first: the mean probability of a bundle's pairs.

        Raises:
            KdtuiError: the session has too many products.
        """
        probabilities = self.pair_probabilities(session)
        for number, (confidence, positions) in enumerate(likely_bundles(probabilities, self.threshold)):
            intent = category_intent([session.items[position - 1] for position in positions])
            yield WrittenBundle(number, positions, intent, confidence, complete=True)


def _some(sessions: Sequence[Session], count: int) -> Sequence[Session]:
    """No more than so many of them, drawn by chance."""
    return sessions if len(sessions) <= count else drawn(sessions, count, 0, lambda session: session.id)


def _cross_fitted(train: Sequence[Session]) -> Iterator[tuple[Session, PairFeatures]]:
    """The training sessions, each with the statistics of the other folds."""
    for fold in range(_FOLDS):
        others = PairFeatures(count_pairs(session for number, session in enumerate(train) if number % _FOLDS != fold))
        for session in train[fold::_FOLDS]:
            yield session, others


def _without_categories(session: Session) -> Session:
    """The session as it would be if nothing were known of its products but their titles."""
    return replace(session, items=tuple(replace(item, categories=()) for item in session.items))


def _regression(features: Matrix, labels: Sequence[bool]) -> Regression:
    """Fit on features of any scale; those that never change get no weight."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread == 0] = 1.0
    bias, weights = fit_logistic((features - mean) / spread, labels)
    weights = weights / spread
    return Regression(bias - float(mean @ weights), dict(zip(FEATURES, weights.tolist(), strict=True)))
