"""What works everywhere in the app: places, help, palette, jumping, themes, messages, dialogs and forms."""

import asyncio
import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from textual.command import CommandList, CommandPalette
from textual.events import Key
from textual.widgets import Input, Static

from kdtui.tui.action import PLACES
from kdtui.tui.app import KdtuiApp
from kdtui.tui.config import Config
from kdtui.tui.core import idle_gc
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.find import FindScreen
from kdtui.tui.core.forms import Field, Form, FormDialog
from kdtui.tui.core.help import HelpScreen
from kdtui.tui.core.jump import JumpScreen
from kdtui.tui.core.screen import Failed, StoreScreen
from kdtui.tui.memory import Memory
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.top_bar import TopBar
from tests.support.acting import act, rest
from tests.support.screens import Settle, Until


class PlainForm(Form[dict[str, str]]):
    """A form whose result is its values.

    Args:
        required: a field that has to be filled in.
    """

    title, verb = "A form", "Do it"
    fields: Sequence[Field] = ()

    def __init__(self, fields: Sequence[Field], *, required: str | None = None) -> None:
        self.fields, self._required = fields, required

    def parse(self, values: Mapping[str, str]) -> dict[str, str]:
        return dict(values)

    def problem(self, parsed: dict[str, str]) -> str | None:
        return f"{self._required} is missing" if self._required and not parsed[self._required] else None

    def command(self, parsed: dict[str, str]) -> str:
        return " ".join(["kdtui thing", *(f"--{name} {value}" for name, value in parsed.items() if value)])


def help_lines(app: KdtuiApp) -> dict[str, str]:
    """Return the keys in the help by their purposes."""
    assert isinstance(app.screen, HelpScreen)
    grid = next(each.content for each in app.screen.query(Static) if isinstance(each.content, Table))
    assert isinstance(grid, Table)
    keys, purposes = ([str(cell) for cell in column.cells] for column in grid.columns)
    return dict(zip(purposes, keys, strict=True))


async def test_each_place_is_a_key_away(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        # The app starts in the first place.
        for place in [*list(PLACES)[1:], next(iter(PLACES))]:
            await act(pilot, f"app.{place}")
            await settle(pilot)
            assert app.current_mode == place
            places = str(app.screen.query_one(TopBar).render())
            assert f"▸{list(PLACES).index(place) + 1} {PLACES[place][0]} " in places
            assert places.count("▸") == 1


async def test_each_place_is_a_click_away(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for place in [*list(PLACES)[1:], next(iter(PLACES))]:
            bar = app.screen.query_one(TopBar)
            await pilot.click(bar, offset=(str(bar.render()).index(PLACES[place][0]), 0))
            await settle(pilot)
            assert app.current_mode == place


async def test_garbage_is_collected_in_pauses(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations: list[int] = []

    def note(phase: str, about: dict[str, int]) -> None:
        if phase == "start":
            generations.append(about["generation"])

    usual = gc.get_threshold()
    monkeypatch.setattr(idle_gc, "_PAUSE", 0.1)
    app = KdtuiApp(demo_store)
    try:
        async with app.run_test() as pilot:
            await settle(pilot)
            idle_gc.collect_at_rest(app)
            gc.callbacks.append(note)
            # This allocates so much that Python would start a full collection.
            objects = [[number] for number in range(2_000_000)]
            assert generations
            assert 2 not in generations
            del objects
            await until(pilot, lambda: 2 in generations)
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*usual)


@pytest.mark.parametrize("leave", ["escape", "enter"])
async def test_fast_keys_go_to_the_screen_that_the_first_key_opens(
    demo_store: Path, settle: Settle, leave: str
) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for key in ("slash", *"tents", leave, "2"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await settle(pilot)
        assert app.current_mode == "workbench"
        await act(pilot, "app.knowledge")
        assert app.screen.query_one("#search", Input).value == "tents"
        assert isinstance(app.screen.focused, RowTable)


@pytest.mark.parametrize("where", ["a list", "a text", "the help"])
async def test_fast_keys_are_searched(demo_store: Path, settle: Settle, where: str) -> None:
    memory = Memory(None, demo_store)
    memory.place = "models"
    app = KdtuiApp(demo_store, memory=memory)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        if where == "a text":
            app.push_screen(TextDialog("A text", "some\nlines"))
            await settle(pilot)
        for key in (*(["question_mark"] if where == "the help" else []), "slash", *"line"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await settle(pilot)
        assert isinstance(app.screen, FindScreen)
        assert app.screen.query_one(Input).value == "line"


async def test_an_impossible_action_gives_one_message(demo_store: Path, settle: Settle) -> None:
    memory = Memory(None, demo_store)
    memory.place = "models"
    app = KdtuiApp(demo_store, memory=memory)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert isinstance(app.screen.focused, RowTable)
        await act(pilot, "models.stop")
        assert [note.title for note in app._notifications] == ["Not now"]


async def test_a_key_before_the_fields_of_a_form_exist_does_not_accept_it(empty_store: Path, settle: Settle) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        results: list[Mapping[str, str] | None] = []
        form = FormDialog(PlainForm([Field("name", "Name", "text", "camping")]))
        shown = app.push_screen(form, results.append)
        form.action_done()
        await shown
        await rest(pilot)
        assert app.screen is form
        await act(pilot, "form.done")
        assert results == [{"name": "camping"}]


async def test_a_form_gets_all_fast_keys(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    done: list[Mapping[str, str] | None] = []
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        fields = [Field("one", "One"), Field("on", "On", "switch"), Field("two", "Two")]
        app.push_screen(FormDialog(PlainForm(fields)), done.append)
        await settle(pilot)
        for key in (*"first", "tab", "tab", *"second", "ctrl+s"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await settle(pilot)
        assert done == [{"one": "first", "on": "", "two": "second"}]


@pytest.mark.parametrize(
    ("keys", "done"),
    [
        (["enter", "down", "enter", "tab", "x", "ctrl+s"], {"fruit": "L", "two": "x"}),
        (["enter", *"pe", "enter", "tab", "x", "ctrl+s"], {"fruit": "P", "two": "x"}),
        (["enter", *"pe", "enter", "ctrl+s"], {"fruit": "P", "two": ""}),
        (["enter", "down", "escape", "tab", "x", "ctrl+s"], {"fruit": "A", "two": "x"}),
        (["down", "down", "space", "enter", "tab", "x", "enter"], {"fruit": "L", "two": "x"}),
        (["tab", "shift+tab", "enter", "end", "enter", "enter", "up", "enter", "ctrl+s"], {"fruit": "L", "two": ""}),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "at once"])
async def test_a_choice_by_keys_works_at_any_speed(
    demo_store: Path, settle: Settle, keys: list[str], done: dict[str, str], at_once: bool
) -> None:
    app = KdtuiApp(demo_store)
    results: list[Mapping[str, str] | None] = []
    fruit = [("an apple", "A"), ("a lemon", "L"), ("a pear", "P")]
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        fields = [Field("fruit", "Fruit", "choice", "A", options=fruit), Field("two", "Two")]
        app.push_screen(FormDialog(PlainForm(fields)), results.append)
        await settle(pilot)
        for key in keys:
            app.post_message(Key(key, key if len(key) == 1 else None))
            if not at_once:
                await settle(pilot)
        await settle(pilot)
        assert results == [done]


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


async def test_an_irreversible_action_is_confirmed(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    answers: list[bool | None] = []
    async with app.run_test() as pilot:
        await settle(pilot)
        for action in ("confirm.yes", "confirm.no"):
            app.push_screen(ConfirmDialog("Delete [b]it[/b]?", "All of it is lost.", "Delete"), answers.append)
            await rest(pilot)
            await act(pilot, action)
            await rest(pilot)
        app.push_screen(ConfirmDialog("Delete?", "All of it is lost.", "Delete"), answers.append)
        await rest(pilot)
        # The harmless button has the focus.
        await pilot.press("enter")
        await rest(pilot)
    assert answers == [True, False, False]


async def test_the_command_of_a_dialog_is_shown_and_copied(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        form = FormDialog(PlainForm([Field("name", "Name")]))
        for dialog, action, command in (
            (ConfirmDialog("Delete [b]it[/b]?", "It is lost.", "Delete", "kdtui x rm '[b]it[/b]'"), "confirm.copy", ""),
            (form, "form.copy", "kdtui thing --name it"),
        ):
            app.push_screen(dialog)
            await rest(pilot)
            if dialog is form:
                await pilot.press(*"it")
            await act(pilot, action)
            assert app.clipboard == (command or dialog.command)
            assert str(dialog.query_one("#dialog-command", Static).content) == f"$ {app.clipboard}"
            dialog.dismiss(None)
            await rest(pilot)
        app.push_screen(ConfirmDialog("Sure?", "No command does that.", "Yes"))
        await rest(pilot)
        await act(pilot, "confirm.copy")
        assert [*app._notifications][-1].message == "there is no command to copy"


async def test_help_and_messages_open_over_a_text(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        app.push_screen(TextDialog("A text", "of some words"))
        await rest(pilot)
        await act(pilot, "text.help")
        assert help_lines(app)["Copy the text"] == "c"
        await act(pilot, "help.close")
        app.say("something was said")
        await act(pilot, "text.messages")
        assert isinstance(app.screen, TextDialog)
        assert "something was said" in str(app.screen.query(Static).last().content)


async def test_a_form_shows_its_command_and_what_is_wrong(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    results: list[Any] = []

    form = PlainForm(
        [
            Field("name", "Name"),
            Field("kind", "Kind", "choice", "b", options=[("An [a]", "a"), ("A b", "b")]),
            Field("notes", "Notes", "lines"),
            Field("big", "Big", "switch", "yes"),
        ],
        required="name",
    )

    async with app.run_test() as pilot:
        await settle(pilot)
        app.push_screen(FormDialog(form), results.append)
        await rest(pilot)
        assert "name is missing" in str(app.screen.query_one("#form-problem", Static).content)
        await act(pilot, "form.done")
        await rest(pilot)
        assert results == []
        await pilot.press(*"x y")
        assert "kdtui thing --name x y --kind b" in str(app.screen.query_one("#dialog-command", Static).content)
        await act(pilot, "form.done")
        await rest(pilot)
        app.push_screen(FormDialog(form), results.append)
        await rest(pilot)
        await act(pilot, "form.close")
        await rest(pilot)
    assert results == [{"name": "x y", "kind": "b", "notes": "", "big": "yes"}, None]


async def test_a_key_quits_the_app(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "app.quit")
    assert app.return_code == 0


async def test_the_command_is_copied(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert isinstance(app.screen, StoreScreen)
        await act(pilot, "screen.copy_command")
        assert app.clipboard == app.screen.command
        assert app.clipboard.startswith("kdtui knowledge")


async def test_keys_lead_from_a_search_to_the_list(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "knowledge.search")
        assert isinstance(app.screen.focused, Input)
        await act(pilot, "search.leave_search")
        assert not isinstance(app.screen.focused, Input)


@pytest.mark.parametrize("theme", ["textual-dark", "high-contrast", "ansi-dark"])
async def test_without_colours_signs_remain(
    theme: str, demo_store: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = KdtuiApp(demo_store, config=Config(theme=theme))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        screenshot = app.export_screenshot()
        assert "▸1&#160;Knowledge" in screenshot


async def test_a_fault_of_the_program_gives_a_message_and_a_file(
    demo_store: Path, settle: Settle, tmp_path: Path, faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fault(Exception):
        pass

    def fail(app: KdtuiApp) -> None:
        raise Fault(f"{app.title} is [b]broken[/b]")

    async def use(app: KdtuiApp) -> None:
        async with app.run_test() as pilot:
            await settle(pilot)
            await act(pilot, "app.help")

    monkeypatch.setattr(KdtuiApp, "action_help", fail)
    app = KdtuiApp(demo_store)
    with pytest.raises(Fault):
        await use(app)
    assert app.return_code == 1
    [path] = (tmp_path / "state" / "kdtui").glob("fault-*.txt")
    assert "in fail" in path.read_text()
    faults.clear()


async def test_a_fault_in_the_background_does_not_end_the_app(
    demo_store: Path, settle: Settle, faults: list[str]
) -> None:
    app = KdtuiApp(demo_store)

    def question(db: object) -> None:
        raise ZeroDivisionError(f"{type(db).__name__} [b]/ 0")

    async with app.run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        assert isinstance(app.screen, StoreScreen)
        app.screen.ask(question, lambda answer: Failed("never"), group="faulty")  # noqa: ARG005
        await settle(pilot)
        await act(pilot, "app.messages")
        assert "Database [b]/ 0" in str(app.screen.query(Static).last().content)
        assert "Traceback" in str(app.screen.query(Static).last().content)
    assert len(faults) == 1
    faults.clear()


async def test_a_hidden_table_gets_no_focus(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        table = app.screen.query_one("#knowledge")
        assert app.screen.focused is table
        app.screen.query_one("#search", Input).value = "nothing is called so"
        await settle(pilot)
        # A screen over another returns the focus when it closes.
        await act(pilot, "app.help")
        await act(pilot, "help.close")
        await settle(pilot)
        assert app.screen.focused is None
        app.screen.query_one("#search", Input).value = ""
        await settle(pilot)
        assert app.screen.focused is table


async def test_closing_a_dialog_twice_closes_nothing_else(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    answers: list[bool | None] = []
    async with app.run_test() as pilot:
        await settle(pilot)
        below, above = TextDialog("Below", "stays"), ConfirmDialog("Delete?", "It is lost.", "Delete")
        app.push_screen(below)
        app.push_screen(above, answers.append)
        await rest(pilot)
        # Before the dialog is gone, like a double click.
        above.action_answer(True)
        above.action_answer(True)
        await rest(pilot)
        assert app.screen is below
    assert answers == [True]


@pytest.mark.parametrize("turns", range(5))
async def test_the_app_quits_while_a_dialog_opens(empty_store: Path, turns: int) -> None:
    for make in (
        lambda: FormDialog(PlainForm([Field("a", "A")])),
        lambda: TextDialog("A text", "to be read"),
        lambda: ConfirmDialog("Sure?", "It is gone then.", "Delete", "kdtui rm"),
    ):
        app = KdtuiApp(empty_store)
        async with app.run_test() as pilot:
            await rest(pilot)
            app.push_screen(make())
            for _ in range(turns):
                await asyncio.sleep(0)
            app.exit()
        assert app.return_code == 0


async def test_a_key_after_the_app_has_quit_is_ignored(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
    await app.on_event(Key("j", "j"))
    assert not app.is_running
