"""How well predicted bundles match the true ones.

- The *paper metrics* follow the code that the authors of AICL (Sun et al., SIGIR 2024) released, as of 2025-12-05:
  predicted bundles of one item are dropped, a session with none left is excluded from the averages, and a prediction
  hits every true bundle that contains it. Before that date, their code let a prediction hit only one bundle, and
  divided hits by true bundles for recall; earlier papers may use that definition. `recall_2024` is that recall.
- The paper metrics reward abstention and tiny bundles, so the *strict metrics* count every session.
- The *set metrics* require bundles that equal a true one. Published results use them, over the sessions with a
  prediction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan, nan
from typing import TypeAlias

Bundles: TypeAlias = Sequence[frozenset[int]]


@dataclass(frozen=True, slots=True)
class Scores:
    """Averages over the sessions of one run. "Answered" sessions are those with at least one predicted bundle.

    All are in 0..1, except precision and recall_2024, which exceed 1 if a prediction hits several true bundles, or
    several predictions hit one.

    Attributes:
        n: answered sessions.
        sessions: all sessions.
        precision: pairs of a prediction and a true bundle that contains it / predicted bundles, mean over the answered
            sessions; nan if there are none.
        recall: true bundles that contain a prediction / true bundles, mean over the answered sessions; nan if there are
            none.
        recall_2024: predictions that a true bundle contains / true bundles, the same mean: recall as defined until
            2025.
        coverage: size of the prediction / size of the true bundle, mean over all pairs of a hit; nan without a hit.
        strict_precision: predictions that a true bundle contains / predicted bundles, 0 without predictions.
        strict_recall: true bundles that contain a prediction / true bundles.
        pair_f1: 2|P & T| / (|P| + |T|) over the unordered item pairs that share a bundle.
        exact: share of sessions whose set of predicted bundles equals the truth.
        set_precision: predictions that equal a true bundle / predicted bundles, mean over the answered sessions.
        set_recall: true bundles that equal a prediction / true bundles, mean over the answered sessions.
        gjs: greedy Jaccard score, mean over the answered sessions; see `greedy_jaccard`.
        bundles_per_session: mean number of predicted bundles.
        valid: share of sessions for which the student produced any output.
        intent_bundles, intent_matched, intent_f1, intent_rouge_l, intent_cosine: see `kdtui.bundling.intent_metrics`;
            the last three are nan if no prediction has an intent, and the last one without an encoder.
    """

    n: int
    sessions: int
    precision: float
    recall: float
    recall_2024: float
    coverage: float
    strict_precision: float
    strict_recall: float
    pair_f1: float
    exact: float
    set_precision: float
    set_recall: float
    gjs: float
    bundles_per_session: float
    valid: float
    intent_bundles: int = 0
    intent_matched: int = 0
    intent_f1: float = nan
    intent_rouge_l: float = nan
    intent_cosine: float = nan


EVERY_SESSION = (
    ("strict_precision", "strict P"),
    ("strict_recall", "strict R"),
    ("pair_f1", "pair F1"),
    ("exact", "exact"),
    ("bundles_per_session", "per sess."),
    ("valid", "valid"),
)
"""Metrics over every session, with their column headings."""

ANSWERED = (
    ("n", "n"),
    ("precision", "P"),
    ("recall", "R"),
    ("coverage", "cov."),
    ("set_precision", "set P"),
    ("set_recall", "set R"),
    ("gjs", "GJS"),
)
"""Metrics over the answered sessions only, with their column headings."""

INTENTS = (
    ("intent_matched", "matched"),
    ("intent_f1", "token F1"),
    ("intent_rouge_l", "ROUGE-L"),
    ("intent_cosine", "cosine"),
)
"""Similarity of intents over the true bundles that a prediction overlaps, with the column headings."""


def pairs(bundles: Iterable[frozenset[int]]) -> set[tuple[int, int]]:
    """Return the unordered item pairs that share a bundle, each with the smaller position first."""
    return {pair for bundle in bundles for pair in combinations(sorted(bundle), 2)}


def pair_f1(truth: Bundles, predicted: Bundles) -> float:
    """Return F1 over the item pairs of one session; 1.0 if neither side has a pair."""
    true_pairs, predicted_pairs = pairs(truth), pairs(predicted)
    total = len(true_pairs) + len(predicted_pairs)
    return 2 * len(true_pairs & predicted_pairs) / total if total else 1.0


def greedy_jaccard(truth: Bundles, predicted: Bundles) -> float:
    """Return the greedy Jaccard score of one session, 0..1.

    True and predicted bundles are matched by falling Jaccard index, each bundle once; the sum of the similarities is
    divided by the larger number of bundles.
    """
    alike = sorted(
        (
            (len(true & bundle) / len(true | bundle), i, j)
            for i, true in enumerate(truth)
            for j, bundle in enumerate(predicted)
        ),
        key=lambda each: -each[0],
    )
    matched_true: set[int] = set()
    matched_predicted: set[int] = set()
    total = 0.0
    for similarity, i, j in alike:
        if i not in matched_true and j not in matched_predicted:
            matched_true.add(i)
            matched_predicted.add(j)
            total += similarity
    return _ratio(total, max(len(truth), len(predicted)))


class ScoreSums:
    """Adds up `Scores` session by session, without storing sessions."""

    def __init__(self) -> None:
        self._sessions = self._valid = self._answered = self._exact = self._bundles = self._hits = 0
        self._precision = self._recall = self._recall_2024 = self._coverage = 0.0
        self._strict_precision = self._strict_recall = self._pair_f1 = 0.0
        self._set_precision = self._set_recall = self._gjs = 0.0

    def add(self, truth: Bundles, prediction: Bundles | None) -> None:
        """Add the prediction for one session.

        Args:
            truth: its minimal true bundles.
            prediction: None if the student failed; counts as no bundle and as not valid.

        Raises:
            ValueError: there is no true bundle.
        """
        if not truth:
            raise ValueError("a session without true bundles cannot be scored")
        predicted = [bundle for bundle in prediction or () if len(bundle) > 1]
        hits = right = 0
        hit_bundles = set()
        for bundle in predicted:
            before = hits
            for number, true in enumerate(truth):
                if bundle <= true:
                    hits += 1
                    hit_bundles.add(number)
                    self._coverage += len(bundle) / len(true)
            right += hits > before
        recall = len(hit_bundles) / len(truth)
        self._sessions += 1
        self._valid += prediction is not None
        self._hits += hits
        self._strict_recall += recall
        self._pair_f1 += pair_f1(truth, predicted)
        self._exact += set(predicted) == set(truth)
        self._bundles += len(predicted)
        if not predicted:
            return
        self._answered += 1
        self._precision += hits / len(predicted)
        self._recall += recall
        self._recall_2024 += right / len(truth)
        self._strict_precision += right / len(predicted)
        self._set_precision += sum(bundle in truth for bundle in predicted) / len(predicted)
        self._set_recall += sum(true in predicted for true in truth) / len(truth)
        self._gjs += greedy_jaccard(truth, predicted)

    def scores(self) -> Scores:
        """Return the averages over the sessions so far."""
        return Scores(
            n=self._answered,
            sessions=self._sessions,
            precision=_ratio(self._precision, self._answered),
            recall=_ratio(self._recall, self._answered),
            recall_2024=_ratio(self._recall_2024, self._answered),
            coverage=_ratio(self._coverage, self._hits),
            strict_precision=_ratio(self._strict_precision, self._sessions),
            strict_recall=_ratio(self._strict_recall, self._sessions),
            pair_f1=_ratio(self._pair_f1, self._sessions),
            exact=_ratio(self._exact, self._sessions),
            set_precision=_ratio(self._set_precision, self._answered),
            set_recall=_ratio(self._set_recall, self._answered),
            gjs=_ratio(self._gjs, self._answered),
            bundles_per_session=_ratio(self._bundles, self._sessions),
            valid=_ratio(self._valid, self._sessions),
        )


def score(truths: Sequence[Bundles], predictions: Sequence[Bundles | None]) -> Scores:
    """Score sessions in memory, with one prediction for each; see `ScoreSums.add`.

    Raises:
        ValueError: the two lengths differ, or a session has no true bundle.
    """
    if len(truths) != len(predictions):
        raise ValueError(f"{len(truths)} true sessions but {len(predictions)} predictions")
    sums = ScoreSums()
    for truth, prediction in zip(truths, predictions, strict=True):
        sums.add(truth, prediction)
    return sums.scores()


def has_intent_scores(scores: Scores) -> bool:
    """Whether any intents were compared."""
    return not isnan(scores.intent_f1)


def _ratio(total: float, count: int) -> float:
    return total / count if count else nan
