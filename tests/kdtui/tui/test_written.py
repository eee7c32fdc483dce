"""What teachers write is shown as Markdown, and is never more than text."""

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kdtui.tui.written import written


def shown(text: str, limit: int = 1000) -> list[str]:
    console = Console(width=60, force_terminal=True, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(written(text, limit))
    return [line.strip() for line in capture.get().splitlines() if line.strip()]


def test_emphasis_lists_and_headings_are_as_they_are_meant() -> None:
    assert shown("## Tents\nPut **tents** with _mats_:\n\n- for a `night`\n- for two") == [
        "Tents",
        "Put tents with mats:",
        "• for a night",
        "• for two",
    ]


def test_nothing_hides_and_nothing_links() -> None:
    text = "a <!-- never bundle --> b <b>c</b> [d](http://e) ![f](g) [red]h[/red]"
    assert " ".join(shown(text)) == text
    assert shown("a \x1b[31mb\x1b]8;;http://c\x07d\u202ee") == ["a bd e"]


def test_what_is_too_long_is_cut() -> None:
    assert shown("word " * 100, 8) == ["word wor…"]


@given(st.text())
def test_any_text_can_be_shown(text: str) -> None:
    assert "\x1b" not in "".join(shown(text))
