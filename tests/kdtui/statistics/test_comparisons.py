"""Paired comparisons: false claims are rare, and the intervals of effects have the right coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from kdtui.statistics.estimates import CellPair, compare_cells, holm
from kdtui.statistics.results import LEVEL, Comparison
from kdtui.statistics.sessions import CellValues, Matrix, Resampling, Vector

FEW = Resampling(500)
SCORES = [0, 1 / 3, 0.4, 0.5, 2 / 3, 0.8, 1]
SHARES = [0.15, 0.12, 0.1, 0.13, 0.15, 0.1, 0.25]


def pair(one: object, other: object, name: str = "other", metric: str = "pair_f1") -> CellPair:
    return CellPair("baseline", name, metric, CellValues.of(one), CellValues.of(other))  # type: ignore[arg-type]


def only(one: object, other: object, resampling: Resampling = FEW) -> Comparison:
    [found] = compare_cells([pair(one, other)], resampling)
    return found


def question(chance: np.random.Generator, cells: int, sessions: int) -> Matrix:
    """Return cells that agree on six of ten sessions and vary independently on the others, without any effect."""
    common = chance.choice(SCORES, (1, sessions), p=SHARES)
    own = chance.choice(SCORES, (cells, sessions), p=SHARES)
    return np.where(chance.random((cells, sessions)) < 0.4, own, common)


@pytest.mark.parametrize("sessions", [30, 90])
def test_questions_without_an_effect_rarely_claim_one(sessions: int) -> None:
    chance, claims, questions = np.random.default_rng(8), 0, 300
    for number in range(questions):
        baseline, *others = question(chance, 6, sessions)
        found = compare_cells(
            [pair(baseline, each, str(at)) for at, each in enumerate(others)], Resampling(800, number)
        )
        claims += any(each.is_claimed for each in found)
    assert claims <= LEVEL * questions


@pytest.mark.parametrize("sessions", [30, 180])
def test_the_interval_of_a_known_effect_covers_it_in_95_of_100_questions(sessions: int) -> None:
    chance, covered = np.random.default_rng(9), []
    for number in range(400):
        baseline, other, *_ = question(chance, 4, sessions)
        # Only the other cell answers one session in ten correctly.
        mended = np.where(chance.random(sessions) < 0.1, 1, other)
        effect = 0.1 * (1 - float(np.dot(SCORES, SHARES)))
        found = only(baseline, mended, Resampling(800, number))
        covered.append(found.low <= effect <= found.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)


@pytest.mark.slow
def test_the_smallest_effect_is_found_four_times_in_five() -> None:
    chance, claimed, effects = np.random.default_rng(10), [], []
    for number in range(400):
        baseline, other = question(chance, 2, 180)
        effects.append(only(baseline, other, Resampling(200)).smallest_effect)
        claimed.append(only(baseline, other + np.mean(effects), Resampling(800, number)).is_claimed)
    assert np.mean(claimed) == pytest.approx(0.8, abs=0.05)


def test_the_smallest_effect_of_repeated_cells_is_found_four_times_in_five() -> None:
    chance, claimed, effects = np.random.default_rng(10), [], []
    for number in range(200):
        cells = np.repeat(question(chance, 4, 90)[:, None], 3, axis=1) + chance.normal(0, 0.03, (4, 3, 1))
        found = compare_cells([pair(cells[0], each, str(at)) for at, each in enumerate(cells[1:])], Resampling(200))
        effects.append(found[0].smallest_effect)
        cells[1] += np.mean(effects)
        again = compare_cells(
            [pair(cells[0], each, str(at)) for at, each in enumerate(cells[1:])], Resampling(400, number)
        )
        claimed.append(again[0].is_claimed)
    assert 0.75 <= np.mean(claimed) <= 0.92


def test_the_smallest_effect_is_that_of_a_paired_t_test() -> None:
    chance = np.random.default_rng(3)
    baseline, *others = question(chance, 5, 60)
    found = compare_cells([pair(baseline, each, str(at)) for at, each in enumerate(others)], FEW)
    for each, other in zip(found, others, strict=True):
        noncentral = each.smallest_effect / ((other - baseline).std(ddof=1) / np.sqrt(60))
        critical = stats.t.ppf(1 - LEVEL / len(others) / 2, 59)
        assert stats.nct.sf(critical, 59, noncentral) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("sessions", [8, 40, 180])
def test_the_p_value_is_that_of_the_permutation_test_of_scipy(sessions: int) -> None:
    baseline, other = question(np.random.default_rng(sessions), 2, sessions)
    theirs = stats.permutation_test(
        (other, baseline), lambda a, b, axis: (a - b).mean(axis=axis), permutation_type="samples", rng=1
    )
    assert only(baseline, other, Resampling()).p == pytest.approx(theirs.pvalue, abs=0.015)


def test_a_share_has_the_p_value_of_a_sign_test() -> None:
    baseline, other = np.zeros(40), np.array([1] * 9 + [0] * 29 + [0] * 2)
    baseline[-2:] = 1
    assert only(baseline, other, Resampling(20_000)).p == pytest.approx(stats.binomtest(2, 11).pvalue, abs=0.005)


def test_the_difference_has_the_bootstrap_interval_of_scipy() -> None:
    baseline, other = question(np.random.default_rng(4), 2, 400)
    theirs = stats.bootstrap(
        (other - baseline,), np.mean, n_resamples=10_000, method="percentile", rng=2
    ).confidence_interval
    ours = only(baseline, other, Resampling())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.002)


def test_an_effect_survives_many_comparisons_with_few_draws() -> None:
    chance = np.random.default_rng(2)
    cells = question(chance, 400, 60)
    cells[1] = np.clip(cells[0] + 0.3, 0, 1)
    found = compare_cells([pair(cells[0], each, str(at)) for at, each in enumerate(cells[1:])], FEW)
    assert [each.other for each in found if each.is_claimed] == ["0"]


def test_an_obvious_effect_survives_any_number_of_comparisons() -> None:
    baseline = question(np.random.default_rng(2), 1, 180)[0]
    [found] = compare_cells([pair(baseline, baseline + np.random.default_rng(3).normal(0.3, 0.1, 180))], FEW)
    assert 0 < found.p < 1e-9


def test_few_flips_approximate_the_p_value_of_many() -> None:
    chance = np.random.default_rng(2)
    for effect in np.linspace(0.2, 0.6, 9):
        baseline = chance.random(40)
        other = baseline + chance.normal(effect, 0.9, 40)
        exact = only(baseline, other, Resampling(50_000)).p
        assert only(baseline, other, Resampling(2_000)).p == pytest.approx(exact, abs=0.025)


two_cells = st.integers(2, 30).flatmap(
    lambda sessions: st.tuples(
        *(arrays(np.float64, sessions, elements=st.sampled_from([0, 0.25, 0.5, 2 / 3, 1])) for _ in range(2))
    )
)


@given(two_cells, st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_shifting_both_cells_does_not_change_the_comparison(cells: tuple[Vector, Vector], shift: float) -> None:
    one, other = only(*cells), only(cells[0] + shift, cells[1] + shift)
    for name in ("difference", "low", "high", "p", "smallest_effect"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-6, nan_ok=True)


@given(two_cells)
@settings(max_examples=40, deadline=None)
def test_swapping_the_cells_negates_the_difference(cells: tuple[Vector, Vector]) -> None:
    one, other = only(*cells), only(cells[1], cells[0])
    assert one.difference == pytest.approx(-other.difference)
    assert (one.p, one.smallest_effect) == pytest.approx((other.p, other.smallest_effect), nan_ok=True)


@given(two_cells, st.data())
@settings(max_examples=40, deadline=None)
def test_the_order_of_sessions_makes_no_difference(cells: tuple[Vector, Vector], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(cells[0]))))
    one, other = only(*cells), only(cells[0][order], cells[1][order])
    assert one.difference == pytest.approx(other.difference)
    assert one.smallest_effect == pytest.approx(other.smallest_effect, nan_ok=True)
    # Other signs are flipped, so p varies randomly: one standard deviation of 500 flips is at most .022.
    assert one.p == pytest.approx(other.p, abs=0.2)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_keeps_the_order_and_lowers_no_p_value(p: list[float]) -> None:
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= 1).all()
    order = np.argsort(p)
    assert (np.diff(adjusted[order]) >= 0).all()
    assert adjusted.min() == pytest.approx(min(1, len(p) * min(p)))


def test_holm_corrects_each_for_the_remaining_ones() -> None:
    assert holm([0.04, 0.01, 0.03, 0.9]) == pytest.approx([0.09, 0.04, 0.09, 0.9])


def test_all_comparisons_of_a_question_are_corrected_together() -> None:
    baseline, *others = question(np.random.default_rng(3), 4, 60)
    pairs = [pair(baseline, each, str(at), metric) for at, each in enumerate(others) for metric in ("pair_f1", "exact")]
    found = compare_cells(pairs, FEW)
    assert [each.adjusted_p for each in found] == pytest.approx(holm([each.p for each in found]))


def test_unfinished_cells_are_compared_over_their_common_sessions() -> None:
    baseline, other = question(np.random.default_rng(3), 2, 60)
    baseline[:10], other[50:] = np.nan, np.nan
    whole, part = only(baseline, other), only(baseline[10:50], other[10:50])
    assert whole.sessions == 40
    assert (whole.difference, whole.smallest_effect) == pytest.approx((part.difference, part.smallest_effect))
    assert (whole.low, whole.high) == pytest.approx((part.low, part.high), abs=0.05)


def test_cells_of_several_datasets_form_one_question() -> None:
    chance = np.random.default_rng(3)
    small, large = question(chance, 2, 30), question(chance, 2, 90)
    found = compare_cells(
        [pair(*small), CellPair("b", "o", "pair_f1", CellValues.of(large[0]), CellValues.of(large[1]))], FEW
    )
    assert [each.p for each in found] == [only(*small).p, only(*large).p]
    assert [each.sessions for each in found] == [30, 90]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("one", "other", "difference", "ends", "p", "sessions"),
    [
        ([0.5], [0.7], 0.2, np.nan, 1, 1),
        ([0.5, np.nan], [0.7, 0.7], 0.2, np.nan, 1, 1),
        ([0.5, np.nan], [np.nan, 0.7], np.nan, np.nan, 1, 0),
        ([np.nan] * 3, [0.7] * 3, np.nan, np.nan, 1, 0),
        ([], [], np.nan, np.nan, 1, 0),
        ([0.5, 1.0, 0.2], [0.5, 1.0, 0.2], 0, 0, 1, 3),
        ([0.5] * 12, [0.7] * 12, 0.2, 0.2, 1 / 501, 12),
    ],
    ids=["one session", "one in common", "none in common", "no answer", "no session", "equal", "always as much more"],
)
def test_degenerate_cells_have_defined_comparisons(
    one: list[float], other: list[float], difference: float, ends: float, p: float, sessions: int
) -> None:
    found = only(one, other)
    assert (found.difference, found.low, found.high) == pytest.approx((difference, ends, ends), nan_ok=True)
    assert found.p == pytest.approx(p)
    assert found.sessions == sessions
    assert np.isnan(found.smallest_effect)


def test_too_few_sessions_cannot_show_any_effect() -> None:
    # Of 32 ways to flip five signs, two are as extreme as the most extreme.
    rising = np.linspace(0, 1, 6)
    assert np.isnan(only(rising[:5] / 2, rising[:5]).smallest_effect)
    assert only(rising / 2, rising).smallest_effect > 0


def test_a_weighted_metric_is_not_compared() -> None:
    with pytest.raises(ValueError, match="hits weighs sessions"):
        compare_cells([CellPair("a", "b", "hits", CellValues.of([1, 1], [1, 2]), CellValues.of([1, 1], [2, 1]))])


@pytest.mark.parametrize("metric", ["precision", "recall", "recall_2024", "coverage", "set_recall", "gjs", "intent_f1"])
def test_a_metric_with_different_sessions_per_cell_is_not_compared(metric: str) -> None:
    with pytest.raises(ValueError, match=f"{metric} leaves out other sessions"):
        compare_cells([pair([1, 0, 1], [1, 1, 1], metric=metric)])


def test_cells_over_different_sessions_are_not_compared() -> None:
    with pytest.raises(ValueError, match="do not have the same sessions"):
        only([1, 0, 1], [1, 0])


def test_a_question_without_comparisons_has_none() -> None:
    assert compare_cells([]) == []
