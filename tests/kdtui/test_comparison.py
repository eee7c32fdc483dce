"""Predicted bundles compared with true ones: right, extra, lacking and missing."""

import pytest

from kdtui.bundling.comparison import Match, differing, match, pair_counts

TRUTH = [frozenset({2, 4}), frozenset({2, 5, 6})]


@pytest.mark.parametrize(
    ("predicted", "found"),
    [
        ({2, 4}, Match(0)),
        ({2, 5, 6}, Match(1)),
        ({5, 6, 1}, Match(1, (1,), (2,))),
        ({2, 4, 5, 6}, Match(1, (4,))),
        ({4, 5}, Match(None)),
        ({2, 3}, Match(None)),
    ],
)
def test_a_bundle_is_compared_with_the_nearest_true_one(predicted: set[int], found: Match) -> None:
    assert match(TRUTH, frozenset(predicted)) == found


def test_only_an_exact_match_is_right() -> None:
    assert match(TRUTH, frozenset({2, 4})).is_right
    assert not match(TRUTH, frozenset({2, 4, 6})).is_right
    assert not match([], frozenset({1, 2})).is_right


def test_two_answers_differ_in_the_bundles_that_only_one_of_them_has() -> None:
    assert differing(TRUTH, [frozenset({1, 3}), frozenset({2, 4})]) == ([1], [0])


def test_pairs_are_counted() -> None:
    assert pair_counts(TRUTH, [frozenset({2, 4, 5})]) == (2, 1, 2)
