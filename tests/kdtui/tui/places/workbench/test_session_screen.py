"""The session screen: a session, generated bundles, settings and comparisons."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from rich.console import RenderableType
from textual.screen import Screen

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.places.workbench import session_view
from kdtui.tui.places.workbench.screen import WorkbenchScreen
from kdtui.tui.places.workbench.session_screen import SessionScreen
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.workflows.student import options
from store.records import Bundle, Item, RunSettings, Session
from tests.support.acting import act
from tests.support.screens import MakeStore, Settle, column, content_of, toasts
from tests.support.session_place import bundles, heading, opened


async def test_a_small_terminal_shows_the_first_keys_to_use(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store, RunSettings("smollm2"))
    async with opened(app, settle) as pilot:
        keys = str(app.screen.query_one(Footer).render())
        assert keys.startswith("g Generate a Student p Patterns s Settings v Compare w Prompt esc Back ")
        app.use_choice(StudentChoice())
        await pilot.press("escape", "enter")
        await settle(pilot)
        keys = str(app.screen.query_one(Footer).render())
        assert keys.startswith("g Generate a Student s Settings v Compare w Prompt esc Back ] Next "), (
            "it needs no patterns"
        )


# The session


async def test_products_are_numbered_and_marked_with_the_letters_of_their_bundles(
    demo_store: Path, settle: Settle
) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle):
        assert content_of(app, "#title") == "Session o01 · demo-outdoor · train · 6 products · 1 of 36"
        assert column(app, 0) == ["1", "2", "3", "4", "5", "6"]
        assert column(app, 1) == ["", "A B", "", "A", "B", "B"]
        assert column(app, 4)[1] == "Tents"
        assert bundles(app, "#truth") == ["A | 2 4 | tent and matching footprint", "B | 2 5 6 | weekend tent camping"]


async def test_a_wide_screen_shows_whole_categories_even_after_a_resize(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle, size=(200, 60)) as pilot:
        assert column(app, 4)[1] == "Outdoor > Camping > Shelter > Tents"
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert column(app, 4)[1] == "Tents"


async def test_only_minimal_bundles_are_true(make_store: MakeStore, settle: Settle) -> None:
    items = tuple(Item(name, f"Thing {name}") for name in "abc")
    app = KdtuiApp(make_store([Session("s", items, (Bundle((1, 2, 3), "all"), Bundle((1, 2), "[b]two")))]))
    async with opened(app, settle):
        assert bundles(app, "#truth") == ["A | 1 2 | [b]two"]
        assert "1 not minimal left out" in heading(app, "#truth")


async def test_a_session_is_shown_before_the_options_are_loaded(
    demo_store: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = KdtuiApp(demo_store)
    titles, real_options = [], options.student_options

    def noted(*arguments: Any, **named: Any) -> options.StudentOptions:
        titles.append(content_of(app, "#title"))
        return real_options(*arguments, **named)

    monkeypatch.setattr(options, "student_options", noted)
    async with opened(app, settle) as pilot:
        await act(pilot, "session.next")
        await settle(pilot)
        # Once for all sessions of a list, and again after a reload.
        await act(pilot, "screen.reload")
        await settle(pilot)
    assert [title.split(" · ")[0] for title in titles] == ["Session o01", "Session o02"]


async def test_the_next_and_the_previous_session_are_a_key_away(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await act(pilot, "session.previous")
        assert any("this is the first session" in toast for toast in toasts(app))
        await act(pilot, "session.next")
        await settle(pilot)
        assert "Session o02" in content_of(app, "#title")
        await act(pilot, "session.previous")
        await settle(pilot)
        assert "Session o01" in content_of(app, "#title")


async def test_the_cursor_returns_to_the_last_session(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("right_square_bracket", "right_square_bracket")
        await settle(pilot)
        await act(pilot, "session.back")
        await settle(pilot)
        assert isinstance(app.screen, WorkbenchScreen)
        assert app.screen.query_one(RowTable).cursor_row == 2


async def test_a_missing_session_gives_a_message(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        with sqlite3.connect(demo_store) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("DELETE FROM sessions WHERE session = 'o02'")
        connection.close()
        await pilot.press("right_square_bracket")
        await settle(pilot)
        assert "no longer exists" in content_of(app, "#title")
        assert not column(app, 0)
        await pilot.press("g", "w", "s", "v", "c")
        assert any("the session is not loaded" in toast for toast in toasts(app))
        await pilot.press("right_square_bracket")
        await settle(pilot)
        assert "Session o03" in content_of(app, "#title")


# Generating


# Settings


# The prompt


# Comparing


async def test_a_session_is_painted_only_after_it_is_loaded(
    demo_store: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_view, "_LONGEST_HOLD", 20.0)
    painted: list[str] = []
    real_display = KdtuiApp._display

    def display(app: KdtuiApp, below: Screen[object], content: RenderableType | None) -> None:
        if isinstance(below, SessionScreen):
            painted.append(content_of(app, "#title").split(" · ")[0])
        real_display(app, below, content)

    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        monkeypatch.setattr(KdtuiApp, "_display", display)
        await pilot.press("escape", "down", "enter")
        await settle(pilot)
        assert set(painted) == {"Session o02"}
