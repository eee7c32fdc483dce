"""Training of the shipped pair model, on the training sessions of several datasets."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdtui.bundling.metrics import greedy_jaccard, score
from kdtui.bundling.truth import true_bundles
from kdtui.distill.category_surprise import SURPRISE_NAMES, SurpriseFeatures, count_surprises
from kdtui.distill.pair_features import PAIR_MEASURES, SessionKind, TextVectors, feature_names, features
from kdtui.distill.pair_model import KindModel, PairModel
from kdtui.distill.pattern_student import pair_labels, pair_weights, split_folds, without_categories
from models.pairs.clustering import Matrix
from models.pairs.logistic import Regression, fit_regression, sigmoid
from models.pairs.partitions import Truth, fit_partitions
from store.records import Session

_AMOUNTS = (0, 20, 100, None)
"""Numbers of sessions to count surprises in; None for all. So the model also learns to work with few sessions."""

_DRAWS = 4
"""Number of draws for each amount that is not all."""

_REPEATS = 2
"""Occurrences of each session, each time with another amount."""

_PENALTY = 3.0
"""Regularization: how strongly weights are pulled towards zero."""


@dataclass(frozen=True, slots=True)
class _Example:
    """A session, the features of its pairs without surprises, and whether they share a bundle."""

    session: Session
    own: Matrix
    labels: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Fitted:
    """Fitted parts of a `KindModel`."""

    alone: Regression
    surprised: Regression
    mean: dict[str, float]
    spread: dict[str, float]


def train_pair_model(datasets: Mapping[str, Sequence[Session]], vectors: TextVectors) -> PairModel:
    """Train on sessions with bundles and at least two products, by dataset name.

    Args:
        vectors: vectors of all texts in the sessions.
    """
    return PairModel(
        " and ".join(f"{len(sessions):,} sessions of {name}" for name, sessions in datasets.items()),
        {kind: _train_kind(kind, [*datasets.values()], vectors) for kind in PAIR_MEASURES},
    )


def _train_kind(kind: SessionKind, datasets: Sequence[Sequence[Session]], vectors: TextVectors) -> KindModel:
    every = [
        {
            session.id: _Example(session, features(session, kind, vectors), pair_labels(session))
            for session in (_restrict_to_kind(kind, each) for each in sessions)
        }
        for sessions in datasets
    ]
    rng = random.Random(0)
    fitted = _fit(kind, every, rng)
    # Partitions must be selected by the probabilities of sessions outside the training folds.
    judged: list[tuple[Matrix, Truth]] = []
    for parts in zip(
        *([*split_folds([each.session for each in examples.values()])] for examples in every), strict=True
    ):
        rest = [
            {session.id: examples[session.id] for session in others}
            for examples, (others, _) in zip(every, parts, strict=True)
        ]
        by_others = _fit(kind, rest, rng)
        for examples, others, (_, part) in zip(every, rest, parts, strict=True):
            held = [examples[session.id] for session in part]
            for each, rows in zip(held, _add_surprises(held, [*others.values()], by_others.alone, rng), strict=True):
                probabilities = _matrix(sigmoid(by_others.surprised.log_odds(rows)), len(each.session.items))
                judged.append((probabilities, true_bundles(each.session)))
    return KindModel(fitted.alone, fitted.surprised, fitted.mean, fitted.spread, fit_partitions(judged, _objective))


def _restrict_to_kind(kind: SessionKind, session: Session) -> Session:
    """Return the session with only the knowledge about products that this kind has."""
    return session if kind.startswith("categories") else without_categories(session)


def _fit(kind: SessionKind, datasets: Sequence[Mapping[str, _Example]], rng: random.Random) -> _Fitted:
    every = [example for examples in datasets for example in examples.values()]
    alone = fit_regression(
        feature_names(kind),
        np.concatenate([each.own for each in every]),
        np.concatenate([each.labels for each in every]),
        counts=pair_weights([each.labels for each in every]),
        penalty=_PENALTY,
    )
    rows: list[Matrix] = []
    labels: list[npt.NDArray[np.bool_]] = []
    for examples in datasets:
        for others, part in split_folds([each.session for each in examples.values()]):
            held = [examples[session.id] for session in part] * _REPEATS
            rows += _add_surprises(held, [examples[session.id] for session in others], alone, rng)
            labels += [each.labels for each in held]
    table = np.concatenate(rows)
    names = (*feature_names(kind), *SURPRISE_NAMES)
    fitted = fit_regression(names, table, np.concatenate(labels), counts=pair_weights(labels), penalty=_PENALTY)
    spread = table.std(axis=0)
    spread[spread == 0] = 1.0
    return _Fitted(
        alone,
        fitted,
        dict(zip(names, table.mean(axis=0).tolist(), strict=True)),
        dict(zip(names, spread.tolist(), strict=True)),
    )


def _add_surprises(
    examples: Sequence[_Example], others: Sequence[_Example], alone: Regression, rng: random.Random
) -> Iterator[Matrix]:
    """Yield the features of the examples, with surprises from a random number of random other examples."""
    expected = [sigmoid(alone.log_odds(each.own)) for each in others]
    counted: list[list[SurpriseFeatures]] = []
    for amount in _AMOUNTS:
        draws = 1 if amount in (0, None) else _DRAWS
        counted.append([])
        for _ in range(draws):
            chosen = range(len(others)) if amount is None else rng.sample(range(len(others)), min(amount, len(others)))
            counted[-1].append(
                SurpriseFeatures(count_surprises((others[number].session, expected[number]) for number in chosen))
            )
    for each in examples:
        yield np.hstack([each.own, rng.choice(rng.choice(counted)).features(each.session)])


def _matrix(probabilities: npt.NDArray[np.float64], size: int) -> Matrix:
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size, 1)] = probabilities
    return matrix + matrix.T


def _objective(truth: Truth, bundles: Sequence[frozenset[int]]) -> float:
    """Return the objective for choosing bundles: pair F1 and greedy Jaccard score, plus half the strict metrics.

    Strict metrics by themselves would favour pairs of products, and pair F1 by itself whole sessions.
    """
    scores = score([truth], [bundles])
    strict = (scores.strict_precision + scores.strict_recall) / 2
    return 2 * scores.pair_f1 + strict + 2 * greedy_jaccard(truth, bundles)
