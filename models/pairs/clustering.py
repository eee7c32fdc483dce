"""Clusters of products from the probabilities of pairs.

scipy finds the same clusters. But it takes three tenths of a second to import, and checks its input for longer than it
takes to cluster the few products of a session. The clusters of this module equal those of scipy, including ties.
"""

from collections.abc import Iterable
from math import fsum, inf
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

Link: TypeAlias = Literal["average", "complete"]
"""The distance of two clusters: the mean of the distances of their products, or the largest."""


def average_link(probabilities: Matrix, threshold: float) -> list[tuple[int, ...]]:
    """Return average-link clusters of two or more products whose mean probability is at least the threshold.

    Args:
        probabilities: (products, products), symmetric.

    Returns:
        Product numbers, 1-based and ascending, for each cluster.
    """
    [clusters] = average_links(probabilities, [threshold])
    return clusters


def average_links(probabilities: Matrix, thresholds: Iterable[float]) -> list[list[tuple[int, ...]]]:
    """Do the same for several thresholds, with one clustering for all."""
    size = len(probabilities)
    if size < 2:
        return [[] for _ in thresholds]
    merges = all_merges(probabilities, "average")
    # Each merge is of clusters farther apart than the one before, so a threshold allows the first N merges.
    allowed = [sum(distance <= 1 - threshold for distance, _, _ in merges) for threshold in thresholds]
    cluster_of = [[number] for number in range(1, size + 1)]
    clusters_after = {0: list[tuple[int, ...]]()}
    for done, (_, one, other) in enumerate(merges[: max(allowed, default=0)], start=1):
        small, large = sorted((cluster_of[one], cluster_of[other]), key=len)
        large += small
        for number in small:
            cluster_of[number - 1] = large
        if done in allowed:
            clusters = {id(cluster): cluster for cluster in cluster_of}
            clusters_after[done] = sorted(tuple(sorted(cluster)) for cluster in clusters.values() if len(cluster) > 1)
    return [clusters_after[count] for count in allowed]


def all_merges(probabilities: Matrix, link: Link) -> list[tuple[float, int, int]]:
    """Return the merges of agglomerative clustering, the nearest first, by nearest-neighbour chains (Murtagh, 1983).

    Args:
        probabilities: (products, products), symmetric; the more likely, the nearer.

    Returns:
        The distance of the two clusters, 0..1, and a product of each, from 0.
    """
    # For the few products of a session, lists of floats are several times as fast as arrays.
    distances: list[list[float]] = (1 - probabilities).tolist()
    size = len(distances)
    members = [1] * size
    alive = list(range(size))
    for point in alive:
        distances[point][point] = inf
    merges: list[tuple[float, int, int]] = []
    chain: list[int] = []
    while len(alive) > 1:
        if not chain:
            chain.append(alive[0])
        while True:
            row = distances[chain[-1]]
            nearest = min(row)
            # Among equally near clusters take the previous one in the chain, so that the chain ends.
            if len(chain) > 1 and row[chain[-2]] == nearest:
                break
            chain.append(row.index(nearest))
        gone, kept = sorted((chain.pop(), chain.pop()))
        merges.append((nearest, gone, kept))
        alive.remove(gone)
        one, other = members[gone], members[kept]
        members[kept] = one + other
        from_gone, from_kept = distances[gone], distances[kept]
        for point in alive:
            if point != kept:
                if link == "average":
                    apart = (one * from_gone[point] + other * from_kept[point]) / (one + other)
                else:
                    apart = max(from_gone[point], from_kept[point])
                from_kept[point] = distances[point][kept] = apart
            distances[point][gone] = inf
    return sorted(merges, key=lambda merge: merge[0])


def likely_bundles(probabilities: Matrix, threshold: float) -> list[tuple[float, tuple[int, ...]]]:
    """Return clusters of products, each with the mean probability of its pairs, the likeliest first."""
    bundles = []
    for positions in average_link(probabilities, threshold):
        of_pairs = [
            float(probabilities[one - 1, other - 1])
            for place, one in enumerate(positions)
            for other in positions[:place]
        ]
        bundles.append((fsum(of_pairs) / len(of_pairs), positions))
    return sorted(bundles, key=lambda each: (-each[0], each[1]))
