"""Bundles from the probabilities of pairs."""

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def average_link(probabilities: Matrix, threshold: float) -> list[tuple[int, ...]]:
    """Average-link clusters of two or more products whose mean probability is at least the threshold.

    Args:
        probabilities: (products, products), symmetric.

    Returns:
        Product numbers, 1-based and ascending, for each cluster.
    """
    [clusters] = average_links(probabilities, [threshold])
    return clusters


def average_links(probabilities: Matrix, thresholds: Iterable[float]) -> list[list[tuple[int, ...]]]:
    """The same for each of several thresholds: what is put together first is found once."""
    # Imported here: scipy takes a fifth of a second, and most strategies go without.
    from scipy.cluster.hierarchy import linkage

    size = len(probabilities)
    if size < 2:
        return [[] for _ in thresholds]
    merges = linkage(1 - probabilities[np.triu_indices(size, 1)], "average")
    # What there is after each merge, of which each is farther apart than the one before.
    groups: dict[int, tuple[int, ...]] = {number: (number + 1,) for number in range(size)}
    stages: list[list[tuple[int, ...]]] = [[]]
    for number, (one, other) in enumerate(merges[:, :2].astype(int).tolist(), start=size):
        groups[number] = tuple(sorted(groups.pop(one) + groups.pop(other)))
        stages.append(sorted(group for group in groups.values() if len(group) > 1))
    return [stages[np.searchsorted(merges[:, 2], 1 - threshold, "right")] for threshold in thresholds]


def likely_bundles(probabilities: Matrix, threshold: float) -> list[tuple[float, tuple[int, ...]]]:
    """Clusters of products, each with the mean probability of its pairs, the likeliest first."""
    found = []
    for positions in average_link(probabilities, threshold):
        mean = np.mean([probabilities[a - 1, b - 1] for a, b in combinations(positions, 2)])
        found.append((float(mean), positions))
    return sorted(found, key=lambda each: (-each[0], each[1]))
