"""Right, extra, missing and undetected products of predicted bundles."""

import pytest

from kdtui.bundling.comparison import BundleMatch, bundle_differences, match_bundle, pair_counts

TRUTH = [frozenset({2, 4}), frozenset({2, 5, 6})]


@pytest.mark.parametrize(
    ("predicted", "found"),
    [
        ({2, 4}, BundleMatch(0)),
        ({2, 5, 6}, BundleMatch(1)),
        ({5, 6, 1}, BundleMatch(1, (1,), (2,))),
        ({2, 4, 5, 6}, BundleMatch(1, (4,))),
        ({4, 5}, BundleMatch(None)),
        ({2, 3}, BundleMatch(None)),
    ],
)
def test_a_bundle_is_compared_with_the_most_similar_true_one(predicted: set[int], found: BundleMatch) -> None:
    assert match_bundle(TRUTH, frozenset(predicted)) == found


def test_only_an_exact_match_is_right() -> None:
    assert match_bundle(TRUTH, frozenset({2, 4})).is_right
    assert not match_bundle(TRUTH, frozenset({2, 4, 6})).is_right
    assert not match_bundle([], frozenset({1, 2})).is_right


def test_two_answers_differ_in_the_bundles_of_only_one_of_them() -> None:
    assert bundle_differences(TRUTH, [frozenset({1, 3}), frozenset({2, 4})]) == ([1], [0])


def test_pairs_are_counted() -> None:
    assert pair_counts(TRUTH, [frozenset({2, 4, 5})]) == (2, 1, 2)
