"""Texts of teachers are rendered as Markdown, safely."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from kdtui.distill.thoughts import Step, Thought
from kdtui.tui.places.knowledge.markdown import render_markdown
from kdtui.tui.places.knowledge.piece import piece_text
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.about_piece import about_piece
from store.knowledge import NewKnowledge, add_knowledge
from store.sqlite import Database


def rendered_lines(text: str, limit: int = 1000) -> list[str]:
    return printed_lines(render_markdown(text, limit))


def printed_lines(what: RenderableType) -> list[str]:
    console = Console(width=60, force_terminal=True, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(what)
    return [line.strip() for line in capture.get().splitlines() if line.strip()]


def test_emphasis_lists_and_headings_are_rendered() -> None:
    assert rendered_lines("## Tents\nPut **tents** with _mats_:\n\n- for a `night`\n- for two") == [
        "Tents",
        "Put tents with mats:",
        "• for a night",
        "• for two",
    ]


def test_nothing_hides_and_nothing_links() -> None:
    text = "a <!-- never bundle --> b <b>c</b> [d](http://e) ![f](g) [red]h[/red]"
    assert " ".join(rendered_lines(text)) == text
    assert rendered_lines("a \x1b[31mb\x1b]8;;http://c\x07d\u202ee") == ["a bd e"]


def test_a_long_text_is_cut() -> None:
    assert rendered_lines("word " * 100, 8) == ["word wor…"]


@pytest.mark.parametrize(
    ("teacher", "first"),
    [("annotations", "Put **5 tents** with _mats_"), ("m at example.org", "Put 5 tents with mats")],
)
def test_only_texts_of_models_are_markdown(db: Database, outdoor: Path, teacher: str, first: str) -> None:
    list(import_dataset(db, outdoor, "d"))
    thought = Thought(("a tent",), (Step((1, 2), "camping", "they are **both** for _nights_"),))
    piece = NewKnowledge("Put **5 tents** with _mats_", msgspec.json.encode(thought).decode())
    [number] = add_knowledge(db, "d", "thought", teacher, [piece])
    lines = printed_lines(piece_text(about_piece(db, number)))
    assert lines[0] == first
    assert ("they are **both** for _nights_" in lines) == (teacher == "annotations")
    assert ("they are both for nights" in lines) == (teacher != "annotations")


@given(st.text())
def test_any_text_can_be_shown(text: str) -> None:
    assert "\x1b" not in "".join(rendered_lines(text))
