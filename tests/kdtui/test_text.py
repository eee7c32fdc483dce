"""Untrusted text fits on a line and contains only visible text."""

import json
import math
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.text import counted, decimals, escape_in_json, one_line, p_value, short_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  two\n lines\t", "two lines"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("[bold]kept[/bold]", "[bold]kept[/bold]"),
        ("turned \u202e around", "turned around"),
        ("青い 包丁 & ¼", "青い 包丁 & ¼"),
    ],
)
def test_control_characters_are_removed_and_text_stays(text: str, expected: str) -> None:
    assert one_line(text) == expected


def test_a_long_text_ends_in_an_ellipsis() -> None:
    assert one_line("x" * 10_000, 5) == "xxxx…"


@given(st.text(), st.integers(1, 40))
def test_any_text_becomes_a_short_printable_line(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert not any(category(character) in ("Cc", "Zl", "Zp") for character in line)
    assert line == one_line(line, limit)


def test_counts_have_singular_and_plural() -> None:
    assert [counted(count, "piece") for count in (0, 1, 2, 1000)] == ["0 pieces", "1 piece", "2 pieces", "1,000 pieces"]
    assert [counted(count, "try", "tries") for count in (1, 3)] == ["1 try", "3 tries"]


def test_a_small_measure_has_enough_digits_to_differ_from_zero() -> None:
    measures = (0.0, 0.00004, 0.0004, 0.0006, 0.25, 1.0)
    assert [decimals(each) for each in measures] == ["0", "4e-05", "0.0004", "0.001", "0.250", "1.000"]


@pytest.mark.parametrize(
    ("value", "expected", "signed"),
    [
        (0.7221, ".722", "+.722"),
        (-0.014, "-.014", "-.014"),
        (1.0, "1.000", "+1.000"),
        (-12.3456, "-12.346", "-12.346"),
        (0.0, ".000", ".000"),
        (-0.0001, ".000", ".000"),
        (0.9996, "1.000", "+1.000"),
        (math.nan, "-", "-"),
        (math.inf, "-", "-"),
    ],
)
def test_a_number_in_a_sentence_has_no_zero_before_its_point(value: float, expected: str, signed: str) -> None:
    assert (short_number(value), short_number(value, signed=True)) == (expected, signed)


def test_a_number_in_a_sentence_can_have_fewer_places() -> None:
    assert [short_number(value, places) for value, places in ((0.25, 1), (0.6, 0), (12.0, 0))] == [".2", "1", "12"]


def test_p_values_have_the_relevant_digits() -> None:
    values = (1, 0.996, 0.31, 0.304, 0.1, 0.05, 0.049, 0.0099, 0.001, 0.0009, 0)
    assert [p_value(each) for each in values] == (
        ["1", "1", ".31", ".30", ".10", ".05", ".049", ".01", ".001", "<.001", "<.001"]
    )


@given(st.text())
def test_json_keeps_its_value_and_has_nothing_that_a_terminal_obeys(text: str) -> None:
    printed = escape_in_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(printed) == text
    assert all(each.isprintable() or each in "\u200c\u200d" or category(each) == "Zs" for each in printed)
