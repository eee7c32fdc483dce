"""How well predicted bundles match the true ones: the paper's metrics, and strict ones beside them.

The *paper metrics* follow AICL's released code (Sun et al., SIGIR 2024): predicted bundles of one item are
dropped, a session with nothing left is left out of the averages, and a prediction hits when it is a subset of a
true bundle. They reward abstaining and tiny bundles, so the *strict metrics* count every session.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import nan
from typing import TypeAlias

Bundles: TypeAlias = Sequence[frozenset[int]]


@dataclass(frozen=True, slots=True)
class Scores:
    """Averages over the sessions of one run. Shares and rates are in 0..1 (recall, as the paper has it, can exceed 1).

    Attributes:
        n: sessions with at least one predicted bundle; the paper metrics average over these alone.
        sessions: all sessions; the strict metrics average over these.
        precision: hits / predicted bundles, mean over the `n` sessions; nan when `n` is 0.
        recall: hits / true bundles, mean over the `n` sessions; hits count predictions. nan when `n` is 0.
        coverage: size of the prediction / size of the true bundle, mean over all hits; nan without a hit.
        strict_precision: hits / predicted bundles, 0 where nothing was predicted.
        strict_recall: true bundles hit at least once / true bundles; a prediction hits only the first that holds it.
        pair_f1: 2|P & T| / (|P| + |T|) over the unordered item pairs that share a bundle.
        exact: share of sessions whose set of predicted bundles equals the truth.
        bundles_per_session: mean number of predicted bundles.
        valid: share of sessions for which the student produced an output at all.
    """

    n: int
    sessions: int
    precision: float
    recall: float
    coverage: float
    strict_precision: float
    strict_recall: float
    pair_f1: float
    exact: float
    bundles_per_session: float
    valid: float


def pairs(bundles: Iterable[frozenset[int]]) -> set[tuple[int, int]]:
    """Unordered item pairs that share a bundle, each with the smaller position first."""
    return {pair for bundle in bundles for pair in combinations(sorted(bundle), 2)}


def pair_f1(truth: Bundles, predicted: Bundles) -> float:
    """F1 over item pairs of one session; 1.0 when neither side has a pair."""
    true_pairs, predicted_pairs = pairs(truth), pairs(predicted)
    total = len(true_pairs) + len(predicted_pairs)
    return 2 * len(true_pairs & predicted_pairs) / total if total else 1.0


def score(truths: Sequence[Bundles], predictions: Sequence[Bundles | None]) -> Scores:
    """Score the predictions of a run, session by session.

    Args:
        truths: the minimal true bundles of each session; none may be empty.
        predictions: as many; None where the student failed, which counts as no bundle and as not valid.

    Raises:
        ValueError: the two lengths differ, or a session has no true bundle.
    """
    if len(truths) != len(predictions):
        raise ValueError(f"{len(truths)} true sessions but {len(predictions)} predictions")
    precision: list[float] = []
    recall: list[float] = []
    coverage: list[float] = []
    strict_recall: list[float] = []
    f1: list[float] = []
    exact = bundle_count = 0
    for truth, prediction in zip(truths, predictions, strict=True):
        if not truth:
            raise ValueError("a session without true bundles cannot be scored")
        predicted = [bundle for bundle in prediction or () if len(bundle) > 1]
        # As in AICL's code, the first true bundle that holds the prediction is the one it hits.
        hits = [
            (bundle, hit)
            for bundle in predicted
            if (hit := next((true for true in truth if bundle <= true), None)) is not None
        ]
        if predicted:
            precision.append(len(hits) / len(predicted))
            recall.append(len(hits) / len(truth))
        coverage.extend(len(bundle) / len(true) for bundle, true in hits)
        strict_recall.append(len({true for _, true in hits}) / len(truth))
        f1.append(pair_f1(truth, predicted))
        exact += set(predicted) == set(truth)
        bundle_count += len(predicted)
    sessions = len(truths)
    return Scores(
        n=len(precision),
        sessions=sessions,
        precision=_ratio(sum(precision), len(precision)),
        recall=_ratio(sum(recall), len(recall)),
        coverage=_ratio(sum(coverage), len(coverage)),
        strict_precision=_ratio(sum(precision), sessions),
        strict_recall=_ratio(sum(strict_recall), sessions),
        pair_f1=_ratio(sum(f1), sessions),
        exact=_ratio(exact, sessions),
        bundles_per_session=_ratio(bundle_count, sessions),
        valid=_ratio(sum(prediction is not None for prediction in predictions), sessions),
    )


def _ratio(total: float, count: int) -> float:
    return total / count if count else nan
