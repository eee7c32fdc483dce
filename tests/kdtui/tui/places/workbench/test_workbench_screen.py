"""The place Workbench: the list of sessions."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from textual.events import Key
from textual.widgets import Input, OptionList, Select, Static, TextArea

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.memory import Memory
from kdtui.tui.places.workbench.session_screen import SessionScreen
from kdtui.tui.widgets.row_table import RowTable
from kdtui.workflows.data.import_dataset import import_dataset
from store.database import open_database
from store.dataset_writer import write_dataset
from store.records import Item, RunSettings, Session
from tests.support.acting import act, rest
from tests.support.screens import MakeStore, Settle, Until, cells, command, notice, table, toasts
from tests.support.stores import OUTDOOR
from tests.support.workbench_place import (
    readable_text,
    session_ids,
    session_title,
    short_sessions,
    type_session,
    workbench,
)

SIZES = [(80, 24), (200, 60)]


@pytest.mark.parametrize("size", SIZES)
async def test_the_sessions_of_a_dataset_are_listed(demo_store: Path, settle: Settle, size: tuple[int, int]) -> None:
    app = KdtuiApp(demo_store)
    async with workbench(app, settle, size):
        assert len(session_ids(app)) == 36
        assert cells(app, 0)[:4] == ["o01", "train", "6", "2"]
        assert app.focused is table(app)


async def test_typing_filters_by_words_of_titles_and_clearing_shows_all(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with workbench(app, settle) as pilot:
        await act(pilot, "workbench.search")
        await pilot.press(*"kayak")
        await settle(pilot)
        assert 0 < len(session_ids(app)) < 36
        await pilot.press(*"zzz")
        await settle(pilot)
        assert "No session of this dataset matches “kayakzzz”" in notice(app)
        app.screen.query_one(Input).clear()
        await settle(pilot)
        assert len(session_ids(app)) == 36
        assert not notice(app)


async def test_escape_shows_all_sessions_again(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with workbench(app, settle) as pilot:
        await pilot.press("slash", *"qqq", "enter")
        await settle(pilot)
        assert notice(app) == "No session of this dataset matches “qqq”.\n\nesc shows all sessions again."
        await act(pilot, "app.help")
        assert "Show all sessions again" in readable_text(app)
        await act(pilot, "help.close")
        await act(pilot, "workbench.clear_search")
        await settle(pilot)
        assert len(session_ids(app)) == 36
        assert app.focused is table(app)
        await pilot.press("slash", *"kayak", "enter", "escape")
        await settle(pilot)
        assert len(session_ids(app)) == 36, "where something was found, too"
        await pilot.press("slash", *"qqq")
        await settle(pilot)
        await act(pilot, "search.leave_search")
        await settle(pilot)
        assert len(session_ids(app)) == 36, "from the filter itself, where nothing was found"
        assert app.focused is table(app)


async def test_keys_are_text_in_the_filter_and_escape_goes_to_the_list(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with workbench(app, settle) as pilot:
        await pilot.press("slash", *"q12d?")
        assert app.screen.query_one(Input).value == "q12d?"
        await act(pilot, "search.leave_search")
        assert not isinstance(app.focused, Input)
        await pilot.press("slash", "ctrl+u", "escape")
        await settle(pilot)
        assert app.focused is table(app)


async def test_end_goes_to_the_last_of_all_sessions(make_store: MakeStore, settle: Settle) -> None:
    app = KdtuiApp(make_store(short_sessions(1450)))
    async with workbench(app, settle) as pilot:
        assert table(app).row_count == 1450
        await act(pilot, "table.bottom")
        await settle(pilot)
        assert cells(app, 1449)[0] == "s1449"
        assert command(app) == "kdtui data show s1449 --dataset made"
        await act(pilot, "table.select")
        await settle(pilot)
        assert "s1449" in session_title(app)
        assert "1,450 of 1,450" in session_title(app)


async def test_a_late_answer_is_ignored(make_store: MakeStore, settle: Settle) -> None:
    app = KdtuiApp(make_store(short_sessions(30)))
    async with workbench(app, settle) as pilot:
        await pilot.press("slash", "s", "0", "0", "0", "7")
        await settle(pilot)
        assert session_ids(app) == ["s0007"]


async def test_another_dataset_can_be_chosen_and_is_remembered_with_the_filter(
    demo_store: Path, settle: Settle, until: Until, tmp_path: Path
) -> None:
    db = open_database(demo_store)
    list(write_dataset(db, "[b]odd[/b]", "a test", short_sessions(3)))
    db.close()
    app = KdtuiApp(demo_store, memory=Memory(tmp_path / "memory.json", demo_store))
    async with workbench(app, settle) as pilot:
        assert len(session_ids(app)) == 3
        assert command(app) == "kdtui data show s0000 --dataset '[b]odd[/b]'"
        await act(pilot, "workbench.choose_dataset")
        await until(pilot, lambda: isinstance(app.focused, OptionList) and app.focused.highlighted == 0)
        await pilot.press("down", "enter")
        await settle(pilot)
        assert app.screen.query_one(Select).value == "demo-outdoor"
        assert len(session_ids(app)) == 36
        assert app.focused is table(app)
        await pilot.press("slash", *"o01", "enter")
        await settle(pilot)
    again = KdtuiApp(demo_store, memory=Memory(tmp_path / "memory.json", demo_store))
    async with again.run_test() as pilot:
        await settle(pilot)
        assert again.screen.query_one(Select).value == "demo-outdoor"
        assert again.screen.query_one(Input).value == "o01"
        assert session_ids(again) == ["o01"]


async def test_a_dataset_is_chosen_by_its_letters_and_its_sessions_filtered_at_once(
    demo_store: Path, settle: Settle
) -> None:
    db = open_database(demo_store)
    list(write_dataset(db, "[b]odd[/b]", "a test", short_sessions(3)))
    db.close()
    app = KdtuiApp(demo_store)
    async with workbench(app, settle) as pilot:
        for key in ("d", *"demo", "enter", "slash", *"o01", "enter"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await settle(pilot)
        assert app.screen.query_one(Select).value == "demo-outdoor"
        assert session_ids(app) == ["o01"]


async def test_any_memory_is_accepted(demo_store: Path, settle: Settle) -> None:
    memory = Memory(None, demo_store)
    memory.of("workbench").update({"dataset": ["no", "name"], "filter": 3, "choice": {"student": 1}})
    app = KdtuiApp(demo_store, memory=memory)
    async with workbench(app, settle):
        assert len(session_ids(app)) == 36
        assert app.choice == StudentChoice.of(None)


async def test_an_empty_store_says_what_to_do_first(empty_store: Path, settle: Settle) -> None:
    app = KdtuiApp(empty_store)
    async with workbench(app, settle) as pilot:
        assert "kdtui demo" in notice(app)
        assert "kdtui data import PATH --dataset NAME" in notice(app)
        assert "press n" in notice(app)
        await pilot.press("enter", "d", "c", "slash", "1")
        assert any("no dataset yet" in toast for toast in toasts(app))
        await pilot.press("2")
        db = open_database(empty_store)
        list(import_dataset(db, OUTDOOR, "demo"))
        db.close()
        await act(pilot, "screen.reload")
        await settle(pilot)
        assert len(session_ids(app)) == 36
        assert not notice(app)


async def test_a_file_that_is_not_a_store_gives_a_message(tmp_path: Path, settle: Settle) -> None:
    path = tmp_path / "other.db"
    path.write_text("this is not a database, however long it may be\n" * 100)
    app = KdtuiApp(path)
    async with workbench(app, settle):
        assert "not an SQLite database" in notice(app)
        assert any("not an SQLite database" in toast for toast in toasts(app))


async def test_a_store_that_breaks_later_gives_a_message(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with workbench(app, settle) as pilot:
        with sqlite3.connect(demo_store) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("DROP TABLE session_items")
        connection.close()
        await pilot.press("r")
        await settle(pilot)
        assert any("no such table" in toast for toast in toasts(app))
        await pilot.press("enter")
        await settle(pilot)
        assert any("no such table" in toast for toast in toasts(app))
        assert app.is_running


HOSTILE = {
    "[red]x[/red]": "[red]x[/red]",
    "[/]": "[/]",
    "[@click=app.quit]x[/]": "[@click=app.quit]x[/]",
    "\x1b[31mred": "red",
    "two\nlines\r\n": "two lines",
    "\u202egnorw": "gnorw",
    "שלום עולם": "שלום עולם",
    "日本語の寝袋 👩‍👩‍👧": "日本語の寝袋 👩‍👩‍👧",
    "e\u0301" * 50: "e\u0301" * 50,
    "x" * 10_000: "x" * 399 + "…",
}


@pytest.mark.parametrize("size", SIZES)
async def test_untrusted_text_is_shown_as_plain_text(
    make_store: MakeStore, settle: Settle, size: tuple[int, int]
) -> None:
    app = KdtuiApp(make_store([Session(title, (Item(f"a{title}", title), Item("b", title))) for title in HOSTILE]))
    async with workbench(app, settle, size) as pilot:
        assert "\x1b" not in app.export_screenshot()
        await pilot.press("enter")
        for _ in HOSTILE:
            await settle(pilot)
            assert isinstance(app.screen, SessionScreen)
            await pilot.press("c")
            shown = app.export_screenshot()
            assert "\x1b" not in shown
            assert "\u202e" not in shown
            await pilot.press("right_square_bracket")


async def test_the_command_is_shown_and_copied(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with workbench(app, settle) as pilot:
        await pilot.press("down")
        await act(pilot, "screen.copy_command")
        assert app.clipboard == "kdtui data show o02 --dataset demo-outdoor"
        assert app.clipboard in str(app.screen.query_one("#command", Static).content)


async def test_a_store_at_another_place_is_named_in_the_command(
    demo_store: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDTUI_DB", "/elsewhere.db")
    app = KdtuiApp(demo_store)
    async with workbench(app, settle):
        assert command(app) == f"kdtui data show o01 --dataset demo-outdoor --db {demo_store}"


# Typed sessions


async def test_a_typed_session_opens_like_any_other_and_stays(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with workbench(app, settle) as pilot:
        await type_session(pilot, settle, "Tent | Outdoor > Shelter\nSleeping bag\n")
        assert session_title(app) == "Session typed 1 · knowledge of demo-outdoor · typed · 2 products · 1 of 37"
        items = [app.screen.query_one(RowTable).row_at(row) for row in (0, 1)]
        assert [str(row.cells[3]) for row in items if row] == ["Tent", "Sleeping bag"]
        await pilot.press("escape")
        await settle(pilot)
        assert cells(app, 0) == ["typed 1", "typed", "2", "0", "Tent"]
        await type_session(pilot, settle, "Kettle")
        await pilot.press("escape", "1", "2")
        await settle(pilot)
        assert session_ids(app)[:3] == ["typed 2", "typed 1", "o01"]
        await pilot.press("slash", *"kettl")
        await settle(pilot)
        assert session_ids(app)[0] == "typed 2"


async def test_several_sessions_are_pasted_with_empty_lines_between(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with workbench(app, settle) as pilot:
        await act(pilot, "workbench.type_session")
        await settle(pilot)
        app.screen.query_one(TextArea).text = "Tent\nPegs\n\nKettle\nMug\n\n\nLamp\n"
        await rest(pilot)
        assert str(app.screen.query_one("#form-remark", Static).content) == "3 sessions"
        shown = str(app.screen.query_one("#dialog-command", Static).content)
        assert shown.startswith("$ printf '%s\\n' ")
        assert "Lamp" in shown
        assert shown.endswith(" | kdtui generate - --dataset demo-outdoor")
        await act(pilot, "form.done")
        await settle(pilot)
        assert session_title(app).startswith(
            "Session typed 1 · knowledge of demo-outdoor · typed · 2 products · 1 of 39"
        )
        await pilot.press("escape")
        await settle(pilot)
        assert session_ids(app)[:4] == ["typed 1", "typed 2", "typed 3", "o01"]
        await pilot.press("down", "n")
        await settle(pilot)
        assert app.screen.query_one(TextArea).text == "Kettle\nMug"


async def test_a_typed_session_can_be_edited(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with workbench(app, settle) as pilot:
        await type_session(pilot, settle, "Tent\nPegs")
        await pilot.press("escape")
        await settle(pilot)
        await pilot.press("n")
        await settle(pilot)
        assert app.screen.query_one(TextArea).text == "Tent\nPegs"
        await act(pilot, "form.close")
        await pilot.press("down", "n")
        await settle(pilot)
        assert not app.screen.query_one(TextArea).text


async def test_text_without_a_session_cannot_be_opened(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with workbench(app, settle) as pilot:
        await type_session(pilot, settle, '{"session": "s"}')
        assert isinstance(app.screen, FormDialog)
        assert "not as expected" in str(app.screen.query_one("#form-problem", Static).content)


async def test_without_any_dataset_a_session_can_be_typed(empty_store: Path, settle: Settle) -> None:
    app = KdtuiApp(empty_store)
    async with workbench(app, settle) as pilot:
        await type_session(pilot, settle, "Tent\nPegs")
        assert session_title(app) == "Session typed 1 · typed · 2 products · 1 of 1"
        assert app.screen.command == "kdtui generate --title Tent --title Pegs"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text", ["Tent\n-x 'n' \"y\"", "Tent | A > B\nO'Neil $HOME\\n `id`", '{"session":"a","items":[{"id":"i"}]}']
)
async def test_the_command_of_a_typed_session_shows_what_the_app_shows(
    demo_store: Path, settle: Settle, text: str
) -> None:
    app = KdtuiApp(demo_store, RunSettings("patterns"))
    async with workbench(app, settle) as pilot:
        await type_session(pilot, settle, text)
        screen = app.screen
        assert isinstance(screen, SessionScreen)
        assert screen._session is not None
        items = [[item.id, item.title, item.categories] for item in screen._session.items]
        seen = subprocess.run(
            ["sh", "-c", f'kdtui() {{ python -c "$SHOW" "$@"; }}; {screen.command}'],
            capture_output=True,
            text=True,
            check=True,
            env={"SHOW": _SHOW, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": "."},
        )
    assert seen.stdout == f"{items}\n"


_SHOW = """
import sys
from kdtui.exchange.jsonl import read_sessions
titles = [t.removeprefix("--title=") if t.startswith("--title=") else sys.argv[n + 1]
          for n, t in enumerate(sys.argv) if t.startswith("--title")]
if titles:
    print([[str(n), t, ()] for n, t in enumerate(titles, start=1)])
else:
    [(_, session, _)] = read_sessions(sys.stdin.buffer, "stdin")
    print([[i.id, i.title, i.categories] for i in session.items])
"""


# Opened from other places


@pytest.mark.parametrize("before", [[], ["2"], ["2", "down", "enter", "g"], ["2", "n"], ["2", "slash", "x"]])
async def test_other_places_can_open_a_session(demo_store: Path, settle: Settle, before: list[str]) -> None:
    app = KdtuiApp(demo_store, RunSettings("patterns"))
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press(*before)
        choice = StudentChoice.of(RunSettings("smollm2", ("pattern",)))
        app.open_session("demo-outdoor", "o30", choice)
        await settle(pilot)
        assert app.current_mode == "workbench"
        assert "Session o30" in session_title(app)
        assert "30 of 36" in session_title(app)
        assert app.screen.command == "kdtui generate o30 --dataset demo-outdoor --student smollm2 --knowledge pattern"  # type: ignore[attr-defined]
        await pilot.press("escape")
        await settle(pilot)
        # Closing it leads back to the other place; its place is the workbench all the same.
        assert app.current_mode == ("workbench" if before else "knowledge")
        app.action_show("workbench")
        await settle(pilot)
        assert table(app).cursor_row == 29


async def test_a_missing_session_gives_a_message(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        app.open_session("demo-outdoor", "[b]gone")
        await settle(pilot)
        assert any("there is no session '[b]gone'" in toast for toast in toasts(app))
        assert len(session_ids(app)) == 36
        app.open_session("nowhere", "s")
        await settle(pilot)
        assert any("there is no dataset 'nowhere'" in toast for toast in toasts(app))
        assert len(session_ids(app)) == 36
