"""Calls of teachers: listed, searched, totalled, and shown as they were."""

from pathlib import Path

import pytest
from textual.widgets import Input

from kdtui.tui.core.dialogs import TextDialog
from store.database import open_database
from store.errors import StoreError
from store.knowledge import NewKnowledge, add_knowledge
from tests.support.acting import act, rest
from tests.support.distill_place import DATASET, HOSTILE, app_with, dialog, screen, write_calls
from tests.support.screens import Settle, Until, column, notice, table, toasts


async def test_a_call_is_shown_in_full_and_can_be_copied(demo_store: Path, settle: Settle) -> None:
    write_calls(demo_store)
    db = open_database(demo_store)
    add_knowledge(db, DATASET, "rule", "t", [NewKnowledge("Put tents with lamps", "{}", call=2, rejected="too rare")])
    db.close()
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "table.down")
        await act(pilot, "table.select")
        await settle(pilot)
        assert isinstance(app.screen, TextDialog)
        shown = dialog(app)
        assert "call 2: thought, answered" in shown
        assert "[user]\nabout camping\nnumber 2." in shown
        assert '{\n  "left_out": "camping 2"\n}' in shown
        assert "Put tents with lamps (rejected: too rare)" in shown
        await act(pilot, "text.copy")
        assert "number 2." in app.clipboard


async def test_a_failed_call_says_why(demo_store: Path, settle: Settle) -> None:
    write_calls(demo_store)
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert "[error]\ncamping is too much" in dialog(app)


async def test_calls_are_searched_by_their_text(demo_store: Path, settle: Settle) -> None:
    write_calls(demo_store, 6)
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "distill.search")
        await pilot.press(*"number 4.")
        await settle(pilot)
        assert column(app, 0) == ["4"]
        await pilot.press(*"zzz")
        await settle(pilot)
        assert "No call matches" in notice(app)
        screen(app).query_one("#search", Input).value = "TOO MUCH"
        await settle(pilot)
        await act(pilot, "search.leave_search")
        assert app.focused is table(app)
        assert column(app, 0) == ["6", "3"]
    assert app.memory.of("distill")["search"] == "TOO MUCH"


async def test_a_search_that_fails_says_so_and_keeps_the_list(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreError("the disk reports an error")

    write_calls(demo_store, 3)
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        monkeypatch.setattr("store.calls.call_hits", fail)
        await act(pilot, "distill.search")
        await pilot.press("x")
        await until(pilot, lambda: "the disk reports an error" in toasts(app))
        assert column(app, 0) == ["3", "2", "1"]


async def test_calls_are_totalled_by_teacher(demo_store: Path, settle: Settle) -> None:
    write_calls(demo_store, 4, "[b]one[/b]")
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "distill.totals")
        await rest(pilot)
        assert "teacher [b]one[/b]" in dialog(app)
        assert "900+120" in dialog(app)
        assert "1.5000" in dialog(app)


async def test_reloading_shows_calls_of_other_programs(demo_store: Path, settle: Settle) -> None:
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        write_calls(demo_store)
        await act(pilot, "screen.reload")
        await settle(pilot)
        assert column(app, 0) == ["3", "2", "1"]


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_hostile_text_is_shown_as_text(demo_store: Path, settle: Settle, size: tuple[int, int]) -> None:
    write_calls(demo_store, 3, HOSTILE + "x" * 10_000)
    app = app_with(demo_store)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert all("\x1b" not in strip.text for strip in (table(app).render_line(y) for y in range(4)))
        await pilot.press("down", "enter")
        await settle(pilot)
        shown = dialog(app)
        assert "[red]x[/]" in shown
        assert "\x1b" not in shown
        assert "\u202e" not in shown


async def test_a_very_long_call_is_shown_in_part_and_copied_whole(demo_store: Path, settle: Settle) -> None:
    write_calls(demo_store, 1, "word " * 30_000)
    app = app_with(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "table.select")
        await settle(pilot)
        assert "characters more" in dialog(app)
        await act(pilot, "text.copy")
        assert len(app.clipboard) > 300_000


async def test_a_wide_screen_shows_totals_next_to_the_calls(demo_store: Path, settle: Settle) -> None:
    write_calls(demo_store)
    app = app_with(demo_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        totals, side = screen(app).query_one("#totals"), screen(app).query_one("#side")
        assert totals.display
        assert side.region.x > table(app).region.x
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert not totals.display
        assert side.region.y < table(app).region.y
        assert table(app).region.height > 10
