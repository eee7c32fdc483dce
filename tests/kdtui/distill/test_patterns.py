"""Frequent patterns: mining from bundles, and application to sessions."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.distill.patterns import mine, patterns_for
from store.records import Bundle, Item, Session

A, B, C = ("Shop", "A"), ("Shop", "B"), ("Shop", "C")


def session(categories: list[tuple[str, str]], *bundles: tuple[int, ...], name: str = "s") -> Session:
    items = tuple(Item(f"{name}-{number}", None, (path,)) for number, path in enumerate(categories))
    return Session(name, items, tuple(Bundle(bundle) for bundle in bundles), "train")


def test_measures_are_those_of_association_rules_and_precision_is_over_sessions() -> None:
    sessions = [
        session([A, B, C], (1, 2)),
        session([A, B], (1, 2)),
        session([A, B, C], (1, 3)),
        session([C, C], (1, 2)),
    ]
    pattern = next(each for each in mine(sessions, levels=[2], min_support=0.5) if set(each.categories) == {A, B})
    assert (pattern.bundles, pattern.support) == (2, 0.5)
    # All bundles with B contain A, but only two of three bundles with A contain B: A is the likelier consequent.
    assert pattern.categories == (B, A)
    assert pattern.confidence == 1
    assert pattern.lift == pytest.approx(1 / 0.75)
    # A and B are together in three sessions, and bundled in two of them.
    assert pattern.precision == pytest.approx(2 / 3)


def test_two_products_of_one_category_are_a_pattern() -> None:
    sessions = [session([A, A, B], (1, 2)), session([A, A], (1, 2)), session([A, B], (1, 2))]
    found = {pattern.categories: pattern for pattern in mine(sessions, levels=[2])}
    assert found[(A, A)].bundles == 2
    assert found[(A, A)].statement == "Shop > A + Shop > A"


def test_a_single_occurrence_is_not_a_pattern() -> None:
    assert mine([session([A, B], (1, 2))], levels=[2], min_support=0) == []


def test_a_category_of_insufficient_depth_is_ignored() -> None:
    sessions = [session([A, B], (1, 2)), session([A, B], (1, 2))]
    assert mine(sessions, levels=[3]) == []


def test_patterns_apply_to_sessions_with_all_their_categories() -> None:
    patterns = mine([session([A, B], (1, 2)), session([A, B], (1, 2))], levels=[2])
    assert [match.positions for match in patterns_for(session([C, B, A, A]), patterns, 5)] == [(2, 3, 4)]
    assert patterns_for(session([A, C]), patterns, 5) == []


def test_a_pattern_with_a_repeated_category_needs_two_products() -> None:
    patterns = mine([session([A, A], (1, 2)), session([A, A], (1, 2))], levels=[2])
    assert patterns_for(session([A, B]), patterns, 5) == []
    assert [match.positions for match in patterns_for(session([A, B, A]), patterns, 5)] == [(1, 3)]


@given(st.lists(st.lists(st.sampled_from([A, B, C]), min_size=2, max_size=4), min_size=2, max_size=8))
def test_every_frequent_pair_is_found_and_counted_correctly(bundles: list[list[tuple[str, str]]]) -> None:
    sessions = [
        session(bundle, tuple(range(1, len(bundle) + 1)), name=str(number)) for number, bundle in enumerate(bundles)
    ]
    found = {frozenset(p.categories): p.bundles for p in mine(sessions, levels=[2], min_support=0, max_size=2)}
    for pair in combinations([A, B, C], 2):
        together = sum(set(pair) <= set(bundle) for bundle in bundles)
        assert found.get(frozenset(pair), 0) == (together if together > 1 else 0)
    for alike in (A, B, C):
        twice = sum(bundle.count(alike) > 1 for bundle in bundles)
        assert found.get(frozenset([alike]), 0) == (twice if twice > 1 else 0)
