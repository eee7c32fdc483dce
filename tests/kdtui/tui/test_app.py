"""What works everywhere in the app: places, help, palette, jumping, themes, messages, dialogs and forms."""

import asyncio
import gc
from pathlib import Path

import pytest
from textual.events import Key
from textual.widgets import Input, Static

from kdtui.tui.action import PLACES
from kdtui.tui.app import KdtuiApp
from kdtui.tui.config import Config
from kdtui.tui.core import idle_gc
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.find import FindScreen
from kdtui.tui.core.forms import Field, FormDialog
from kdtui.tui.core.screen import Failed, StoreScreen
from kdtui.tui.memory import Memory
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.top_bar import TopBar
from tests.support.acting import act, rest
from tests.support.plain_form import PlainForm
from tests.support.screens import Settle, Until


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
