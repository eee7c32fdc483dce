"""A student without a language model: it judges pairs of products by their categories and titles.

The shipped pair model gives each pair of products in a session a probability that they share a bundle, and the most
likely partition gives the bundles. The training sessions of a dataset adapt it: by how much more often categories are
bundled than expected, and by refitting the weights near the shipped ones. So it works without any session, improves
with each one, and is the floor that shows whether a language model is worth its cost.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from msgspec import DecodeError, Struct, ValidationError, json
from msgspec.structs import replace

from kdtui.bundling.metrics import pairs
from kdtui.bundling.truth import MOST_LEARNED_SESSIONS, true_bundles
from kdtui.distill.category_intent import category_intent
from kdtui.distill.category_surprise import LEVELS, SURPRISE_NAMES, LevelCounts, SurpriseFeatures, count_surprises
from kdtui.distill.pair_features import (
    SessionKind,
    TextReader,
    TextVectors,
    feature_names,
    features,
    pairs_of,
    read_text_vectors,
    session_kind,
    stacked_features,
)
from kdtui.distill.pair_model import KindModel, PairModel
from kdtui.errors import KdtuiError
from models.bundle_list import WrittenBundle
from models.pairs.clustering import Matrix
from models.pairs.logistic import Regression, Vector, fit_logistic, sigmoid
from models.pairs.partitions import best_partitions
from models.unit_vectors import Vectors, scaled_to_one
from store.records import Session
from store.subsets import draw_subset

MOST_PRODUCTS = 2000
"""Larger sessions have too many pairs: this size takes a gigabyte and some seconds."""

FOLDS = 5

_TRUST = 1000.0
"""Strength of the prior at the shipped weights: about the weight of this number of pairs."""


class Fold(Struct, frozen=True):
    """A part of the training sessions.

    Attributes:
        sessions: their ids.
        surprises: counts for each of `LEVELS` over all other training sessions.
    """

    sessions: list[str]
    surprises: list[LevelCounts]


class Learned(Struct, frozen=True):
    """What was learned from the sessions of a dataset, in a form that can be stored.

    Attributes:
        kinds: weights for the kinds of sessions that were learned from.
        surprises: counts for each of `LEVELS`; empty if there was nothing to learn from.
        folds: of the sessions that were learned from.
    """

    kinds: dict[SessionKind, Regression]
    surprises: list[LevelCounts]
    folds: list[Fold]


NOTHING_LEARNED = Learned({}, [], [])
"""The result without any training session."""


class PatternStudent:
    """Answers the sessions of one dataset, or of none.

    A training session is judged as if its own bundles had not been counted: by the counts of the other folds.
    """

    def __init__(self, model: PairModel, learned: Learned, reader: TextReader | None) -> None:
        """Build a student.

        Args:
            reader: computes vectors of titles and category names; None without a model for that.
        """
        self._model = model
        self._learned = learned
        self._reader = reader
        self._surprises: dict[int | None, SurpriseFeatures] = {}
        self._fold_of = {session: number for number, fold in enumerate(learned.folds) for session in fold.sessions}

    @classmethod
    def learn(cls, model: PairModel, train: Sequence[Session], reader: TextReader | None) -> "PatternStudent":
        """Adapt the model to training sessions.

        The features of a training session come from the other folds of the training sessions, as they will for unseen
        sessions.
        """
        train = learnable_sessions(train)
        if not train:
            return cls(model, NOTHING_LEARNED, reader)
        vectors = read_text_vectors(train, reader)
        usual: SessionKind = "categories and titles" if vectors is not None else "categories and words"
        bare: SessionKind = "titles" if vectors is not None else "words"
        labels = [pair_labels(session) for session in train]
        learned: dict[SessionKind, Regression] = {}
        counted: list[LevelCounts] = []
        counted_by_fold: list[Fold] = []
        for kind, sessions in ((usual, train), (bare, [without_categories(session) for session in train])):
            known = model.kinds[kind]
            own = [features(session, kind, vectors) for session in sessions]
            expected = [sigmoid(known.alone.log_odds(each)) for each in own]
            folds = list(_count_folds(sessions, expected))
            rows = list(_add_surprises(sessions, own, folds))
            learned[kind] = _adapt_weights(known, np.concatenate(rows), np.concatenate(labels), pair_weights(labels))
            if kind == usual:
                counted, counted_by_fold = count_surprises(zip(sessions, expected, strict=True)), folds
        return cls(model, Learned(learned, counted, counted_by_fold), reader)

    @classmethod
    def from_json(cls, text: bytes | str, model: PairModel, reader: TextReader | None) -> "PatternStudent":
        """Read a student that `to_json` wrote.

        Raises:
            ValueError: the text is something else, or was written by a version with other features.
        """
        try:
            learned = json.decode(text, type=Learned)
        except (DecodeError, ValidationError) as error:
            raise ValueError(f"this is not a pattern student: {error}") from error
        for kind, regression in learned.kinds.items():
            if tuple(regression.weights) != (*feature_names(kind), *SURPRISE_NAMES):
                raise ValueError("this is a pattern student with other features")
            if not np.isfinite([regression.bias, *regression.weights.values()]).all():
                raise ValueError("this is a pattern student with weights that are not numbers")
        if any(len(counts) not in (0, len(LEVELS)) for counts in _all_counts(learned)):
            raise ValueError("this is a pattern student with other levels")
        return cls(model, learned, reader)

    def to_json(self) -> bytes:
        """Encode everything that was learned, for `from_json`."""
        return json.encode(self._learned)

    def pair_probabilities(self, session: Session) -> Matrix:
        """Return the probability that two products share a bundle, (items, items), symmetric, 0 on the diagonal.

        Raises:
            KdtuiError: the session has too many products.
        """
        size = len(session.items)
        if size > MOST_PRODUCTS:
            raise _too_large(session)
        if size < 2:
            return np.zeros((size, size))
        vectors = read_text_vectors([session], self._reader)
        kind = session_kind(session, has_vectors=vectors is not None)
        return np.concatenate(self._probabilities([session], kind, vectors))

    def session_vector(self, session: Session) -> Vectors | None:
        """Return the mean direction of the titles and category names of a session, (dimensions,), of length one.

        Returns:
            None if there is no model for vectors, or no text.
        """
        vectors = read_text_vectors([session], self._reader)
        return scaled_to_one(np.mean([*vectors.values()], axis=0)) if vectors else None

    def write_bundles(self, session: Session) -> list[WrittenBundle]:
        """Return the bundles of a session, most confident first: the probability of being part of a true bundle.

        Raises:
            KdtuiError: the session has too many products.
        """
        [result] = self.write_many([session])
        if isinstance(result, KdtuiError):
            raise result
        return result

    def write_many(self, sessions: Sequence[Session]) -> list[list[WrittenBundle] | KdtuiError]:
        """Return the bundles of several sessions, as from `write_bundles`, or an error for a session with too many
        products.

        This is much faster than one session at a time.
        """
        results: list[list[WrittenBundle] | KdtuiError] = [[] for _ in sessions]
        judged = [number for number, session in enumerate(sessions) if len(session.items) <= MOST_PRODUCTS]
        for number in {*range(len(sessions))}.difference(judged):
            results[number] = _too_large(sessions[number])
        vectors = read_text_vectors([sessions[number] for number in judged], self._reader)
        if vectors is None and self._reader is not None and len(judged) > 1:
            # Sessions whose vectors are cached can still use them, even if other sessions lack theirs.
            for number in judged:
                [results[number]] = self.write_many([sessions[number]])
            return results
        groups: dict[tuple[int, SessionKind, int | None], list[int]] = {}
        for number in judged:
            session = sessions[number]
            if len(session.items) > 1:
                kind = session_kind(session, has_vectors=vectors is not None)
                groups.setdefault((len(session.items), kind, self._fold(session)), []).append(number)
        for (_, kind, _), numbers in groups.items():
            group = [sessions[number] for number in numbers]
            probabilities = self._probabilities(group, kind, vectors)
            partitions = best_partitions(probabilities, self._model.kinds[kind].partitions)
            for number, session, partition in zip(numbers, group, partitions, strict=True):
                results[number] = [
                    WrittenBundle(at, positions, _intent(session, positions), confidence, complete=True)
                    for at, (confidence, positions) in enumerate(partition)
                ]
        return results

    def _fold(self, session: Session) -> int | None:
        """Return the number of the fold that a session is in; None if the student has not learned from it."""
        return self._fold_of.get(session.id) if session.split == "train" else None

    def _surprises_of(self, fold: int | None) -> SurpriseFeatures:
        """Return the counts for sessions of a fold; None for sessions that the student has not learned from."""
        if fold not in self._surprises:
            learned = self._learned
            self._surprises[fold] = SurpriseFeatures(
                learned.surprises if fold is None else learned.folds[fold].surprises
            )
        return self._surprises[fold]

    def _probabilities(self, sessions: Sequence[Session], kind: SessionKind, vectors: TextVectors | None) -> Matrix:
        """Return the pair probabilities of sessions of one size, kind and fold: (sessions, products, products)."""
        size = len(sessions[0].items)
        surprises = self._surprises_of(self._fold(sessions[0]))
        regression = self._learned.kinds.get(kind, self._model.kinds[kind].surprised)
        table = np.concatenate(
            [stacked_features(sessions, kind, vectors), surprises.stacked_features(sessions)], axis=2
        )
        matrix = np.zeros((len(sessions), size, size))
        rows, columns = np.triu_indices(size, 1)
        matrix[:, rows, columns] = sigmoid(regression.log_odds(table))
        return matrix + matrix.swapaxes(1, 2)


def _too_large(session: Session) -> KdtuiError:
    return KdtuiError(
        f"session {session.id!r} has {len(session.items):,} products, and the pattern student takes "
        f"at most {MOST_PRODUCTS:,}; "
        "split it into smaller ones"
    )


def _intent(session: Session, positions: Sequence[int]) -> str:
    return category_intent([session.items[position - 1] for position in positions])


def learnable_sessions(train: Sequence[Session]) -> list[Session]:
    """Return the sessions to learn from: those with pairs, out of a random draw of `MOST_LEARNED_SESSIONS` at most."""
    return [
        session for session in _draw_at_most(train, MOST_LEARNED_SESSIONS) if 1 < len(session.items) <= MOST_PRODUCTS
    ]


def pair_labels(session: Session) -> npt.NDArray[np.bool_]:
    """Return which pairs of the session share a bundle, in the order of `pairs_of`."""
    together = pairs(true_bundles(session))
    return np.array([pair in together for pair in pairs_of(session)], np.bool_)


def pair_weights(labels: Sequence[npt.NDArray[np.bool_]]) -> Vector:
    """Return the weight of each pair: lower in sessions with many pairs, where each says less; 1 on average."""
    counts = np.concatenate([np.full(len(each), len(each) ** -0.5) for each in labels])
    scaled: Vector = counts * (len(counts) / counts.sum())
    return scaled


def split_folds(sessions: Sequence[Session]) -> Iterator[tuple[list[Session], list[Session]]]:
    """Split the sessions randomly into `FOLDS` parts; yield the other sessions and the part."""
    mixed = draw_subset(sessions, len(sessions), 0, lambda session: session.id)
    for fold in range(min(FOLDS, len(mixed))):
        part = mixed[fold::FOLDS]
        inside = {session.id for session in part}
        yield [session for session in mixed if session.id not in inside], part


def _count_folds(sessions: Sequence[Session], expected: Sequence[Vector]) -> Iterator[Fold]:
    """Count the surprises for each fold.

    Args:
        expected: (pairs,) of each session, expected probabilities without the counts.
    """
    likely = {session.id: each for session, each in zip(sessions, expected, strict=True)}
    for others, part in split_folds(sessions):
        yield Fold(
            [session.id for session in part],
            count_surprises((session, likely[session.id]) for session in others),
        )


def _add_surprises(sessions: Sequence[Session], own: Sequence[Matrix], folds: Sequence[Fold]) -> Iterator[Matrix]:
    """Yield the features of the sessions with surprises counted in the other folds, in the order of the sessions.

    Args:
        own: (pairs, features) of each session.
    """
    fold_of = {session: number for number, fold in enumerate(folds) for session in fold.sessions}
    counted = [SurpriseFeatures(fold.surprises) for fold in folds]
    for session, each in zip(sessions, own, strict=True):
        yield np.hstack([each, counted[fold_of[session.id]].features(session)])


def _all_counts(learned: Learned) -> list[list[LevelCounts]]:
    return [learned.surprises, *(fold.surprises for fold in learned.folds)]


def _adapt_weights(model: KindModel, rows: Matrix, labels: npt.NDArray[np.bool_], counts: Vector) -> Regression:
    """Fit weights to the pairs, with a prior at the model's weights."""
    names = tuple(model.surprised.weights)
    mean, spread = np.array([*model.mean.values()]), np.array([*model.spread.values()])
    weights = np.array([*model.surprised.weights.values()])
    prior = (model.surprised.bias + float(mean @ weights), weights * spread)
    bias, fitted = fit_logistic((rows - mean) / spread, labels, counts=counts, penalty=_TRUST, prior=prior)
    fitted = fitted / spread
    return Regression(bias - float(mean @ fitted), dict(zip(names, fitted.tolist(), strict=True)))


def _draw_at_most(sessions: Sequence[Session], count: int) -> Sequence[Session]:
    """Draw at most `count` sessions at random."""
    return sessions if len(sessions) <= count else draw_subset(sessions, count, 0, lambda session: session.id)


def without_categories(session: Session) -> Session:
    """Return the session as if only the titles of its products were known."""
    return replace(session, items=tuple(replace(item, categories=()) for item in session.items))
