"""The list of sessions."""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select, Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.screens.session import SessionScreen
from kdtui.tui.screens.sessions import SessionsScreen
from kdtui.tui.widgets.flex_table import FlexTable
from kdtui.workflows.import_dataset import import_dataset
from store.database import open_database
from store.datasets import write_dataset
from store.records import Item, Session

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeStore = Callable[[Sequence[Session]], Path]

OUTDOOR = Path(str(files("kdtui") / "demo_data" / "outdoor.jsonl"))


def table(app: KdtuiApp) -> FlexTable:
    return app.screen.query_one(FlexTable)


def ids(app: KdtuiApp) -> list[str]:
    return [str(row.key.value) for row in table(app).ordered_rows]


def notice(app: KdtuiApp) -> str:
    widget = app.screen.query_one("#notice", Static)
    return str(widget.content) if widget.display else ""


def command(app: KdtuiApp) -> str:
    assert isinstance(app.screen, SessionsScreen)
    return app.screen.command


def toasts(app: KdtuiApp) -> list[str]:
    return [note.message for note in app._notifications]


def short(count: int) -> list[Session]:
    return [Session(f"s{number:04}", (Item(f"i{number}", f"Thing {number}"),)) for number in range(count)]


async def test_the_sessions_of_a_dataset_are_listed(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert len(ids(app)) == 36
        assert [cell.plain for cell in table(app).get_row_at(0)][:4] == ["o01", "train", "6", "2"]
        assert app.focused is table(app)


async def test_typing_filters_by_words_of_titles_and_clearing_shows_all(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("slash", *"kayak")
        await settle(pilot)
        assert 0 < len(ids(app)) < 36
        await pilot.press(*"zzz")
        await settle(pilot)
        assert "No session of this dataset matches “kayakzzz”" in notice(app)
        app.screen.query_one(Input).clear()
        await settle(pilot)
        assert len(ids(app)) == 36
        assert not notice(app)


async def test_keys_are_text_in_the_filter_and_escape_leaves_it(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("slash", *"q12d?")
        assert app.screen.query_one(Input).value == "q12d?"
        await pilot.press("escape")
        assert not isinstance(app.focused, Input)
        await pilot.press("slash", "ctrl+u", "escape")
        await settle(pilot)
        assert app.focused is table(app)


async def test_j_and_k_move(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("j", "j", "k")
        assert table(app).cursor_row == 1


async def test_more_sessions_are_loaded_when_the_end_comes_near(make_store: MakeStore, settle: Settle) -> None:
    app = KdtuiApp(make_store(short(450)))
    async with app.run_test() as pilot:
        await settle(pilot)
        assert len(ids(app)) == 200
        for expected in (400, 450, 450):
            await pilot.press("end")
            await settle(pilot)
            assert len(ids(app)) == expected
        assert ids(app) == [f"s{number:04}" for number in range(450)]


async def test_an_answer_that_comes_late_is_ignored(make_store: MakeStore, settle: Settle) -> None:
    app = KdtuiApp(make_store(short(30)))
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("slash", "s", "0", "0", "0", "7")
        await settle(pilot)
        assert ids(app) == ["s0007"]


async def test_another_dataset_can_be_chosen(demo_store: Path, settle: Settle) -> None:
    db = open_database(demo_store)
    list(write_dataset(db, "[b]odd[/b]", "a test", short(3)))
    db.close()
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert len(ids(app)) == 3
        assert command(app) == "kdtui data show s0000 --dataset '[b]odd[/b]'"
        await pilot.press("d")
        await pilot.pause()
        await pilot.press("down", "enter")
        await settle(pilot)
        assert app.screen.query_one(Select).value == "demo-outdoor"
        assert len(ids(app)) == 36
        assert app.focused is table(app)


async def test_an_empty_store_says_what_to_do_first(empty_store: Path, settle: Settle) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "kdtui demo" in notice(app)
        assert "kdtui data import PATH --dataset NAME" in notice(app)
        await pilot.press("enter", "d", "c", "slash", "2")
        await settle(pilot)
        assert "kdtui demo" in notice(app)
        await pilot.press("1")
        db = open_database(empty_store)
        list(import_dataset(db, OUTDOOR, "demo"))
        db.close()
        await pilot.press("r")
        await settle(pilot)
        assert len(ids(app)) == 36
        assert not notice(app)


async def test_a_file_that_is_no_store_is_one_sentence(tmp_path: Path, settle: Settle) -> None:
    path = tmp_path / "other.db"
    path.write_text("this is not a database, however long it may be\n" * 100)
    app = KdtuiApp(path)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "not an SQLite database" in notice(app)
        assert any("not an SQLite database" in toast for toast in toasts(app))


async def test_a_store_that_breaks_meanwhile_is_one_sentence(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        with sqlite3.connect(demo_store) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("DROP TABLE session_items")
        await pilot.press("r")
        await settle(pilot)
        assert any("no such table" in toast for toast in toasts(app))
        assert app.is_running


async def test_text_from_outside_is_only_text(make_store: MakeStore, settle: Settle) -> None:
    titles = {
        "[red]x[/red]": "[red]x[/red]",
        "[/]": "[/]",
        "[@click=app.quit]x[/]": "[@click=app.quit]x[/]",
        "\x1b[31mred": "red",
        "two\nlines\r\n": "two lines",
        "\u202egnorw": "gnorw",
        "שלום עולם": "שלום עולם",
        "x" * 10_000: "x" * 399 + "…",
    }
    app = KdtuiApp(make_store([Session(title, (Item(f"a{title}", title), Item("b", title))) for title in titles]))
    async with app.run_test() as pilot:
        await settle(pilot)
        rows = [[cell.plain for cell in table(app).get_row_at(row)] for row in range(table(app).row_count)]
        assert [row[0] for row in rows] == [row[4] for row in rows] == list(titles.values())
        await pilot.press("enter")
        for shown in titles.values():
            await settle(pilot)
            assert isinstance(app.screen, SessionScreen)
            assert table(app).get_row_at(0)[3].plain == shown
            await pilot.press("c")
            assert "\x1b" not in app.export_screenshot()
            await pilot.press("right_square_bracket")


async def test_the_command_is_shown_and_copied(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("down", "c")
        assert app.clipboard == "kdtui data show o02 --dataset demo-outdoor"
        assert app.clipboard in str(app.screen.query_one("#command", Static).content)


async def test_a_store_at_another_place_is_named_in_the_command(
    demo_store: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDTUI_DB", "/elsewhere.db")
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert command(app) == f"kdtui data show o01 --dataset demo-outdoor --db {demo_store}"


async def test_help_lists_the_keys_and_the_palette_the_actions(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"Open", "Filter", "Dataset", "Copy", "Knowledge", "Theme"} <= titles
        await pilot.press("question_mark")
        await pilot.pause()
        shown = app.export_screenshot()
        assert "Copy&#160;the&#160;command" in shown
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, SessionsScreen)


async def test_places_can_be_clicked(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.click("TopBar > Place:last-child")
        await settle(pilot)
        assert app.current_mode == "knowledge"


async def test_q_quits(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("q")
        await pilot.pause()
    assert app.return_code == 0


async def test_a_session_that_comes_on_two_pages_is_listed_once(demo_store: Path, settle: Settle) -> None:
    # Another program can replace a dataset between two pages, and so move its sessions.
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        before = table(app).row_count
        table(app).add_page([("o01", ["o01"] * 5), ("new", ["new"] * 5)], more=False)
        await pilot.pause()
        assert table(app).row_count == before + 1
