"""The threshold of pair probabilities above which products are bundled, chosen on sessions with known bundles."""

from collections.abc import Iterable, Sequence

import numpy as np

from kdtui.bundling.metrics import score
from models.pairs.clustering import Matrix, average_links

_THRESHOLDS: tuple[float, ...] = tuple(np.arange(0.10, 0.80, 0.02).tolist())


def best_threshold(judged: Sequence[tuple[Iterable[frozenset[int]], Matrix]]) -> float:
    """Return the threshold with the best pair F1 and strict metrics over sessions' true bundles and pair probabilities.

    Pair F1 by itself would favour large bundles, which have most of the pairs, and merge products that no annotator
    would. So the mean of strict precision and strict recall has the same weight.
    """
    total = np.zeros(len(_THRESHOLDS))
    for truth, probabilities in judged:
        true = list(truth)
        known: dict[tuple[tuple[int, ...], ...], float] = {}
        for number, clusters in enumerate(average_links(probabilities, _THRESHOLDS)):
            key = tuple(clusters)
            if key not in known:
                known[key] = _objective(true, [frozenset(each) for each in clusters])
            total[number] += known[key]
    return _THRESHOLDS[int(total.argmax())]


def _objective(truth: Sequence[frozenset[int]], predicted: Sequence[frozenset[int]]) -> float:
    scores = score([truth], [predicted])
    return scores.pair_f1 + (scores.strict_precision + scores.strict_recall) / 2
