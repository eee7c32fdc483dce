"""The paper metrics and the strict ones, on cases worked out by hand."""

import tracemalloc
from math import isnan, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.bundling.metrics import ScoreSums, greedy_jaccard, pair_f1, score


def bundles(*groups: tuple[int, ...]) -> list[frozenset[int]]:
    return [frozenset(group) for group in groups]


def test_a_perfect_answer_scores_one_in_every_metric() -> None:
    truth = bundles((1, 2), (3, 4, 5))
    scores = score([truth], [truth])
    assert (scores.precision, scores.recall, scores.coverage, scores.pair_f1, scores.exact) == (1, 1, 1, 1, 1)
    assert (scores.n, scores.sessions, scores.bundles_per_session, scores.valid) == (1, 1, 2, 1)


def test_a_subset_of_a_true_bundle_is_a_hit_with_partial_coverage() -> None:
    scores = score([bundles((1, 2, 3, 4))], [bundles((1, 2))])
    assert (scores.precision, scores.recall, scores.coverage) == (1, 1, 0.5)
    assert scores.exact == 0
    assert scores.pair_f1 == pytest.approx(2 * 1 / (6 + 1))


def test_a_superset_of_a_true_bundle_is_a_miss() -> None:
    scores = score([bundles((1, 2))], [bundles((1, 2, 3))])
    assert (scores.precision, scores.recall) == (0, 0)
    assert isnan(scores.coverage)


def test_recall_counts_hit_bundles_and_recall_2024_counts_hitting_predictions() -> None:
    scores = score([bundles((1, 2, 3))], [bundles((1, 2), (2, 3))])
    assert (scores.recall, scores.strict_recall) == (1, 1)
    assert scores.recall_2024 == 2


def test_only_strict_metrics_count_sessions_without_predictions() -> None:
    truth = bundles((1, 2))
    scores = score([truth, truth], [truth, []])
    assert (scores.n, scores.sessions) == (1, 2)
    assert (scores.precision, scores.strict_precision, scores.strict_recall, scores.pair_f1) == (1, 0.5, 0.5, 0.5)


def test_bundles_of_one_item_are_dropped() -> None:
    scores = score([bundles((1, 2))], [bundles((1,), (1, 2))])
    assert (scores.precision, scores.exact, scores.bundles_per_session) == (1, 1, 1)


def test_a_prediction_hits_every_true_bundle_that_contains_it() -> None:
    scores = score([bundles((1, 2, 3), (2, 3, 4, 5))], [bundles((2, 3))])
    assert scores.precision == 2
    assert scores.coverage == pytest.approx((2 / 3 + 2 / 4) / 2)
    assert (scores.recall, scores.strict_recall) == (1, 1)
    assert (scores.recall_2024, scores.strict_precision) == (0.5, 1)


def test_set_metrics_require_equal_bundles_and_ignore_sessions_without_predictions() -> None:
    truth = bundles((1, 2), (3, 4, 5))
    scores = score([truth, truth], [bundles((1, 2), (3, 4), (4, 5)), []])
    assert scores.set_precision == pytest.approx(1 / 3)
    assert scores.set_recall == 0.5
    # {1, 2} matches completely, {3, 4} by two thirds, and {4, 5} has no partner left.
    assert scores.gjs == pytest.approx((1 + 2 / 3) / 3)


def test_the_greedy_jaccard_score_matches_the_most_similar_first_and_each_once() -> None:
    # {1, 2, 3} is more similar to {1, 2} than to {2, 3, 4}, whose other candidates share nothing with it.
    assert greedy_jaccard(bundles((1, 2), (2, 3, 4)), bundles((1, 2, 3))) == pytest.approx((2 / 3) / 2)


def test_a_failed_session_is_not_valid_and_counts_as_no_bundle() -> None:
    scores = score([bundles((1, 2))], [None])
    assert (scores.valid, scores.n, scores.pair_f1) == (0, 0, 0)
    assert isnan(scores.precision)


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="1 true sessions but 2 predictions"):
        score([bundles((1, 2))], [[], []])


def test_a_session_without_truth_is_refused() -> None:
    with pytest.raises(ValueError, match="without true bundles"):
        score([[]], [[]])


groups = st.lists(st.frozensets(st.integers(1, 8), min_size=1), max_size=5)


@given(st.lists(st.tuples(groups.filter(bool), groups), min_size=1, max_size=5))
def test_shares_stay_between_zero_and_one(sessions: list[tuple[list[frozenset[int]], list[frozenset[int]]]]) -> None:
    scores = score([truth for truth, _ in sessions], [predicted for _, predicted in sessions])
    for share in (scores.strict_precision, scores.strict_recall, scores.pair_f1, scores.exact, scores.valid):
        assert 0 <= share <= 1
    for answered in (scores.recall, scores.set_precision, scores.set_recall, scores.gjs):
        assert isnan(answered) or 0 <= answered <= 1
    assert scores.n <= scores.sessions


@given(groups, groups)
def test_pair_f1_is_symmetric(one: list[frozenset[int]], other: list[frozenset[int]]) -> None:
    assert pair_f1(one, other) == pair_f1(other, one)


@given(groups.filter(bool), groups.filter(bool))
def test_the_greedy_jaccard_score_is_one_only_for_equal_bundles(
    one: list[frozenset[int]], other: list[frozenset[int]]
) -> None:
    assert (greedy_jaccard(one, other) == pytest.approx(1)) == (sorted(map(sorted, one)) == sorted(map(sorted, other)))


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else nan


@given(st.lists(st.tuples(groups.filter(bool), st.none() | groups), min_size=1, max_size=6))
def test_sums_over_sessions_give_the_means_of_single_scores(sessions: list[Any]) -> None:
    sums = ScoreSums()
    for truth, predicted in sessions:
        sums.add(truth, predicted)
    every, alone = sums.scores(), [score([truth], [predicted]) for truth, predicted in sessions]
    for metric in ("strict_precision", "strict_recall", "pair_f1", "exact", "bundles_per_session", "valid"):
        assert getattr(every, metric) == pytest.approx(mean([getattr(each, metric) for each in alone]), abs=1e-12)
    for metric in ("precision", "recall", "recall_2024", "set_precision", "set_recall", "gjs"):
        answered = mean([getattr(each, metric) for each in alone if each.n])
        assert getattr(every, metric) == pytest.approx(answered, abs=1e-12, nan_ok=True)


def test_sums_take_constant_memory() -> None:
    sums = ScoreSums()
    truth, predicted = bundles((1, 2), (3, 4, 5)), bundles((1, 2), (3, 4))
    held = []
    tracemalloc.start()
    try:
        for _ in range(2):
            for _ in range(2000):
                sums.add(truth, predicted)
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[1] - held[0] < 2000, "less than a byte a session"
    assert sums.scores().sessions == 4000
