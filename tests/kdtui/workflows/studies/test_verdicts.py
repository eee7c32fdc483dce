"""Comparisons in words; differences that chance explains are called noise."""

import subprocess
import sys
from math import nan

import numpy as np
import pytest

from kdtui.statistics.estimates import CellPair, compare_cells
from kdtui.statistics.results import Comparison, Estimate
from kdtui.statistics.sessions import CellValues, Resampling
from kdtui.workflows.studies.verdicts import answer_in_words, caveat, comparison_in_words, estimate_in_words, verdict_of

LABELS = {"none": "no knowledge", "t": "thought", "r": "rule", "p": "pattern"}


def compared(
    other: str = "t",
    difference: float = 0.021,
    reach: float = 0.035,
    p: float = 0.31,
    *,
    baseline: str = "none",
    metric: str = "pair_f1",
    sessions: int = 180,
    seeds: tuple[int, int] = (1, 1),
    smallest: float = 0.05,
) -> Comparison:
    low, high = difference - reach, difference + reach
    return Comparison(baseline, other, metric, difference, low, high, p, p, sessions, seeds, smallest)


SAME = compared(difference=0, reach=0, p=1, smallest=nan)
NO_SESSION = compared(difference=nan, p=1, sessions=0, smallest=nan)


@pytest.mark.parametrize(
    ("comparison", "verdict"),
    [
        (compared(p=0.051), "noise"),
        (compared(p=0.05), "better"),
        (compared(difference=-0.021, p=0.05), "worse"),
        (compared(metric="seconds", p=0.01), "worse"),
        (compared(metric="seconds", difference=-0.021, p=0.01), "better"),
        (compared(metric="bundles_per_session", p=0.01), "higher"),
        (compared(metric="bundles_per_session", difference=-0.021, p=0.01), "lower"),
        (SAME, "same"),
        (NO_SESSION, "unknown"),
        (compared(sessions=1, p=1), "unknown"),
    ],
)
def test_a_comparison_is_better_worse_or_noise(comparison: Comparison, verdict: str) -> None:
    assert verdict_of(comparison) == verdict


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        (compared(), "noise: +.021 [-.014, .056] (p .31)"),
        (compared(difference=0.061, p=0.0004), "better: +.061 [.026, .096] (p <.001)"),
        (compared(difference=-1.5, reach=0.5, p=0.04), "worse: -1.500 [-2.000, -1.000] (p .04)"),
        (SAME, "the same in all 180 sessions"),
        (NO_SESSION, "no session has answers of both"),
        (compared(sessions=1, p=1), "one session is too few to compare"),
    ],
)
def test_a_comparison_has_a_phrase_with_its_numbers(comparison: Comparison, words: str) -> None:
    assert comparison_in_words(comparison) == words


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (Estimate(0.7221, 0.683, 0.76, 180, 1, nan), ".722 [.683, .760]"),
        (Estimate(0.7, 0.6, 1, 180, 3, 0.012), ".700 [.600, 1.000], ± .012 between 3 seeds"),
        (Estimate(0.7, nan, nan, 1, 1, nan), ".700"),
        (Estimate(nan, nan, nan, 0, 0, nan), "-"),
    ],
)
def test_an_estimate_has_its_interval_and_the_spread_of_its_seeds(estimate: Estimate, words: str) -> None:
    assert estimate_in_words(estimate) == words


@pytest.mark.parametrize(
    ("comparisons", "sentence"),
    [
        (
            [compared(), compared("r", -0.01, p=0.9, smallest=0.06)],
            "With 180 sessions, no format differs from no knowledge by more than noise in pair F1; the largest "
            "difference, thought, is +.021 [-.014, .056] (p .31); the smallest difference that would usually have "
            "shown is between .050 and .060, depending on the row.",
        ),
        (
            [compared()],
            "With 180 sessions, thought does not differ from no knowledge by more than noise in pair F1: +.021 "
            "[-.014, .056] (p .31); a difference below .050 would often have been missed.",
        ),
        (
            [compared(difference=0.061, p=0.002)],
            "With 180 sessions, thought is better than no knowledge in pair F1: +.061 [.026, .096] (p .002).",
        ),
        (
            [compared(difference=0.061, p=0.002), compared("r", 0.07, p=0.001), compared("p")],
            "With 180 sessions, 2 of 3 formats are better than no knowledge in pair F1: rule +.070 [.035, .105] "
            "(p .001) and thought +.061 [.026, .096] (p .002); the other one does not differ by more than noise; "
            "a difference below .050 would often have been missed.",
        ),
        (
            [compared(difference=0.061, p=0.002), compared("r", -0.07, p=0.001)],
            "With 180 sessions, 1 of 2 formats is better than no knowledge in pair F1: thought +.061 [.026, .096] "
            "(p .002); 1 of 2 formats is worse than no knowledge: rule -.070 [-.105, -.035] (p .001).",
        ),
        (
            [compared(str(at), 0.06 + at / 100, p=0.001) for at in range(5)],
            "With 180 sessions, 5 of 5 formats are better than no knowledge in pair F1: 4 +.100 [.065, .135] (p .001), "
            "3 +.090 [.055, .125] (p .001), 2 +.080 [.045, .115] (p .001) and 2 more.",
        ),
        (
            [SAME, SAME],
            "With 180 sessions, no format differs from no knowledge in any session in pair F1.",
        ),
        (
            [SAME],
            "With 180 sessions, thought does not differ from no knowledge in any session in pair F1.",
        ),
        (
            [compared(sessions=4, smallest=nan)],
            "With 4 sessions, thought does not differ from no knowledge by more than noise in pair F1: +.021 "
            "[-.014, .056] (p .31); with so few sessions no difference could have shown.",
        ),
        (
            [compared(), NO_SESSION],
            "With 180 sessions, thought does not differ from no knowledge by more than noise in pair F1: +.021 "
            "[-.014, .056] (p .31); a difference below .050 would often have been missed; 1 comparison has too few "
            "sessions yet.",
        ),
        (
            [compared("t / sft", baseline="b"), compared("t / icl", sessions=90, difference=0.03)],
            "With 90 to 180 sessions, no cell differs from its baseline by more than noise in pair F1; the largest "
            "difference, t / icl, is +.030 [-.005, .065] (p .31); a difference below .050 would often have been "
            "missed.",
        ),
        (
            [compared("t / sft", 0.1, p=0.001, baseline="b"), compared("t / icl", 0.2, p=0.001)],
            "With 180 sessions, 2 of 2 cells are better than their baselines in pair F1: t / icl +.200 [.165, .235] "
            "(p .001) and t / sft +.100 [.065, .135] (p .001).",
        ),
        (
            [compared(seeds=(3, 3)), compared("r", 0.01, seeds=(3, 2))],
            "With 180 sessions and 2 to 3 seeds, no format differs from no knowledge by more than noise in pair F1; "
            "the largest difference, thought, is +.021 [-.014, .056] (p .31); a difference below .050 would often have "
            "been missed.",
        ),
        (
            [compared(), compared(metric="exact", difference=0.1, p=0.001)],
            "With 180 sessions, 1 of 2 results is better than no knowledge in pair F1 and exact sessions: thought in "
            "exact sessions +.100 [.065, .135] (p .001); the other one does not differ by more than noise; a "
            "difference below .050 would often have been missed.",
        ),
        ([], "Nothing can be compared yet: no cell and its baseline have answers to two of the same sessions."),
        (
            [NO_SESSION],
            "Nothing can be compared yet: no cell and its baseline have answers to two of the same sessions.",
        ),
    ],
    ids=lambda each: each[14:60] if isinstance(each, str) else "",
)
def test_a_question_is_answered_in_one_sentence(comparisons: list[Comparison], sentence: str) -> None:
    assert answer_in_words(comparisons, LABELS, "formats") == sentence


def test_labels_are_text_from_outside() -> None:
    message = answer_in_words([compared("t")], {"t": "\x1b[31mred\nthought", "none": "x" * 500}, "formats")
    assert "red thought does not differ from xxx" in message
    assert "\x1b" not in message
    assert len(message) < 400


@pytest.mark.parametrize(("axis", "noun"), [("ratio", "no ratio"), ("strategy", "no strategy"), ("domains", "domains")])
def test_the_values_of_an_axis_are_called_by_its_name(axis: str, noun: str) -> None:
    assert noun in answer_in_words([compared(), compared("r")], LABELS, axis)


def test_a_single_seed_gets_a_caveat() -> None:
    assert caveat([compared(seeds=(3, 3))]) == ""
    assert "one seed" in caveat([compared(seeds=(3, 3)), compared(seeds=(1, 3))])
    assert caveat([NO_SESSION]) == ""


def test_simulated_grids_are_answered_correctly() -> None:
    chance = np.random.default_rng(1)
    baseline = chance.random(180)
    cells = [np.clip(baseline + chance.normal(effect, 0.2, 180), 0, 1) for effect in (0, 0, 0.2)]
    pairs = [
        CellPair("none", name, "pair_f1", CellValues.of(baseline), CellValues.of(cell))
        for name, cell in zip("prt", cells, strict=True)
    ]
    found = compare_cells(pairs, Resampling(500))
    assert "1 of 3 formats is better than no knowledge in pair F1: thought +" in answer_in_words(
        found, LABELS, "formats"
    )
    assert "no format differs from no knowledge by more than noise" in answer_in_words(found[:2], LABELS, "formats")


def test_an_answer_is_written_without_a_large_library() -> None:
    code = (
        "import sys, kdtui.workflows.studies.verdicts; assert not {'numpy', 'scipy'} & set(sys.modules)\n"
        "import kdtui.statistics.estimates; assert 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
