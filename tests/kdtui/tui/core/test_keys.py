"""Help, footer, palette and jump letters: every action is found, and its key."""

from pathlib import Path

import pytest
from textual.command import CommandList, CommandPalette
from textual.widgets import Static

from kdtui.tui.action import PLACES
from kdtui.tui.app import KdtuiApp
from kdtui.tui.config import Config
from kdtui.tui.core.help import HelpScreen
from kdtui.tui.core.jump import JumpScreen
from kdtui.tui.core.screen import StoreScreen
from kdtui.tui.memory import Memory
from kdtui.tui.widgets.footer import Footer
from tests.support.acting import act, rest
from tests.support.help_lines import help_lines
from tests.support.screens import Settle, Until


async def test_the_footer_shows_the_keys_that_fit_and_a_click_presses_them(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(50, 24)) as pilot:
        await settle(pilot)
        footer = app.screen.query_one(Footer)
        narrow = str(footer.render())
        assert narrow.endswith(" ? Help ")
        assert len(narrow) <= 51
        await pilot.resize_terminal(120, 24)
        await settle(pilot)
        wide = str(footer.render())
        assert wide.startswith(narrow.removesuffix("? Help "))
        assert wide.endswith(" ? Help q Quit ")
        await pilot.hover(footer, offset=(wide.index("Help"), 0))
        assert footer.tooltip == "List the keys"
        await pilot.click(footer, offset=(wide.index("Help"), 0))
        await settle(pilot)
        assert isinstance(app.screen, HelpScreen)


async def test_a_narrow_footer_shows_possible_actions_first(demo_store: Path, settle: Settle) -> None:
    memory = Memory(None, demo_store)
    memory.place = "jobs"
    app = KdtuiApp(demo_store, memory=memory)
    async with app.run_test(size=(30, 24)) as pilot:
        await settle(pilot)
        footer = app.screen.query_one(Footer)
        # There is no training to act on, and no host to check.
        assert str(footer.render()).split() == ["n", "New", "c", "Copy", "?", "Help", "q", "Quit"]
        await pilot.resize_terminal(120, 24)
        await settle(pilot)
        assert str(footer.render()).startswith("n New h Check x Stop R Resume ")


@pytest.mark.slow
async def test_the_help_has_every_key_of_a_place_and_says_which_do_nothing_now(
    empty_store: Path, settle: Settle
) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        for place in PLACES:
            await act(pilot, f"app.{place}")
            await settle(pilot)
            shown = {each.tooltip for each in app.screen.active_bindings.values() if each.tooltip}
            await act(pilot, "app.help")
            await rest(pilot)
            lines = help_lines(app)
            assert lines["List the keys"] == "?"
            for purpose in shown:
                assert any(line.startswith(purpose) for line in lines), (place, purpose)
            await act(pilot, "help.close")
            assert isinstance(app.screen, StoreScreen)


async def test_a_key_without_effect_says_why(empty_store: Path, settle: Settle) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "screen.copy_command")
        await rest(pilot)
        assert [str(each.message) for each in app._notifications] == ["there is no command to copy"]


async def test_the_help_scrolls_by_keys(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(80, 10)) as pilot:
        await settle(pilot)
        await act(pilot, "app.help")
        await rest(pilot)
        text = app.screen.query_one("VerticalScroll")
        for action, at in [("down", 1), ("up", 0), ("end", text.max_scroll_y), ("home", 0)]:
            await act(pilot, f"help.{action}")
            assert text.scroll_y == at, action
        await act(pilot, "help.page_down")
        assert text.scroll_y > 1
        await act(pilot, "help.page_up")
        assert text.scroll_y == 0


async def test_the_palette_finds_an_action_by_its_name(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await act(pilot, "app.palette")
        await rest(pilot)
        assert isinstance(app.screen, CommandPalette)
        await pilot.press(*"Runs")
        await settle(pilot)
        await pilot.pause(0.3)
        await pilot.press("enter")
        await pilot.press("enter")
        await settle(pilot)
        assert app.current_mode == "runs"


async def test_the_palette_names_each_action_once(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for place in PLACES:
            await act(pilot, f"app.{place}")
            await settle(pilot)
            names = [command.title for command in app.get_system_commands(app.screen)]
            assert len(names) == len(set(names)), (place, sorted(names))


async def test_the_palette_finds_an_impossible_action_and_says_why(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await act(pilot, "app.palette")
        await pilot.press(*"undo")
        await settle(pilot)
        await pilot.pause(0.3)
        [option] = app.screen.query_one(CommandList).options
        why = "nothing was deleted since the program started"
        purpose = "Restore the pieces that were deleted last"
        assert str(option.prompt).splitlines() == ["Undo", f"{purpose} (not now: {why})"]
        await pilot.press("enter", "enter")
        await settle(pilot)
        assert not isinstance(app.screen, CommandPalette)
        assert [(note.title, str(note.message)) for note in app._notifications] == [("Not now", why)]


async def test_a_letter_moves_the_focus_to_each_part_of_the_screen(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        parts = list(app.screen.focus_chain)
        for letter, part in zip("asd", parts, strict=False):
            # Keys go into an input while it has the focus.
            app.screen.query_one("RowTable").focus()
            await act(pilot, "app.jump")
            await rest(pilot)
            assert isinstance(app.screen, JumpScreen)
            await pilot.press(letter)
            await rest(pilot)
            assert app.screen.focused is part
        app.screen.query_one("RowTable").focus()
        await act(pilot, "app.jump")
        hint = app.screen.query_one("#hint", Static)
        assert str(hint.render()) == "A letter moves the focus there  esc stays here"
        assert hint.region == app.screen_stack[0].query_one(Footer).region, "the keys of the footer do nothing now"
        await act(pilot, "jump.close")
        await rest(pilot)
        assert app.screen.focused is app.screen.query_one("RowTable")


async def test_letters_follow_their_parts_after_a_resize(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        below = app.screen
        few = len(below.focus_chain)
        await act(pilot, "app.jump")
        await rest(pilot)
        for size in ((200, 50), (80, 24)):
            await pilot.resize_terminal(*size)
            is_large = size == (200, 50)
            # Facets are visible on a wide screen, a moment after the resize.
            await until(pilot, lambda: (len(below.focus_chain) > few) == is_large)  # noqa: B023
            await settle(pilot)
            letters = [letter.region.offset for letter in app.screen.query(".letter")]
            assert letters == [part.region.offset for part in below.focus_chain]
        await pilot.press("s")
        await rest(pilot)
        assert below.focused is below.focus_chain[1]


async def test_a_configured_key_replaces_the_default_one(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store, config=Config(keymap={"app.runs": "R", "app.help": "f1"}))
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("6")
        await settle(pilot)
        assert app.current_mode != "runs"
        await pilot.press("R")
        await settle(pilot)
        assert app.current_mode == "runs"
        await pilot.press("f1")
        await rest(pilot)
        assert help_lines(app)["List the keys"] == "f1"
