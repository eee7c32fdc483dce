"""Features of pairs of products: against the same written plainly, product by product."""

from itertools import combinations
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdtui.bundling.metrics import pairs
from kdtui.bundling.truth import true_bundles
from kdtui.distill.pair_statistics import FEATURES, LEVELS, PairFeatures, count_pairs, pairs_of, words_of
from store.records import Bundle, CategoryPath, Item, Session

paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(tuple)
items = st.builds(
    Item,
    st.text("0123456789", min_size=6, max_size=6),
    st.one_of(st.none(), st.lists(st.sampled_from(["tent", "peg", "mat", "lamp"]), max_size=4).map(" ".join)),
    st.lists(paths, max_size=2).map(tuple),
)


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    chosen = tuple(draw(st.lists(items, min_size=2, max_size=7, unique_by=lambda item: item.id)))
    positions = draw(st.sets(st.integers(1, len(chosen)), min_size=2))
    return Session(draw(st.text("abc", min_size=1)), chosen, (Bundle(tuple(sorted(positions))),))


def plainly(train: list[Session], session: Session) -> list[list[float]]:
    """The features of each pair, without matrices."""

    def key(one: Item, other: Item, level: int) -> tuple[CategoryPath, ...]:
        return tuple(sorted((item.categories[0][:level] if item.categories else ()) for item in (one, other)))

    def rate(one: Item, other: Item, level: int) -> float:
        seen = bundled = every = true = 0
        for each in train:
            together = pairs(true_bundles(each))
            for a, b in pairs_of(each):
                every += 1
                true += (a, b) in together
                if key(each.items[a - 1], each.items[b - 1], level) == key(one, other, level):
                    seen += 1
                    bundled += (a, b) in together
        return (bundled + 4 * true / every) / (seen + 4)

    def weight(word: str) -> float:
        titles = {item.id: words_of(item) for each in reversed(train) for item in reversed(each.items)}
        return log((len(titles) + 1) / (sum(word in words for words in titles.values()) + 1))

    def alike(one: Item, other: Item) -> float:
        norms = [sqrt(sum(weight(word) ** 2 for word in words_of(item))) or 1.0 for item in (one, other)]
        return sum(weight(word) ** 2 for word in words_of(one) & words_of(other)) / (norms[0] * norms[1])

    def depth(one: Item, other: Item) -> int:
        shared = [
            next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            for a in one.categories
            for b in other.categories
        ]
        return max(shared, default=0)

    every = list(combinations(session.items, 2))
    rows: list[list[float]] = []
    for one, other in every:
        rest = [item for item in session.items if item not in (one, other)]
        rows.append(
            [
                depth(one, other),
                (not one.categories) + (not other.categories),
                alike(one, other),
                log(len(session.items)),
                *(rate(one, other, level) for level in LEVELS),
                sum(rate(each, item, 3) for each in (one, other) for item in session.items if item != each)
                / (len(session.items) - 1),
                sum(max(alike(each, item) for item in session.items if item != each) for each in (one, other)),
                max((min(rate(one, item, 3), rate(other, item, 3)) for item in rest), default=0),
                float(np.mean([rate(*pair, 3) for pair in every])),
                float(np.mean([depth(*pair) for pair in every])),
                float(np.mean([alike(*pair) for pair in every])),
            ]
        )
    return rows


@settings(max_examples=40)
@given(st.lists(sessions(), min_size=1, max_size=4), sessions())
def test_features_on_matrices_are_those_of_each_pair(train: list[Session], session: Session) -> None:
    found = PairFeatures(count_pairs(train)).features(session)
    assert found.shape == (len(session.items) * (len(session.items) - 1) // 2, len(FEATURES))
    assert found.tolist() == [pytest.approx(row, abs=1e-6) for row in plainly(train, session)]


def test_a_session_of_one_product_has_no_pairs() -> None:
    assert PairFeatures(count_pairs([])).features(Session("s", (Item("a"),))).shape == (0, len(FEATURES))
