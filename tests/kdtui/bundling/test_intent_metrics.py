"""Comparison of intents with annotated ones: by words, by their order, and bundle by bundle."""

import tracemalloc
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.bundling.intent_metrics import IntentSums, intent_words, rouge_l, score_intents, token_f1
from store.records import Bundle

TEXTS = st.text(alphabet="ab c'é-", max_size=20)
BUNDLES = st.lists(
    st.builds(Bundle, st.sets(st.integers(1, 5), min_size=2).map(lambda s: tuple(sorted(s))), TEXTS), max_size=3
)


def named(*bundles: tuple[tuple[int, ...], str]) -> list[tuple[frozenset[int], str]]:
    return [(frozenset(positions), intent) for positions, intent in bundles]


@given(TEXTS, TEXTS)
def test_both_measures_are_symmetric_in_0_to_1_and_order_only_lowers_them(one: str, other: str) -> None:
    assert token_f1(one, other) == token_f1(other, one)
    assert rouge_l(one, other) == rouge_l(other, one)
    assert 0 <= rouge_l(one, other) <= token_f1(one, other) <= 1


@given(TEXTS)
def test_a_text_equals_itself_unless_it_has_no_word(text: str) -> None:
    same = 1.0 if intent_words(text) else 0.0
    assert token_f1(text, text) == rouge_l(text, text) == same


def test_capitals_and_punctuation_make_no_difference() -> None:
    assert token_f1('"Men\'s  Shoes"\n', "mens shoes") == 1
    assert token_f1("Camera accessories", "a camera, and accessories") == pytest.approx(4 / 6)


def test_repeated_words_count_as_often_as_both_texts_have_them() -> None:
    assert token_f1("red red red", "red") == pytest.approx(2 / 4)


def test_words_in_another_order_count_for_token_f1_but_not_for_rouge() -> None:
    assert token_f1("case for phone", "phone for case") == 1
    assert rouge_l("case for phone", "phone for case") == pytest.approx(1 / 3)


def test_a_true_bundle_is_compared_with_the_most_overlapping_prediction() -> None:
    truth = [Bundle((1, 2, 3), "camping")]
    scores = score_intents([truth], [named(((1, 4, 5), "phones"), ((2, 3), "camping"))])
    assert (scores.bundles, scores.matched, scores.token_f1) == (1, 1, 1)


def test_an_unmatched_true_bundle_is_not_in_the_mean() -> None:
    truth = [Bundle((1, 2), "camping"), Bundle((3, 4), "phones")]
    scores = score_intents([truth], [named(((1, 2), "camping"))])
    assert (scores.bundles, scores.matched, scores.token_f1) == (2, 1, 1)


def test_of_several_intents_of_the_same_products_the_closest_counts() -> None:
    truth = [Bundle((1, 2), "a night outside"), Bundle((1, 2), "camping")]
    scores = score_intents([truth], [named(((1, 2), "camping"))])
    assert (scores.bundles, scores.token_f1, scores.rouge_l) == (1, 1, 1)


def test_bundles_that_contain_another_and_those_without_an_intent_are_not_compared() -> None:
    truth = [Bundle((1, 2), "camping"), Bundle((1, 2, 3), "all"), Bundle((4, 5), " ")]
    assert score_intents([truth], [named(((1, 2, 3), "all"))]).bundles == 1


def test_a_matched_bundle_without_an_intent_counts_zero_and_a_run_without_any_has_no_score() -> None:
    truth = [Bundle((1, 2), "camping"), Bundle((3, 4), "phones")]
    assert score_intents([truth], [named(((1, 2), "camping"), ((3, 4), ""))]).token_f1 == 0.5
    scores = score_intents([truth], [named(((1, 2), ""))])
    assert scores.matched == 1
    assert isnan(scores.token_f1)


def test_the_cosine_needs_an_encoder() -> None:
    truth, predicted = [[Bundle((1, 2), "camping")]], [named(((1, 2), "tent"))]
    assert score_intents(truth, predicted, lambda one, other: 0.7 if one != other else 1.0).cosine == 0.7
    assert isnan(score_intents(truth, predicted).cosine)


@given(st.lists(st.tuples(BUNDLES, BUNDLES), max_size=4))
def test_the_order_of_sessions_makes_no_difference_and_scores_stay_in_range(
    sessions: list[tuple[list[Bundle], list[Bundle]]],
) -> None:
    truths = [truth for truth, _ in sessions]
    predictions = [named(*((each.positions, each.intent) for each in found)) for _, found in sessions]
    scores = score_intents(truths, predictions)
    turned = score_intents(truths[::-1], predictions[::-1])
    assert (scores.bundles, scores.matched) == (turned.bundles, turned.matched)
    assert scores.matched <= scores.bundles
    if not isnan(scores.token_f1):
        assert scores.token_f1 == pytest.approx(turned.token_f1)
        assert 0 <= scores.rouge_l <= scores.token_f1 <= 1


@given(st.lists(BUNDLES, max_size=4))
def test_annotated_intents_equal_themselves(sessions: list[list[Bundle]]) -> None:
    scores = score_intents(sessions, [named(*((each.positions, each.intent) for each in s)) for s in sessions])
    assert scores.matched == scores.bundles
    if scores.bundles and all(intent_words(bundle.intent) for session in sessions for bundle in session):
        assert scores.token_f1 == scores.rouge_l == 1


def test_predictions_must_match_the_number_of_sessions() -> None:
    with pytest.raises(ValueError, match="1 true sessions but 0 predictions"):
        score_intents([[]], [])


def test_sums_take_constant_memory() -> None:
    sums = IntentSums()
    truth, predicted = [Bundle((1, 2), "camping"), Bundle((3, 4), "phones")], named(((1, 2, 3), "camping at night"))
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
    assert sums.scores().token_f1 == pytest.approx(score_intents([truth], [predicted]).token_f1, abs=1e-12)
