"""The place Knowledge: search, facets, pieces, marks and changes."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input, Static

from benchmarks.large_store import make_store
from kdtui.tui.app import KdtuiApp
from kdtui.tui.config import Config
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.hits_table import HitsTable
from kdtui.tui.memory import Memory
from kdtui.tui.places.knowledge import store_queries
from kdtui.tui.places.knowledge.facet_list import FacetList
from kdtui.tui.places.knowledge.messages import PieceSearch
from kdtui.tui.places.knowledge.piece import PieceDialog
from kdtui.tui.places.knowledge.screen import KnowledgeScreen
from kdtui.tui.places.workbench.session_screen import SessionScreen
from kdtui.tui.widgets.steady import Pane
from kdtui.workflows.knowledge.distill import distil_annotations
from store.calls import record_call
from store.database import open_database
from store.hits import Hits
from store.knowledge import NewKnowledge, add_knowledge, find_knowledge
from store.knowledge_imports import put_imported, record_import
from store.predictions import PredictedBundle, Prediction, add_prediction
from store.records import STATUSES, RunSettings
from store.runs import start_run
from store.samples import pieces_of, save_sample
from store.sqlite import Database
from tests.support.acting import act, rest
from tests.support.screens import Settle, Until, command

HOSTILE = "[red]x[/red] [/] \x1b[31m\u202eturned\u202c two\nlines e\u0301\u0301\u0301 漢字 👩‍👩‍👧 " + "y" * 10_000


@pytest.fixture
def full_store(demo_store: Path) -> Path:
    """A store with the demo, its patterns, rules and thoughts, some rejected, and one written by a model."""
    db = open_database(demo_store)
    list(distil_annotations(db, "demo-outdoor", ["rule", "thought"]))
    call = record_call(
        db,
        key="k",
        teacher="large model",
        step="rules",
        request=json.dumps({"messages": [["user", "What do you see [b]here[/b]?"]]}),
        response="Tents go with mats.",
        seconds=1.0,
        attempts=1,
    )
    pattern = find_knowledge(db, format="pattern")[0]
    sessions = db.execute("SELECT session FROM sessions WHERE split = 'train' ORDER BY id LIMIT 2").fetchall()
    add_knowledge(
        db,
        "demo-outdoor",
        "rule",
        "large model",
        [
            NewKnowledge(
                "Zebra tents go with mats",
                json.dumps({"text": "Zebra tents go with mats", "together": True, "categories": [["A"], ["B"]]}),
                0.99,
                precision=0.5,
                call=call,
                sessions=tuple(session for (session,) in sessions),
                parents=(pattern.id,),
            )
        ],
    )
    db.close()
    return demo_store


def table(app: KdtuiApp) -> HitsTable:
    return app.screen.query_one("#knowledge", HitsTable)


def cells(app: KdtuiApp, column: int) -> list[str]:
    rows = [table(app).row_at(number) for number in range(table(app).row_count)]
    return [str(row.cells[column]) for row in rows if row is not None]


def statements(app: KdtuiApp) -> list[str]:
    return cells(app, 2)


def text(app: KdtuiApp, selector: str) -> str:
    content = app.screen.query_one(selector, Static).content
    console = Console(width=300, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(content)
    return console.export_text()


def state(app: KdtuiApp) -> str:
    return text(app, "#state").strip()


def typed(words: str) -> list[str]:
    return ["space" if each == " " else each for each in words]


async def search(pilot: Pilot[None], words: str, settle: Settle) -> None:
    await act(pilot, "knowledge.search")
    await pilot.press(*typed(words))
    await act(pilot, "search.leave_search")
    await settle(pilot)


# The list


async def test_all_knowledge_is_listed_with_its_measures(full_store: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        assert table(app).row_count > 50
        row = table(app).row_at(0)
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
        assert set(cells(app, 7)) == {"kept", "rejected"}
        assert state(app) == f"{table(app).row_count:,} pieces · by support"
        assert command(app) == "kdtui knowledge ls --all"


async def test_the_search_follows_the_typing(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await search(pilot, "sleep bag", settle)
        assert statements(app)
        assert all("Sleeping Bags" in statement for statement in statements(app))
        assert app.focused is table(app)
        assert "best match first" in state(app)
        assert command(app) == "kdtui knowledge search --all 'sleep bag'"
        await act(pilot, "knowledge.clear_search")
        await settle(pilot)
        assert table(app).row_count == 39
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
        assert "No knowledge matches “[zz”." in text(app, "#notice")
        await act(pilot, "knowledge.clear_search")
        await settle(pilot)
        assert not app.screen.query_one("#notice").display
        assert table(app).row_count == 39
        await act(pilot, "knowledge.search")
        await pilot.press(*"qqq", "enter")
        await settle(pilot)
        await act(pilot, "knowledge.search")
        await act(pilot, "search.leave_search")
        await settle(pilot)
        assert table(app).row_count == 39
        assert app.focused is table(app)


async def test_the_order_is_chosen_by_key_and_by_title(full_store: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        await act(pilot, "knowledge.sort")
        await settle(pilot)
        assert "by precision" in state(app)
        values = [float(value) for value in cells(app, 6) if value != "–"]
        assert values == sorted(values, reverse=True)
        assert command(app) == "kdtui knowledge ls --all --sort precision"
        await act(pilot, "knowledge.reverse")
        await settle(pilot)
        values = [float(value) for value in cells(app, 6) if value != "–"]
        assert values == sorted(values)
        assert "by precision, reversed" in state(app)
        for _ in range(2):
            table(app).post_message(HitsTable.SortWanted(table(app), "newest"))
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
        assert table(app).row_count == 39


async def test_a_list_longer_than_the_screen_can_be_scrolled(empty_store: Path, settle: Settle) -> None:
    make_store(empty_store, 3_000, 100)
    app = KdtuiApp(empty_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert state(app) == "3,000 pieces · by support"
        await act(pilot, "table.bottom")
        await settle(pilot)
        assert table(app).cursor_row == 2_999
        last = table(app).cursor_key
        await act(pilot, "knowledge.reverse")
        await settle(pilot)
        # Pieces without a support are last in both directions, in reverse order.
        assert table(app).cursor_row == 0
        await act(pilot, "knowledge.reverse")
        await settle(pilot)
        table(app).move_to(1_500)
        await settle(pilot)
        assert table(app).cursor_key is not None
        ids = list(table(app).ids)
        assert len(set(ids)) == 3_000
        assert str(ids[1_500]) == table(app).cursor_key
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
        assert counted["demo-outdoor"] == table(app).row_count == counted["kept"] + counted["rejected"]
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
        assert set(cells(app, 0)) == {value.removeprefix("format:")}
        chosen = [str(facets.get_option_at_index(number).prompt) for number in range(facets.option_count)]
        assert next(line for line in chosen if line.startswith("✓")).split()[1] == value.removeprefix("format:")
        await pilot.press("enter")
        await settle(pilot)
        assert app.screen.query_one("#search", Input).value == ""
        await act(pilot, "facets.leave")
        await until(pilot, lambda: app.focused is table(app))


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
        assert app.focused is table(app)


# One piece


async def test_the_piece_under_the_cursor_is_shown_with_its_origin(full_store: Path, settle: Settle) -> None:
    db = open_database(full_store)
    number = next(piece.id for piece in find_knowledge(db) if piece.statement.startswith("Zebra"))
    save_sample(db, "few", [], [number], replace=False)
    start_run(db, "demo-outdoor", "test", "someone", RunSettings("x", ("rule",), sample="few"))
    db.close()
    app = KdtuiApp(full_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        shown = app.screen.query_one(Pane).text
        for part in (
            "Zebra tents go with mats",
            "kept · support 0.990 · precision 0.500",
            "Put together",
            "teacher large model",
            "call 1",
            "session ",
            "pattern 1: Outdoor > Camping",
            "samples few",
            "run 1",
        ):
            assert part in shown
        await pilot.press("j")
        await settle(pilot)
        assert statements(app)[1] in " ".join(app.screen.query_one(Pane).text.split())


async def test_zero_small_and_missing_measures_look_different(full_store: Path, settle: Settle) -> None:
    db = open_database(full_store)
    rules = [NewKnowledge(f"Xylo {support}", "{}", support) for support in (0.0, 0.0002, None)]
    add_knowledge(db, "demo-outdoor", "rule", "large model", rules)
    db.close()
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await search(pilot, "xylo", settle)
        assert dict(zip(statements(app), cells(app, 3), strict=True)) == {
            "Xylo 0.0": "0",
            "Xylo 0.0002": "0.0002",
            "Xylo None": "–",
        }
        await search(pilot, ' "xylo 0.0"', settle)
        assert "kept · support 0, as no other session has such products" in app.screen.query_one(Pane).text


async def test_a_piece_is_opened_with_the_scores_of_its_runs(full_store: Path, settle: Settle, until: Until) -> None:
    db = open_database(full_store)
    run = start_run(db, "demo-outdoor", "test", "someone", RunSettings("x", ("rule",)))
    session = db.execute("SELECT session FROM sessions WHERE split = 'test'").fetchone()[0]
    add_prediction(db, run, Prediction(session, (PredictedBundle((), (1, 2), "", 1.0),), None, 0.1))
    db.close()
    app = KdtuiApp(full_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, PieceDialog))
        await until(pilot, lambda: "pair F1" in text(app, "#piece-in-full"))
        assert "run 1: someone on test, pair F1" in text(app, "#piece-in-full")
        await act(pilot, "text.copy")
        assert app.clipboard == "Zebra tents go with mats"
        await act(pilot, "text.close")
        assert isinstance(app.screen, KnowledgeScreen)


async def test_the_session_of_a_piece_is_opened(full_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, PieceDialog))
        await act(pilot, "piece.open_session")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen))
        assert app.current_mode == "workbench"
        # Closing the session leads back to the piece; a session opened by hand leads back to its list.
        await act(pilot, "session.back")
        await until(pilot, lambda: isinstance(app.screen, KnowledgeScreen))
        await act(pilot, "app.workbench")
        await settle(pilot)
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen))
        await act(pilot, "session.back")
        await until(pilot, lambda: not isinstance(app.screen, SessionScreen))
        assert app.current_mode == "workbench"


async def test_a_piece_is_tried_by_comparing_a_student_without_it_and_with_only_it(
    full_store: Path, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await search(pilot, "format:pattern", settle)
        number = table(app).cursor_key
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, PieceDialog))
        await act(pilot, "piece.try_it")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen) and bool(app.screen.query("#other")))
        screen = app.screen
        await until(pilot, lambda: "smollm2 + pattern" in text(app, "#asks"))
        assert text(app, "#asks").splitlines()[0].split()[-1] == "smollm2"
        assert isinstance(screen, SessionScreen)
        assert screen._sides[1].choice.settings.sample == f"only-{number}"
        # Both students are asked at once; other tests check the answers.
        assert all(side.request is not None or side.is_done for side in screen._sides)


async def test_the_prompt_and_the_answer_of_a_teacher_are_shown(full_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "knowledge.call")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        content = str(app.screen.query(Static)[1].content)
        assert "What do you see [b]here[/b]?" in content
        assert "Tents go with mats." in content
        await act(pilot, "text.close")
        await pilot.press("j")
        await settle(pilot)
        await act(pilot, "knowledge.call")
        assert isinstance(app.screen, KnowledgeScreen)
        assert app.screen.why_not("call") == "no model was asked for this piece"


# Many pieces


async def test_marked_pieces_become_a_sample(full_store: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        keys = [str(number) for number in list(table(app).ids)[:3]]
        await act(pilot, "knowledge.mark")
        await act(pilot, "knowledge.mark")
        await act(pilot, "knowledge.mark")
        await pilot.press("k")
        await act(pilot, "knowledge.mark")
        assert table(app).cursor_row == 3
        assert state(app).endswith("· 2 marked")
        await act(pilot, "knowledge.sample")
        assert isinstance(app.screen, FormDialog)
        await pilot.press(*"few")
        shown = str(app.screen.query_one("#dialog-command", Static).content)
        numbers = sorted(map(int, keys[:2]))
        assert shown == f"$ kdtui sample create few --pieces {','.join(map(str, numbers))}"
        await act(pilot, "form.done")
        await settle(pilot)
    db = open_database(full_store)
    assert pieces_of(db, "few") == numbers
    db.close()


@pytest.mark.parametrize(("query", "flags"), [("format:rule", ""), ("format:rule status:rejected", "--all ")])
async def test_a_sample_has_rejected_pieces_only_on_demand(
    full_store: Path, settle: Settle, query: str, flags: str
) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await search(pilot, query, settle)
        await act(pilot, "knowledge.mark_all")
        await settle(pilot)
        await act(pilot, "knowledge.sample")
        await pilot.press(*"r")
        shown = str(app.screen.query_one("#dialog-command", Static).content)
        assert shown.startswith(f"$ kdtui sample create {flags}r --query ")
        await act(pilot, "form.done")
        await settle(pilot)
        messages = " ".join(note.message for note in app._notifications)
        assert ("rejected pieces are left out" in messages) == (not flags)
    db = open_database(full_store)
    statuses = {piece.status for status in STATUSES for piece in find_knowledge(db, sample="r", status=status)}
    assert statuses == ({"rejected"} if flags else {"kept"})
    db.close()


async def test_all_matches_are_marked_and_named_by_the_query(full_store: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await search(pilot, "format:pattern", settle)
        await act(pilot, "knowledge.mark_all")
        await settle(pilot)
        assert state(app).endswith("· 39 marked")
        await act(pilot, "knowledge.sample")
        await pilot.press(*"p")
        assert (
            str(app.screen.query_one("#dialog-command", Static).content)
            == "$ kdtui sample create p --query format:pattern"
        )
        await act(pilot, "form.close")
        await act(pilot, "knowledge.mark_all")
        await settle(pilot)
        assert "marked" not in state(app)


async def test_matches_that_are_not_loaded_yet_are_marked_too(empty_store: Path, settle: Settle) -> None:
    make_store(empty_store, 1_000, 50)
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert not table(app).is_whole
        await act(pilot, "knowledge.mark_all")
        await settle(pilot)
        assert state(app).endswith("· 1,000 marked")


async def test_a_taken_name_gives_a_message(full_store: Path, settle: Settle) -> None:
    db = open_database(full_store)
    save_sample(db, "few", [], [], replace=False)
    db.close()
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "knowledge.sample")
        await pilot.press(*"few")
        await act(pilot, "form.done")
        await settle(pilot)
        assert any("'few' exists already" in each.message for each in app._notifications)
        assert app.screen.check_action("sample", ())


async def test_marked_pieces_are_exported(full_store: Path, tmp_path: Path, settle: Settle) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "knowledge.mark")
        await act(pilot, "knowledge.export")
        assert isinstance(app.screen, FormDialog)
        app.screen.query_one("#field-folder", Input).value = str(tmp_path / "out")
        await rest(pilot)
        shown = str(app.screen.query_one("#dialog-command", Static).content)
        assert shown.startswith(f"$ kdtui knowledge export --output {tmp_path / 'out'} --pieces ")
        await act(pilot, "form.done")
        await settle(pilot)
    [line] = (tmp_path / "out" / "knowledge.jsonl").read_text().splitlines()
    assert json.loads(line)["statement"] == "Zebra tents go with mats"


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
        first = table(app).ids[0]
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


async def test_deleted_pieces_can_be_restored(full_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert isinstance(app.screen, KnowledgeScreen)
        assert app.screen.why_not("undo") == "nothing was deleted since the program started"
        before = list(table(app).ids)
        await act(pilot, "knowledge.delete")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        asked = " ".join(str(each.content) for each in app.screen.query(Static))
        assert "Delete 1 piece of knowledge?" in asked
        assert "2 links to training sessions go too. u restores them" in asked
        await act(pilot, "confirm.no")
        await settle(pilot)
        assert list(table(app).ids) == before
        await act(pilot, "knowledge.delete")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await act(pilot, "confirm.yes")
        await settle(pilot)
        assert list(table(app).ids) == before[1:]
        await act(pilot, "knowledge.undo")
        await settle(pilot)
        assert list(table(app).ids) == before
        assert app.screen.why_not("undo") is not None
    db = open_database(full_store)
    assert db.execute("SELECT count(*) FROM knowledge_sessions WHERE knowledge_id = ?", [before[0]]).fetchone() == (2,)
    db.close()


# What can go wrong


async def test_untrusted_text_is_shown_as_plain_text(demo_store: Path, settle: Settle, until: Until) -> None:
    db = open_database(demo_store)
    content = json.dumps({"products": [HOSTILE], "steps": [{"positions": [1, 2], "intent": HOSTILE, "why": HOSTILE}]})
    pieces = [NewKnowledge(HOSTILE, content, 1.0, rejected=HOSTILE)]
    [number] = add_knowledge(db, "demo-outdoor", "thought", HOSTILE, pieces)
    add_knowledge(db, "demo-outdoor", "rule", "[b]", [NewKnowledge("[/]", "[not what a rule is]", 0.99)])
    save_sample(db, HOSTILE, [], [number], replace=False)
    db.close()
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        assert table(app).row_at(0) is not None
        screen = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        assert "[red]x[/red] [/]" in screen
        assert "\x1b" not in screen
        assert "\u202e" not in screen
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, PieceDialog))
        await pilot.press("escape", "j")
        await settle(pilot)
        assert "[not what a rule is]" in app.screen.query_one(Pane).text
        await act(pilot, "knowledge.facets")
        for _ in range(12):
            await pilot.press("j")
        await pilot.press("enter")
        await settle(pilot)
        screen = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        assert "· [b]" in screen
        assert not {"\x1b", "\u202e"} & set(screen)
        await pilot.resize_terminal(80, 24)
        await settle(pilot)


async def test_an_imported_piece_names_its_source(demo_store: Path, settle: Settle) -> None:
    db = open_database(demo_store)
    with db.atomic():
        number = record_import(db, "demo-outdoor", "[b]far\x1b[31m away", "/exports/far")
        piece = NewKnowledge("Zebras first", json.dumps({"text": "Zebras first"}), 0.99)
        put_imported(db, "demo-outdoor", "rule", "someone", piece, number)
    db.close()
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        await search(pilot, "zebras", settle)
        details = app.screen.query_one(Pane).text
        assert "imported from dataset [b]far away (/exports/far) at 20" in details
        assert "not found in this store: its measures are the imported ones" in details


async def test_a_piece_without_sessions_says_so(demo_store: Path, settle: Settle, until: Until) -> None:
    db = open_database(demo_store)
    add_knowledge(db, "demo-outdoor", "rule", "someone", [NewKnowledge("Tents first", "{}", 0.99)])
    db.close()
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, PieceDialog))
        await act(pilot, "piece.open_session")
        assert isinstance(app.screen, PieceDialog)
        assert [*app._notifications][-1].message == "the piece names no session that it comes from"


async def test_an_empty_store_says_what_to_do_first(empty_store: Path, settle: Settle) -> None:
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "kdtui demo" in text(app, "#notice")
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
        assert "kdtui knowledge mine --dataset demo-outdoor" in text(app, "#notice")


async def test_a_file_that_is_not_a_store_gives_a_message(empty_store: Path, settle: Settle) -> None:
    empty_store.write_text("dear diary")
    app = KdtuiApp(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "not an SQLite database" in text(app, "#notice")


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
        assert table(app).cursor_row == 2


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
