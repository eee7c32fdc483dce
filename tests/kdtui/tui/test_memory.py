"""What the app remembers: the theme, the place, and past messages."""

from pathlib import Path

import pytest
from textual.widgets import Static

from kdtui.tui.action import PLACES
from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.screen import StoreScreen
from kdtui.tui.memory import Memory
from tests.support.acting import act, rest
from tests.support.screens import Settle


async def test_a_key_cycles_through_the_themes_and_the_last_is_remembered(demo_store: Path, settle: Settle) -> None:
    memory = Memory(demo_store.with_name("memory.json"), demo_store)
    app = KdtuiApp(demo_store, memory=memory)
    async with app.run_test() as pilot:
        await settle(pilot)
        seen = []
        for _ in range(4):
            await act(pilot, "app.next_theme")
            seen.append(app.theme)
        assert "textual-light" in seen
        assert "high-contrast" in seen
    again = KdtuiApp(demo_store, memory=Memory(demo_store.with_name("memory.json"), demo_store))
    assert again.theme == seen[-1]


async def test_a_theme_chosen_in_the_palette_is_remembered(demo_store: Path, settle: Settle, tmp_path: Path) -> None:
    app = KdtuiApp(demo_store, memory=Memory(tmp_path / "memory.json", demo_store))
    async with app.run_test() as pilot:
        await settle(pilot)
        # Textual's own command does this.
        app.theme = "nord"
        await rest(pilot)
    assert KdtuiApp(demo_store, memory=Memory(tmp_path / "memory.json", demo_store)).theme == "nord"


async def test_the_place_survives_a_restart(demo_store: Path, settle: Settle) -> None:
    path = demo_store.with_name("memory.json")
    app = KdtuiApp(demo_store, memory=Memory(path, demo_store))
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "app.runs")
        await settle(pilot)
    app = KdtuiApp(demo_store, memory=Memory(path, demo_store))
    async with app.run_test() as pilot:
        await settle(pilot)
        assert app.current_mode == "runs"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"stores": 3, "theme": 7}', '{"stores": {"x": []}}', "\0"])
async def test_a_damaged_memory_is_ignored(content: str, demo_store: Path, settle: Settle) -> None:
    path = demo_store.with_name("memory.json")
    path.write_text(content)
    app = KdtuiApp(demo_store, memory=Memory(path, demo_store))
    async with app.run_test() as pilot:
        await settle(pilot)
        assert app.current_mode == next(iter(PLACES))


async def test_past_messages_can_be_read_again_with_their_details(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        app.say("the [red]host[/red] is \x1b[31mdown", details="line one\nline two " + "x" * 10_000)
        await rest(pilot)
        assert "! shows details" in str(next(iter(app._notifications)).message)
        await act(pilot, "app.messages")
        await rest(pilot)
        assert isinstance(app.screen, TextDialog)
        text = str(app.screen.query(Static).last().content)
        assert "the [red]host[/red] is" in text
        assert "line two xxx" in text
        await act(pilot, "text.copy")
        assert app.clipboard.startswith(text[:40])
        scroll = app.screen.query_one("VerticalScroll")
        await act(pilot, "text.end")
        assert scroll.scroll_y == scroll.max_scroll_y > 0
        for action in ("up", "page_up", "home", "down", "page_down"):
            before = scroll.scroll_y
            await act(pilot, f"text.{action}")
            assert scroll.scroll_y != before, action
        await act(pilot, "text.close")
        assert isinstance(app.screen, StoreScreen)


async def test_the_same_message_is_not_shown_twice_at_once(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        for sentence in ("it is down", "it is down", "so is another"):
            app.say(sentence)
        await rest(pilot)
        assert [each.message for each in app._notifications] == ["it is down", "so is another"]
