"""From which probability on products are put together: chosen where the truth is known."""

from collections.abc import Iterable, Sequence

import numpy as np

from kdtui.bundling.metrics import score
from models.clustering import Matrix, average_links

_THRESHOLDS: tuple[float, ...] = tuple(np.arange(0.10, 0.80, 0.02).tolist())


def best_threshold(judged: Sequence[tuple[Iterable[frozenset[int]], Matrix]]) -> float:
    """The threshold of the best pair F1 and strict metrics, on true bundles and pair probabilities of sessions.

    Large bundles have more of the pairs, and small ones are right more often: by pair F1 alone, products would be put
    together that no person would. So the mean of strict precision and strict recall counts as much.
    """
    truths = [list(truth) for truth, _ in judged]
    found = [average_links(probabilities, _THRESHOLDS) for _, probabilities in judged]

    def value(number: int) -> float:
        scores = score(truths, [[frozenset(each) for each in clusters[number]] for clusters in found])
        return scores.pair_f1 + (scores.strict_precision + scores.strict_recall) / 2

    return _THRESHOLDS[max(range(len(_THRESHOLDS)), key=value)]
