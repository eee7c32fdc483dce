"""From which probability on products are put together: chosen where the truth is known."""

from collections.abc import Iterable, Sequence

import numpy as np

from kdtui.bundling.metrics import score
from models.clustering import Matrix, average_link

_THRESHOLDS: tuple[float, ...] = tuple(np.arange(0.10, 0.80, 0.02).tolist())


def best_threshold(judged: Sequence[tuple[Iterable[frozenset[int]], Matrix]]) -> float:
    """The threshold of the best pair F1 and strict metrics, on true bundles and pair probabilities of sessions.

    Large bundles have more of the pairs, and small ones are right more often: by pair F1 alone, products would be put
    together that no person would. So the mean of strict precision and strict recall counts as much.
    """
    truths = [list(truth) for truth, _ in judged]

    def value(threshold: float) -> float:
        scores = score(
            truths,
            [[frozenset(found) for found in average_link(probabilities, threshold)] for _, probabilities in judged],
        )
        return scores.pair_f1 + (scores.strict_precision + scores.strict_recall) / 2

    return max(_THRESHOLDS, key=value)
