"""The place Knowledge: search, facets, pieces, marks and changes."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from textual.events import Key
from textual.widgets import Input, Static

from benchmarks.large_store import make_store
from kdtui.tui.app import KdtuiApp
from kdtui.tui.config import Config
from kdtui.tui.core.dialogs import ConfirmDialog
from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.memory import Memory
from kdtui.tui.places.knowledge import store_queries
from kdtui.tui.places.knowledge.facet_list import FacetList
from kdtui.tui.places.knowledge.messages import PieceSearch
from kdtui.tui.places.knowledge.screen import KnowledgeScreen
from store.database import open_database
from store.hits import Hits
from store.knowledge import NewKnowledge, add_knowledge
from store.sqlite import Database
from tests.support.acting import act, rest
from tests.support.knowledge_place import pieces_table, search, state, statements
from tests.support.screens import Settle, Until, column, command, notice

# The list


async def test_all_knowledge_is_listed_with_its_measures(full_store: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        assert pieces_table(app).row_count > 50
        row = pieces_table(app).row_at(0)
        assert row is not None
        assert row.cells[:9] == (
            "rule",
            "demo-outdoor",
            "Zebra tents go with mats",
            "0.990",
            "–",
            "–",
            "0.500",
            "kept",
            "large model",
        )
        assert set(column(app, 7)) == {"kept", "rejected"}
        assert state(app) == f"{pieces_table(app).row_count:,} pieces · by support"
        assert command(app) == "kdtui knowledge ls --all"


async def test_the_search_follows_the_typing(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await search(pilot, "sleep bag", settle)
        assert statements(app)
        assert all("Sleeping Bags" in statement for statement in statements(app))
        assert app.focused is pieces_table(app)
        assert "best match first" in state(app)
        assert command(app) == "kdtui knowledge search --all 'sleep bag'"
        await act(pilot, "knowledge.clear_search")
        await settle(pilot)
        assert pieces_table(app).row_count == 39
        assert command(app) == "kdtui knowledge ls --all"


async def test_filters_can_stand_between_words(full_store: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await search(pilot, 'teacher:"large model" support:>0.9', settle)
        assert statements(app) == ["Zebra tents go with mats"]
        assert state(app).startswith("1 piece ·")
        assert command(app) == "kdtui knowledge search --all 'teacher:\"large model\" support:>0.9'"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("colour:red", "there is no filter colour:"),
        ("support:x", "support: needs a number"),
        ("dataset:nowhere", "there is no dataset 'nowhere'"),
    ],
)
async def test_a_wrong_query_gives_a_message_and_keeps_the_last_result(
    full_store: Path, settle: Settle, words: str, problem: str
) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        before = statements(app)
        app.screen.query_one("#search", Input).value = words
        await settle(pilot)
        assert problem in state(app)
        assert statements(app) == before
        app.screen.query_one("#search", Input).value = "zebra"
        await settle(pilot)
        assert problem not in state(app)
        assert len(statements(app)) == 1


async def test_a_search_without_matches_says_so(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        app.screen.query_one("#search", Input).value = "[zz"
        await settle(pilot)
        assert app.screen.query_one("#notice").display
        assert "No knowledge matches “[zz”." in notice(app)
        await act(pilot, "knowledge.clear_search")
        await settle(pilot)
        assert not app.screen.query_one("#notice").display
        assert pieces_table(app).row_count == 39
        await act(pilot, "knowledge.search")
        await pilot.press(*"qqq", "enter")
        await settle(pilot)
        await act(pilot, "knowledge.search")
        await act(pilot, "search.leave_search")
        await settle(pilot)
        assert pieces_table(app).row_count == 39
        assert app.focused is pieces_table(app)


async def test_the_order_is_chosen_by_key_and_by_title(full_store: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        await act(pilot, "knowledge.sort")
        await settle(pilot)
        assert "by precision" in state(app)
        values = [float(value) for value in column(app, 6) if value != "–"]
        assert values == sorted(values, reverse=True)
        assert command(app) == "kdtui knowledge ls --all --sort precision"
        await act(pilot, "knowledge.reverse")
        await settle(pilot)
        values = [float(value) for value in column(app, 6) if value != "–"]
        assert values == sorted(values)
        assert "by precision, reversed" in state(app)
        for _ in range(2):
            pieces_table(app).post_message(HitsTable.SortWanted(pieces_table(app), "newest"))
            await settle(pilot)
        assert "newest first, reversed" in state(app)


async def test_search_and_order_are_remembered(full_store: Path, tmp_path: Path, settle: Settle) -> None:
    memory = tmp_path / "memory.json"
    app = KdtuiApp(full_store, memory=Memory(memory, full_store))
    async with app.run_test() as pilot:
        await settle(pilot)
        await search(pilot, "format:rule", settle)
        await act(pilot, "knowledge.sort")
        await settle(pilot)
        before = statements(app)
    app = KdtuiApp(full_store, memory=Memory(memory, full_store))
    async with app.run_test() as pilot:
        await settle(pilot)
        assert app.screen.query_one("#search", Input).value == "format:rule"
        assert "by precision" in state(app)
        assert statements(app) == before


async def test_a_memory_that_was_edited_does_no_harm(demo_store: Path, tmp_path: Path, settle: Settle) -> None:
    memory = Memory(tmp_path / "memory.json", demo_store)
    memory.of("knowledge").update(search=5, sort=["x"], reverse="yes")
    app = KdtuiApp(demo_store, memory=memory)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert pieces_table(app).row_count == 39


async def test_a_list_longer_than_the_screen_can_be_scrolled(empty_store: Path, settle: Settle) -> None:
    make_store(empty_store, 3_000, 100)
    app = KdtuiApp(empty_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert state(app) == "3,000 pieces · by support"
        await act(pilot, "table.bottom")
        await settle(pilot)
        assert pieces_table(app).cursor_row == 2_999
        last = pieces_table(app).cursor_key
        await act(pilot, "knowledge.reverse")
        await settle(pilot)
        # Pieces without a support are last in both directions, in reverse order.
        assert pieces_table(app).cursor_row == 0
        await act(pilot, "knowledge.reverse")
        await settle(pilot)
        pieces_table(app).move_to(1_500)
        await settle(pilot)
        assert pieces_table(app).cursor_key is not None
        ids = list(pieces_table(app).ids)
        assert len(set(ids)) == 3_000
        assert str(ids[1_500]) == pieces_table(app).cursor_key
        assert str(ids[-1]) == last


# Facets


async def test_facets_count_the_matches_and_filter_them(full_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        facets = app.screen.query_one(FacetList)
        assert facets.display
        await act(pilot, "knowledge.facets")
        assert app.focused is facets
        lines = [str(facets.get_option_at_index(number).prompt) for number in range(facets.option_count)]
        assert [line for line in lines if line.split()[0] != "·"] == ["format", "dataset", "status", "teacher"]
        counted = {line.split()[1]: int(line.split()[-1].replace(",", "")) for line in lines if line.startswith("·")}
        assert counted["rule"] + counted["pattern"] + counted["thought"] == counted["demo-outdoor"]
        assert counted["demo-outdoor"] == pieces_table(app).row_count == counted["kept"] + counted["rejected"]
        await act(pilot, "facets.down")
        first = facets.highlighted
        await act(pilot, "facets.down")
        assert facets.highlighted == (first or 0) + 1
        await act(pilot, "facets.up")
        assert facets.highlighted == first
        await pilot.press("enter")
        await settle(pilot)
        value = app.screen.query_one("#search", Input).value
        assert value.startswith("format:")
        assert set(column(app, 0)) == {value.removeprefix("format:")}
        chosen = [str(facets.get_option_at_index(number).prompt) for number in range(facets.option_count)]
        assert next(line for line in chosen if line.startswith("✓")).split()[1] == value.removeprefix("format:")
        await pilot.press("enter")
        await settle(pilot)
        assert app.screen.query_one("#search", Input).value == ""
        await act(pilot, "facets.leave")
        await until(pilot, lambda: app.focused is pieces_table(app))


async def test_a_narrow_screen_shows_facets_on_demand(full_store: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        facets = app.screen.query_one(FacetList)
        assert not facets.display
        await act(pilot, "knowledge.facets")
        await rest(pilot)
        assert facets.display
        assert app.focused is facets
        await pilot.resize_terminal(200, 60)
        await pilot.resize_terminal(80, 24)
        await act(pilot, "facets.leave")
        await settle(pilot)
        assert not facets.display
        assert app.focused is pieces_table(app)


# One piece


# Many pieces


async def test_a_wrong_filter_gives_a_message_even_after_a_search_for_its_first_word(
    full_store: Path, settle: Settle
) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        notice = app.screen.query_one("#notice", Static)
        await pilot.press("slash", *"support")
        await settle(pilot)
        assert str(notice.content).startswith("No knowledge matches “support”.")
        await pilot.press(*":abc")
        await settle(pilot)
        assert str(notice.content) == f"{state(app)}\n\nesc shows all knowledge again."
        assert "support: needs a number" in state(app)


async def test_keys_typed_right_after_a_search_act_on_its_results(
    full_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_find = store_queries.find_pieces

    def find_slowly(question: PieceSearch, db: Database) -> Iterator[Hits]:
        time.sleep(0.2)
        yield from real_find(question, db)

    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        first = pieces_table(app).ids[0]
        monkeypatch.setattr(store_queries, "find_pieces", find_slowly)
        for key in ("slash", *"stove", "enter", "d"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await settle(pilot)
        asked = " ".join(str(each.content) for each in app.screen.query(Static))
        below = app.screen_stack[-2]
        assert isinstance(below, KnowledgeScreen)
        results = below.query_one("#knowledge", HitsTable)
        assert results.ids[0] != first
        assert f"kdtui knowledge rm {results.ids[0]}" in asked
        assert results.row_at(0) is not None
        assert str(results.row_at(0).cells[2]) in asked  # type: ignore[union-attr]
        # It is no fault either if nothing matches and the list disappears.
        await act(pilot, "confirm.no")
        await settle(pilot)
        for key in ("slash", *"nothing", "enter", "j"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await settle(pilot)
        assert str(below.query_one("#notice", Static).content).startswith("No knowledge matches")


# What can go wrong


async def test_an_empty_store_says_what_to_do_first(empty_store: Path, settle: Settle) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "kdtui demo" in notice(app)
        for action in ("mark", "mark_all", "sample", "export", "delete", "undo", "sort", "reverse", "facets", "call"):
            await act(pilot, f"knowledge.{action}")
            assert isinstance(app.screen, KnowledgeScreen)
            assert app.screen.why_not(action)


async def test_a_dataset_without_knowledge_says_how_to_mine_it(demo_store: Path, settle: Settle) -> None:
    with sqlite3.connect(demo_store) as connection:
        connection.execute("DELETE FROM knowledge")
    connection.close()
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "kdtui knowledge mine --dataset demo-outdoor" in notice(app)


async def test_a_file_that_is_not_a_store_gives_a_message(empty_store: Path, settle: Settle) -> None:
    empty_store.write_text("dear diary")
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "not an SQLite database" in notice(app)


async def test_reloading_shows_what_another_program_writes(full_store: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("j", "j")
        db = open_database(full_store)
        add_knowledge(db, "demo-outdoor", "rule", "t", [NewKnowledge("Quokkas first", "{}", 1.0)])
        db.close()
        await act(pilot, "screen.reload")
        await settle(pilot)
        assert statements(app)[0] == "Quokkas first"
        assert pieces_table(app).cursor_row == 2


async def test_the_list_is_searched_again_when_the_user_returns_only_if_the_store_has_changed(
    full_store: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[PieceSearch] = []
    real_find = store_queries.find_pieces

    def find(search: PieceSearch, db: Database) -> Iterator[Hits]:
        searches.append(search)
        return real_find(search, db)

    app = KdtuiApp(full_store)
    with closing(open_database(full_store)) as db:
        async with app.run_test() as pilot:
            await settle(pilot)
            monkeypatch.setattr(store_queries, "find_pieces", find)
            await act(pilot, "app.samples")
            await settle(pilot)
            await act(pilot, "app.knowledge")
            await settle(pilot)
            assert not searches
            await act(pilot, "app.samples")
            add_knowledge(db, "demo-outdoor", "rule", "t", [NewKnowledge("Quokkas first", "{}", 1.0)])
            await act(pilot, "app.knowledge")
            await settle(pilot)
            assert statements(app)[0] == "Quokkas first"


async def test_configured_keys_work(full_store: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store, config=Config(keymap={"knowledge.mark": "x"}))
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("x")
        assert state(app).endswith("· 1 marked")


async def test_the_list_has_the_focus_whenever_it_appears(full_store: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, KnowledgeScreen)
        browse, table = screen.query_one("#browse"), screen.query_one("#knowledge")
        assert app.focused is table
        for steps in range(6):
            screen.show_content(browse, unless="nothing", focus=table)
            # Textual hides the list and moves the focus in separate steps.
            for _ in range(steps):
                await asyncio.sleep(0.005)
            assert app.focused is None
            screen.show_content(browse, unless="", focus=table)
            await rest(pilot)
            assert app.focused is table
