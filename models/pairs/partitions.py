"""The best partition of the products of a session into bundles, given how likely each pair belongs together.

The candidates are all stages of average-link and of complete-link clustering. A linear model predicts the value of
each: how many of its pairs are right, and whether its bundles are true ones or parts of them. A single threshold for
the mean probability, which plain clustering offers, finds worse bundles.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from models.pairs.clustering import Link, Matrix, all_merges
from models.pairs.logistic import Regression, Vector, fit_regression, sigmoid

Truth: TypeAlias = Sequence[frozenset[int]]

_Numbers: TypeAlias = npt.NDArray[np.intp]

_LINKS: tuple[Link, ...] = ("average", "complete")

_LEAST = 0.01
"""Probabilities are kept this far from 0 and 1, so that their log odds are finite."""

_RIDGE = 100.0

CLUSTER_FEATURES = (
    "log odds of the least likely pair",
    "log odds of the mean pair",
    "log odds of the likeliest product outside",
    "ln(products)",
    "ln(products of the session)",
    "is the whole session",
)

PARTITION_FEATURES = (
    "expected pair F1",
    "bundles",
    "chance to be inside a true bundle, mean",
    "chance to be inside a true bundle, sum",
    "chance to equal a true bundle, mean",
    "chance to equal a true bundle, sum",
    "chance that one is inside a true bundle",
    "share of products in a bundle",
)


class PartitionModel(Struct, frozen=True):
    """Predicts the value of partitions.

    Attributes:
        inside: predicts whether a cluster is a true bundle or a part of one, by `CLUSTER_FEATURES`.
        equal: predicts whether it is a true bundle.
        value: weights of `PARTITION_FEATURES`.
    """

    inside: Regression
    equal: Regression
    value: dict[str, float]


def best_partition(probabilities: Matrix, model: PartitionModel) -> list[tuple[float, tuple[int, ...]]]:
    """Return the bundles of the best partition of a session.

    Args:
        probabilities: (products, products), symmetric, 0 on the diagonal.

    Returns:
        For each bundle the probability that it is a true one or a part of one, and its product numbers, 1-based and
        ascending; the likeliest first. None if there are fewer than two products.
    """
    [bundles] = best_partitions(probabilities[np.newaxis], model)
    return bundles


def best_partitions(probabilities: Matrix, model: PartitionModel) -> list[list[tuple[float, tuple[int, ...]]]]:
    """Do the same for several sessions with the same number of products: (sessions, products, products).

    The result for a session does not depend on the others.
    """
    if probabilities.shape[1] < 2:
        return [[] for _ in probabilities]
    stages = _stages(probabilities)
    inside, equal = _chances(stages, model)
    values = _partition_features(stages, inside, equal) @ np.array([model.value[name] for name in PARTITION_FEATURES])
    # Of equal values the first, so the links of a session are compared together.
    chosen = values.reshape(len(probabilities), -1).argmax(axis=1).tolist()
    count = stages.totals.shape[1]
    best = []
    for session, place in enumerate(chosen):
        row, stage = session * len(_LINKS) + place // count, place % count
        chances = inside[row].tolist()
        bundles = [(chances[cluster], positions) for cluster, positions in stages.clusters_at(row, stage)]
        best.append(sorted(bundles, key=lambda each: (-each[0], each[1])))
    return best


def fit_partitions(
    sessions: Sequence[tuple[Matrix, Truth]], value: Callable[[Truth, Sequence[frozenset[int]]], float]
) -> PartitionModel:
    """Fit on sessions whose bundles are known.

    Args:
        sessions: the probabilities of the pairs, as they are for unseen sessions, and the true bundles.
        value: returns how good some bundles are.
    """
    known = [(truth, _stages(matrix[np.newaxis])) for matrix, truth in sessions if len(matrix) > 1]
    features: list[Matrix] = []
    inside: list[bool] = []
    equal: list[bool] = []
    for truth, stages in known:
        table = _cluster_features(stages)
        # A cluster that occurs several times counts once.
        distinct: dict[frozenset[int], Matrix] = {}
        for row, stage in np.ndindex(stages.totals.shape):
            distinct.setdefault(frozenset(stages.products_of(row, stage)), table[row, stage])
        for products, each in distinct.items():
            features.append(each)
            inside.append(any(products <= bundle for bundle in truth))
            equal.append(products in truth)
    stacked = np.array(features)
    model = PartitionModel(
        fit_regression(CLUSTER_FEATURES, stacked, inside), fit_regression(CLUSTER_FEATURES, stacked, equal), {}
    )
    rows: list[Matrix] = []
    values: list[Matrix] = []
    for truth, stages in known:
        of_partitions = _partition_features(stages, *_chances(stages, model))
        # What is the same for all partitions of a session does not help to choose one.
        rows.append(_centred(of_partitions.reshape(-1, len(PARTITION_FEATURES)).tolist()))
        values.append(
            _centred(
                [
                    value(truth, [frozenset(positions) for _, positions in stages.clusters_at(row, stage)])
                    for row, stage in np.ndindex(stages.totals.shape)
                ]
            )
        )
    return PartitionModel(model.inside, model.equal, _ridge(np.concatenate(rows), np.concatenate(values)))


def _centred(values: Sequence[object]) -> Matrix:
    """Return the differences from the mean."""
    every = np.array(values, np.float64)
    difference: Matrix = every - every.mean(axis=0)
    return difference


def _ridge(features: Matrix, values: Matrix) -> dict[str, float]:
    spread = features.std(axis=0)
    spread[spread == 0] = 1.0
    scaled = features / spread
    weights = np.linalg.solve(scaled.T @ scaled + _RIDGE * np.eye(scaled.shape[1]), scaled.T @ values)
    return dict(zip(PARTITION_FEATURES, (weights / spread).tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class _Stages:
    """The stages of the clusterings of sessions with the same number of products.

    Each row is one kind of clustering of one session; the links of a session follow each other. Each stage adds one
    cluster, which gets the number of the stage.

    Attributes:
        expected: (rows,), expected number of pairs of the session that share a bundle.
        sizes: (rows, clusters), number of products.
        totals: (rows, clusters), sum of the probabilities of the pairs inside.
        least: (rows, clusters), minimum of these.
        outside: (rows, clusters), largest mean probability of a product outside with those inside; 0 if there is none.
        ends: (rows, clusters), the stage at which it becomes part of another cluster; the number of stages if never.
        cluster_of: (rows, stages, products), the cluster of each product at each stage; -1 if it is in none.
    """

    expected: Vector
    sizes: Vector
    totals: Vector
    least: Vector
    outside: Vector
    ends: _Numbers
    cluster_of: _Numbers

    def products_of(self, row: int, cluster: int) -> list[int]:
        """Return the product numbers of a cluster, 1-based and ascending."""
        return (np.flatnonzero(self.cluster_of[row, cluster] == cluster) + 1).tolist()

    def clusters_at(self, row: int, stage: int) -> list[tuple[int, tuple[int, ...]]]:
        """Return the clusters at a stage, each with its product numbers, 1-based and ascending."""
        members: dict[int, list[int]] = {}
        for product, cluster in enumerate(self.cluster_of[row, stage].tolist(), start=1):
            if cluster >= 0:
                members.setdefault(cluster, []).append(product)
        return [(cluster, tuple(products)) for cluster, products in members.items()]


def _stages(probabilities: Matrix) -> _Stages:
    """Cluster sessions of two or more products each: (sessions, products, products)."""
    sessions, products, _ = probabilities.shape
    merges = np.array(
        [[(one, other) for _, one, other in all_merges(matrix, link)] for matrix in probabilities for link in _LINKS],
        np.intp,
    )
    rows, count = sessions * len(_LINKS), products - 1
    every = np.arange(rows)
    # The data of a cluster is stored at the index of one of its products: for each product of the session the sum and
    # the minimum of the probabilities of its pairs with those inside.
    sums = np.repeat(probabilities, len(_LINKS), axis=0)
    lows = sums.copy()
    members = np.repeat(np.eye(products, dtype=np.bool_)[np.newaxis], rows, axis=0)
    total, low = np.zeros((rows, products)), np.ones((rows, products))
    number = np.full((rows, products), -1, np.intp)
    sizes, totals, least, outside = (np.empty((rows, count)) for _ in range(4))
    ends = np.full((rows, count), count, np.intp)
    cluster_of = np.empty((rows, count, products), np.intp)
    index_of = np.repeat(np.arange(products)[np.newaxis], rows, axis=0)
    for stage in range(count):
        one, other = (index_of[every, merges[:, stage, side]] for side in (0, 1))
        between = np.where(members[every, other], sums[every, one], 0.0).sum(axis=1)
        nearest = np.where(members[every, other], lows[every, one], np.inf).min(axis=1)
        for side in (one, other):
            has_number = number[every, side] >= 0
            ends[every[has_number], number[every, side][has_number]] = stage
        merged = members[every, one] | members[every, other]
        members[every, other] = merged
        sums[every, other] += sums[every, one]
        lows[every, other] = np.minimum(lows[every, one], lows[every, other])
        total[every, other] += total[every, one] + between
        low[every, other] = np.minimum(np.minimum(low[every, one], low[every, other]), nearest)
        number[every, other] = stage
        index_of = np.where(merged, other[:, np.newaxis], index_of)
        sizes[:, stage] = merged.sum(axis=1)
        totals[:, stage] = total[every, other]
        least[:, stage] = low[every, other]
        outside[:, stage] = np.where(merged, 0.0, sums[every, other]).max(axis=1) / sizes[:, stage]
        cluster_of[:, stage] = np.take_along_axis(number, index_of, axis=1)
    expected = np.repeat(probabilities.reshape(sessions, -1).sum(axis=1) / 2, len(_LINKS))
    return _Stages(expected, sizes, totals, least, outside, ends, cluster_of)


def _cluster_features(stages: _Stages) -> Matrix:
    """Return (rows, clusters, features) in the order of `CLUSTER_FEATURES`."""
    sizes, products = stages.sizes, stages.cluster_of.shape[2]
    return np.stack(
        [
            _log_odds(stages.least),
            _log_odds(stages.totals / (sizes * (sizes - 1) / 2)),
            _log_odds(stages.outside),
            np.log(sizes),
            np.full(sizes.shape, log(products)),
            (sizes == products).astype(np.float64),
        ],
        axis=-1,
    )


def _chances(stages: _Stages, model: PartitionModel) -> tuple[Matrix, Matrix]:
    """Return two arrays (rows, clusters): the chance to be a true bundle or a part of one, and to be a true one."""
    features = _cluster_features(stages)
    return sigmoid(model.inside.log_odds(features)), sigmoid(model.equal.log_odds(features))


def _partition_features(stages: _Stages, inside: Matrix, equal: Matrix) -> Matrix:
    """Return (rows, stages, features) in the order of `PARTITION_FEATURES`.

    Args:
        inside, equal: (rows, clusters), the probability of each cluster to be inside a true bundle, and to equal one.
    """
    sizes = stages.sizes
    numbers = np.arange(sizes.shape[1])
    there = (numbers <= numbers[:, np.newaxis]) & (stages.ends[:, np.newaxis] > numbers[:, np.newaxis])
    of_clusters = np.stack([stages.totals, sizes * (sizes - 1) / 2, sizes, inside, equal, np.ones_like(sizes)], axis=-1)
    right, pairs, bundled, is_inside, is_equal, count = np.moveaxis(there.astype(np.float64) @ of_clusters, -1, 0)
    return np.stack(
        [
            2 * right / (pairs + stages.expected[:, np.newaxis]),
            count,
            is_inside / count,
            is_inside,
            is_equal / count,
            is_equal,
            1 - np.where(there, 1 - inside[:, np.newaxis], 1.0).prod(axis=-1),
            bundled / stages.cluster_of.shape[2],
        ],
        axis=-1,
    )


def _log_odds(probabilities: Matrix) -> Matrix:
    odds: Matrix = np.log((probabilities + _LEAST) / (1 - probabilities + _LEAST))
    return odds
