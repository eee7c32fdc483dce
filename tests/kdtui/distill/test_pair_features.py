"""Features of pairs of products, compared with a plain implementation."""

from itertools import combinations
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.bundling.metrics import pairs
from kdtui.bundling.truth import true_bundles
from kdtui.distill.category_surprise import LEVELS, SurpriseFeatures, count_surprises
from kdtui.distill.pair_features import (
    PAIR_MEASURES,
    SessionKind,
    feature_names,
    features,
    pairs_of,
    texts_to_read,
    title_words,
)
from models.unit_vectors import Vectors, scaled_to_one
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


def vectors_of(session: Session) -> dict[str, Vectors]:
    return {
        text: scaled_to_one(np.random.default_rng(list(text.encode())).normal(size=8).astype(np.float32))
        for text in texts_to_read(session)
    }


def plainly(session: Session, kind: SessionKind, vectors: dict[str, Vectors]) -> list[list[float]]:
    """Compute the features of each pair without matrices."""

    def cosine(one: str, other: str) -> float:
        return float(vectors[one] @ vectors[other]) if one and other else 0.0

    def measured(measure: str, a: int, b: int) -> float:
        one, other = session.items[a], session.items[b]
        match measure:
            case "depth":
                shared = [
                    next((i for i, (x, y) in enumerate(zip(p, q, strict=False)) if x != y), min(len(p), len(q)))
                    for p in one.categories
                    for q in other.categories
                ]
                return max(shared, default=0)
            case "categories":
                first, second = (item.categories[0][-1] if item.categories else "" for item in (one, other))
                return cosine(first, second)
            case "titles":
                return cosine(one.title or "", other.title or "")
            case _:
                shared_words = title_words(one) & title_words(other)
                return len(shared_words) / (sqrt(len(title_words(one)) * len(title_words(other))) or 1.0)

    size = len(session.items)
    found = []
    for a, b in combinations(range(size), 2):
        row: list[float] = []
        for measure in PAIR_MEASURES[kind]:

            def among(one: int, left_out: int, measure: str = measure) -> list[float]:
                return [measured(measure, one, each) for each in range(size) if each not in (one, left_out)]

            of_pair = measured(measure, a, b)
            best = [max(among(one, other), default=of_pair) for one, other in ((a, b), (b, a))]
            every = [measured(measure, one, other) for one, other in combinations(range(size), 2)]
            rest = 2 * of_pair + sum(among(a, b)) + sum(among(b, a))
            row += [of_pair, rest / (size - 1), max(best), min(best), sum(every) / len(every)]
        bare = sum(not session.items[each].categories for each in (a, b))
        found.append([*row, bare, log(size)])
    return found


@pytest.mark.parametrize("kind", PAIR_MEASURES)
@given(session=sessions())
def test_matrix_features_equal_the_features_of_each_pair(kind: SessionKind, session: Session) -> None:
    vectors = vectors_of(session)
    found = features(session, kind, vectors)
    assert found.shape[1] == len(feature_names(kind))
    assert found == pytest.approx(np.array(plainly(session, kind, vectors)), abs=1e-5)


@given(train=st.lists(sessions(), max_size=6), session=sessions(), chance=st.floats(0, 1))
def test_a_surprise_is_the_difference_from_the_expected_bundles(
    train: list[Session], session: Session, chance: float
) -> None:
    def key(one: Item, other: Item, level: int | None) -> tuple[CategoryPath, ...]:
        return tuple(sorted((item.categories[0][:level] if item.categories else ()) for item in (one, other)))

    def surprise(one: Item, other: Item, level: int | None) -> float:
        seen = bundled = 0
        for each in train:
            together = pairs(true_bundles(each))
            for a, b in pairs_of(each):
                if key(each.items[a - 1], each.items[b - 1], level) == key(one, other, level):
                    seen += 1
                    bundled += (a, b) in together
        return (bundled - chance * seen) / (seen + 12)

    expected = [np.full(len(list(pairs_of(each))), chance) for each in train]
    found = SurpriseFeatures(count_surprises(zip(train, expected, strict=True))).features(session)
    plain = [[surprise(*two, level) for level in LEVELS] for two in combinations(session.items, 2)]
    assert found == pytest.approx(np.array(plain), abs=1e-4)


@pytest.mark.parametrize("kind", PAIR_MEASURES)
def test_a_session_of_one_product_has_no_pairs(kind: SessionKind) -> None:
    session = Session("s", (Item("a", "Tent"),))
    assert features(session, kind, {}).shape == (0, len(feature_names(kind)))
    assert SurpriseFeatures(count_surprises([])).features(session).shape == (0, len(LEVELS))
