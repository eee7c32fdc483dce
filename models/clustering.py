"""Bundles from the probabilities of pairs."""

from collections.abc import Iterable

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
    # Each merge is of clusters farther apart than the one before: a threshold allows the first so many.
    allowed = [int(np.searchsorted(merges[:, 2], 1 - threshold, "right")) for threshold in thresholds]
    groups: dict[int, tuple[int, ...]] = {number: (number + 1,) for number in range(size)}
    found = {0: list[tuple[int, ...]]()}
    for done, (one, other) in enumerate(merges[: max(allowed, default=0), :2].astype(int).tolist(), start=1):
        groups[size + done - 1] = tuple(sorted(groups.pop(one) + groups.pop(other)))
        if done in allowed:
            found[done] = sorted(group for group in groups.values() if len(group) > 1)
    return [found[count] for count in allowed]


def likely_bundles(probabilities: Matrix, threshold: float) -> list[tuple[float, tuple[int, ...]]]:
    """Clusters of products, each with the mean probability of its pairs, the likeliest first."""
    found = []
    for positions in average_link(probabilities, threshold):
        places = np.array(positions) - 1
        of_pairs = probabilities[np.ix_(places, places)][np.triu_indices(len(places), 1)]
        found.append((float(of_pairs.mean()), positions))
    return sorted(found, key=lambda each: (-each[0], each[1]))
