"""From which probability on products are put together: chosen where the truth is known."""

from collections.abc import Iterable, Sequence

import numpy as np

from kdtui.bundling.metrics import pair_f1
from models.clustering import Matrix, average_link

_THRESHOLDS: tuple[float, ...] = tuple(np.arange(0.10, 0.80, 0.02).tolist())


def best_threshold(judged: Sequence[tuple[Iterable[frozenset[int]], Matrix]]) -> float:
    """The threshold of the best mean pair F1, on true bundles and pair probabilities of sessions."""

    def total(threshold: float) -> float:
        return sum(
            pair_f1(list(truth), [frozenset(found) for found in average_link(probabilities, threshold)])
            for truth, probabilities in judged
        )

    return max(_THRESHOLDS, key=total)
