"""Which of the ways to put the products of a session together is best, given how likely each pair belongs together.

The ways that are looked at are all stages of average-link and of complete-link clustering. Each is valued by a linear
model of what one may expect of it: how many of its pairs are right, and whether its bundles are true ones or parts of
them. A single threshold for the mean probability, which is what clustering alone offers, finds worse bundles.
"""

from collections.abc import Callable, Iterator, Sequence
from math import exp, log
from typing import NamedTuple, TypeAlias

import numpy as np
from msgspec import Struct

from models.clustering import Link, Matrix, all_merges
from models.logistic import Regression, fit_regression

Truth: TypeAlias = Sequence[frozenset[int]]

_LINKS: tuple[Link, ...] = ("average", "complete")

_LEAST = 0.01
"""Probabilities are kept so far from 0 and 1, where their log odds end."""

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
    """What partitions are valued by.

    Attributes:
        inside: how likely a cluster is a true bundle or a part of one, by `CLUSTER_FEATURES`.
        equal: how likely it is a true bundle.
        value: weights of `PARTITION_FEATURES`.
    """

    inside: Regression
    equal: Regression
    value: dict[str, float]


class Cluster(NamedTuple):
    """Products that may be a bundle.

    Attributes:
        products: their numbers, from 0.
        sums: for each product of the session, the sum of the probabilities of its pairs with these.
        total: the sum of the probabilities of the pairs among them.
        least: the least of these.
    """

    products: tuple[int, ...]
    sums: list[float]
    total: float
    least: float


def best_partition(probabilities: Matrix, model: PartitionModel) -> list[tuple[float, tuple[int, ...]]]:
    """The best bundles of two or more products, which do not overlap.

    Args:
        probabilities: (products, products), symmetric, 0 on the diagonal.

    Returns:
        For each bundle the chance that it is a true one or a part of one, and its product numbers, 1-based and
        ascending; the likeliest first. None where there are fewer than two products.
    """
    best: list[tuple[float, Cluster]] = []
    highest = -float("inf")
    known: dict[tuple[int, ...], tuple[float, float]] = {}
    expected = float(probabilities.sum()) / 2
    weights = [model.value[name] for name in PARTITION_FEATURES]
    for partition in _partitions(probabilities):
        for cluster in partition:
            if cluster.products not in known:
                known[cluster.products] = _chances(cluster, model)
        chances = [known[cluster.products] for cluster in partition]
        found = _partition_features(partition, chances, expected, len(probabilities))
        value = sum(weight * feature for weight, feature in zip(weights, found, strict=True))
        if value > highest:
            highest = value
            best = [(inside, cluster) for (inside, _), cluster in zip(chances, partition, strict=True)]
    bundles = [(chance, tuple(number + 1 for number in sorted(cluster.products))) for chance, cluster in best]
    return sorted(bundles, key=lambda each: (-each[0], each[1]))


def fit_partitions(
    sessions: Sequence[tuple[Matrix, Truth]], value: Callable[[Truth, Sequence[frozenset[int]]], float]
) -> PartitionModel:
    """Fit on sessions whose bundles are known.

    Args:
        sessions: the probabilities of the pairs, as they are for sessions never seen, and the true bundles.
        value: how good some bundles are.
    """
    every = [[tuple(partition) for partition in _partitions(matrix)] for matrix, _ in sessions]
    clusters = [{cluster.products: cluster for partition in found for cluster in partition} for found in every]
    features: list[list[float]] = []
    inside: list[bool] = []
    equal: list[bool] = []
    for (_, truth), found in zip(sessions, clusters, strict=True):
        for cluster in found.values():
            products = _numbered(cluster)
            features.append(list(_cluster_features(cluster).values()))
            inside.append(any(products <= bundle for bundle in truth))
            equal.append(products in truth)
    table = np.array(features)
    model = PartitionModel(
        fit_regression(CLUSTER_FEATURES, table, inside), fit_regression(CLUSTER_FEATURES, table, equal), {}
    )
    rows: list[Matrix] = []
    values: list[Matrix] = []
    for (matrix, truth), found, partitions in zip(sessions, clusters, every, strict=True):
        chances = {products: _chances(cluster, model) for products, cluster in found.items()}
        expected = float(matrix.sum()) / 2
        # What is the same for all partitions of a session does not choose one.
        of_session = [
            _partition_features(each, [chances[cluster.products] for cluster in each], expected, len(matrix))
            for each in partitions
        ]
        rows.append(_centred(of_session))
        values.append(_centred([value(truth, [_numbered(cluster) for cluster in each]) for each in partitions]))
    return PartitionModel(model.inside, model.equal, _ridge(np.concatenate(rows), np.concatenate(values)))


def _centred(values: Sequence[object]) -> Matrix:
    """Differences from the mean."""
    every = np.array(values, np.float64)
    difference: Matrix = every - every.mean(axis=0)
    return difference


def _ridge(features: Matrix, values: Matrix) -> dict[str, float]:
    spread = features.std(axis=0)
    spread[spread == 0] = 1.0
    scaled = features / spread
    weights = np.linalg.solve(scaled.T @ scaled + _RIDGE * np.eye(scaled.shape[1]), scaled.T @ values)
    return dict(zip(PARTITION_FEATURES, (weights / spread).tolist(), strict=True))


def _partitions(probabilities: Matrix) -> Iterator[list[Cluster]]:
    """The clusters of two or more products at each stage of each kind of clustering."""
    size = len(probabilities)
    rows: list[list[float]] = probabilities.tolist()
    for link in _LINKS if size > 1 else ():
        cluster_of = [Cluster((number,), rows[number], 0.0, 1.0) for number in range(size)]
        for _, one, other in all_merges(probabilities, link):
            merged = _merged(cluster_of[one], cluster_of[other], rows)
            for number in merged.products:
                cluster_of[number] = merged
            found = {id(cluster): cluster for cluster in cluster_of if len(cluster.products) > 1}
            yield list(found.values())


def _merged(one: Cluster, other: Cluster, rows: Sequence[Sequence[float]]) -> Cluster:
    between = sum(one.sums[number] for number in other.products)
    least = min(rows[a][b] for a in one.products for b in other.products)
    return Cluster(
        one.products + other.products,
        [a + b for a, b in zip(one.sums, other.sums, strict=True)],
        one.total + other.total + between,
        min(one.least, other.least, least),
    )


def _cluster_features(cluster: Cluster) -> dict[str, float]:
    size = len(cluster.products)
    own = set(cluster.products)
    outside = max((total for number, total in enumerate(cluster.sums) if number not in own), default=0.0) / size
    found = (
        _log_odds(cluster.least),
        _log_odds(cluster.total / (size * (size - 1) / 2)),
        _log_odds(outside),
        log(size),
        log(len(cluster.sums)),
        float(size == len(cluster.sums)),
    )
    return dict(zip(CLUSTER_FEATURES, found, strict=True))


def _chances(cluster: Cluster, model: PartitionModel) -> tuple[float, float]:
    """That a cluster is a true bundle or a part of one, and that it is one."""
    features = _cluster_features(cluster)
    return _sigmoid(model.inside.log_odds_of(features)), _sigmoid(model.equal.log_odds_of(features))


def _partition_features(
    partition: Sequence[Cluster], chances: Sequence[tuple[float, float]], expected: float, products: int
) -> list[float]:
    """In the order of `PARTITION_FEATURES`.

    Args:
        chances: of each cluster, to be inside a true bundle and to equal one.
        expected: how many pairs of the session are expected to share a bundle.
    """
    right = sum(cluster.total for cluster in partition)
    sizes = [len(cluster.products) for cluster in partition]
    count = len(partition)
    inside = sum(chance for chance, _ in chances)
    equal = sum(chance for _, chance in chances)
    none_inside = 1.0
    for chance, _ in chances:
        none_inside *= 1 - chance
    pairs = sum(size * (size - 1) / 2 for size in sizes)
    return [
        2 * right / (pairs + expected),
        count,
        inside / count,
        inside,
        equal / count,
        equal,
        1 - none_inside,
        sum(sizes) / products,
    ]


def _numbered(cluster: Cluster) -> frozenset[int]:
    return frozenset(number + 1 for number in cluster.products)


def _log_odds(probability: float) -> float:
    return log((probability + _LEAST) / (1 - probability + _LEAST))


def _sigmoid(value: float) -> float:
    return 1 / (1 + exp(-value)) if value >= 0 else exp(value) / (1 + exp(value))
