"""Bundles from the probabilities of pairs."""

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
    # Imported here: scipy takes a fifth of a second, and most strategies go without.
    from scipy.cluster.hierarchy import fcluster, linkage

    size = len(probabilities)
    if size < 2:
        return []
    distances = 1 - probabilities[np.triu_indices(size, 1)]
    labels = fcluster(linkage(distances, "average"), 1 - threshold, "distance")
    groups: dict[int, list[int]] = {}
    for number, label in enumerate(labels, start=1):
        groups.setdefault(int(label), []).append(number)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def likely_bundles(probabilities: Matrix, threshold: float) -> list[tuple[float, tuple[int, ...]]]:
    """Clusters of products, each with the mean probability of its pairs, the likeliest first."""
    found = []
    for positions in average_link(probabilities, threshold):
        mean = np.mean([probabilities[a - 1, b - 1] for a, b in combinations(positions, 2)])
        found.append((float(mean), positions))
    return sorted(found, key=lambda each: (-each[0], each[1]))
