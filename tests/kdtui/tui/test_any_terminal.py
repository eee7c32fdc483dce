"""Screens are readable in any theme, without colours, and in a small terminal."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from rich.segment import Segment
from textual.events import Paste
from textual.widgets import Input

from kdtui.tui.action import PLACES
from kdtui.tui.app import KdtuiApp
from kdtui.tui.config import THEMES, Config
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.top_bar import TopBar, shortened
from tests.support.acting import act
from tests.support.painted import contrast
from tests.support.screens import Settle

COLOURED = [theme for theme in THEMES if not theme.startswith("ansi")]
ANSI = [theme for theme in THEMES if theme.startswith("ansi")]

LEAST = 3.0
"""The minimum contrast of large text in the WCAG."""


def painted(app: KdtuiApp) -> list[list[Segment]]:
    """Return the lines that the terminal gets."""
    return [list(line) for line in app.screen._compositor.render_strips()]


def painted_lines(app: KdtuiApp) -> list[str]:
    return ["".join(segment.text for segment in line) for line in painted(app)]


def rows_in_sight(app: KdtuiApp) -> int:
    table = app.screen.query(RowTable).first()
    return table.size.height - 1


def segments_with(app: KdtuiApp, text: str) -> Iterator[Segment]:
    return (segment for line in painted(app) for segment in line if text in segment.text)


async def test_the_row_under_the_cursor_and_the_jump_letters_are_readable(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        for theme in COLOURED:
            app.theme = theme
            await settle(pilot)
            assert contrast(next(segments_with(app, "0.475"))) > LEAST, theme
            assert contrast(next(segments_with(app, "▸1 Knowledge"))) > LEAST, theme
            await act(pilot, "app.jump")
            letters = list(segments_with(app, " a "))
            assert letters, theme
            assert min(map(contrast, letters)) > LEAST, theme
            await pilot.press("escape")


@pytest.mark.parametrize("theme", ANSI)
async def test_jumping_leaves_the_screen_in_sight(demo_store: Path, settle: Settle, theme: str) -> None:
    app = KdtuiApp(demo_store, config=Config(theme=theme))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "app.jump")
        assert any("39 pieces" in line for line in painted_lines(app))


@pytest.mark.parametrize("theme", THEMES)
async def test_without_colours_no_text_has_the_colour_of_its_background(
    demo_store: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch, theme: str
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = KdtuiApp(demo_store, config=Config(theme=theme))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for text, style, _ in chain.from_iterable(painted(app)):
            if text.strip() and style is not None and style.color is not None:
                assert style.color.is_default or style.color != style.bgcolor, text
                # A theme with the colours of the terminal has none.
                assert theme not in ANSI or style.color.is_default, (text, style)
        if theme in ANSI:
            for text in ("▸1 Knowledge", "0.475"):
                style = next(segments_with(app, text)).style
                assert style is not None
                assert style.reverse, text


async def test_a_place_shows_rows_in_a_terminal_of_ten_lines(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(40, 10)) as pilot:
        for place in ("knowledge", "workbench", "models"):
            await act(pilot, f"app.{place}")
            await settle(pilot)
            assert rows_in_sight(app) >= 2, place
        await act(pilot, "app.workbench")
        await act(pilot, "table.select")
        await settle(pilot)
        assert rows_in_sight(app) >= 2, "the products of a session"
        # With more room, the parts below come back.
        await pilot.resize_terminal(80, 24)
        await act(pilot, "app.knowledge")
        await settle(pilot)
        assert app.screen.query_one("#about").display


async def test_all_places_are_named_in_a_terminal_of_any_width(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(200, 24)) as pilot:
        for width in (200, 119, 80, 74, 60, 40, 31, 24, 20):
            await pilot.resize_terminal(width, 24)
            await act(pilot, "app.runs")
            await settle(pilot)
            bar = app.screen.query_one(TopBar)
            line = str(bar.render())
            assert all(str(number) in line[:width] for number in range(1, len(PLACES) + 1)), width
            assert "▸6" in line, width
            if width >= 31:
                assert "▸6 Runs" in line, width
            # A click on the number works.
            await pilot.click(bar, offset=(line.index("7"), 0))
            await settle(pilot)
            assert app.current_mode == "models", width


def test_titles_are_only_as_short_as_necessary() -> None:
    titles = [title for title, _ in PLACES.values()]
    assert shortened(titles, 0, 90) == (titles, " ")
    # With less room, the gaps go first.
    assert shortened(titles, 0, 80) == (titles, "")
    assert shortened(titles, 1, 60)[0] == ["Kno", "Workbench", "Dis", "Sam", "Job", "Run", "Mod", "Stu"]
    assert shortened(titles, 1, 31)[0] == ["", "Workbench", "", "", "", "", "", ""]
    assert shortened(titles, 1, 20)[0] == ["", "Wor", "", "", "", "", "", ""]


async def test_escape_without_anything_to_leave_gives_no_message(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        for place in PLACES:
            await act(pilot, f"app.{place}")
            await settle(pilot)
            await pilot.press("escape")
            await settle(pilot)
            assert len(app._notifications) == 0, place


async def test_a_long_text_pasted_into_a_line_is_cut(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "knowledge.search")
        app.post_message(Paste("tent " * 200_000 + "\nmore"))
        await settle(pilot)
        assert app.screen.query_one("#search", Input).value == ("tent " * 1_000)[:4_096]
        assert [note.message for note in app._notifications] == [
            "only the first 4,096 of 1,000,000 characters were pasted"
        ]


async def test_without_a_shell_the_app_cannot_be_suspended(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "app.suspend")
        await act(pilot, "app.help")
        await act(pilot, "app.suspend")
        assert {note.message for note in app._notifications} == {"there is no shell to go back to"}
