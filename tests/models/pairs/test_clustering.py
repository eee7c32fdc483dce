"""Clusters of pairs: one clustering for all thresholds equals scipy's clusters for each."""

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from models.pairs.clustering import average_links

# Few values, so that distances and thresholds are often equal.
PROBABILITIES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1)


@given(st.data(), st.integers(2, 9), st.lists(PROBABILITIES, max_size=5))
def test_clusters_equal_those_of_scipy(data: st.DataObject, size: int, thresholds: list[float]) -> None:
    probabilities = np.zeros((size, size))
    for one, other in combinations(range(size), 2):
        probabilities[one, other] = probabilities[other, one] = data.draw(PROBABILITIES)
    merges = linkage(1 - probabilities[np.triu_indices(size, 1)], "average")
    for threshold, found in zip(thresholds, average_links(probabilities, thresholds), strict=True):
        labels = fcluster(merges, 1 - threshold, "distance")
        groups = [tuple((np.flatnonzero(labels == label) + 1).tolist()) for label in np.unique(labels)]
        assert found == sorted(group for group in groups if len(group) > 1)


def test_one_product_has_no_clusters() -> None:
    assert average_links(np.zeros((1, 1)), [0.1, 0.9]) == [[], []]
