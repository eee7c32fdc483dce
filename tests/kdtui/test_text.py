"""Text from outside fits on a line and carries nothing but text."""

from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtui.bundling.text import counted, decimals, one_line


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
def test_control_characters_go_and_text_stays(text: str, expected: str) -> None:
    assert one_line(text) == expected


def test_a_long_text_ends_in_an_ellipsis() -> None:
    assert one_line("x" * 10_000, 5) == "xxxx…"


@given(st.text(), st.integers(1, 40))
def test_any_text_becomes_a_short_printable_line(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert not any(category(character) in ("Cc", "Zl", "Zp") for character in line)
    assert line == one_line(line, limit)


def test_one_is_told_as_one_and_others_as_many() -> None:
    assert [counted(count, "piece") for count in (0, 1, 2, 1000)] == ["0 pieces", "1 piece", "2 pieces", "1,000 pieces"]
    assert [counted(count, "try", "tries") for count in (1, 3)] == ["1 try", "3 tries"]


def test_a_small_measure_has_the_digits_that_tell_it_from_zero() -> None:
    measures = (0.0, 0.00004, 0.0004, 0.0006, 0.25, 1.0)
    assert [decimals(each) for each in measures] == ["0", "4e-05", "0.0004", "0.001", "0.250", "1.000"]
