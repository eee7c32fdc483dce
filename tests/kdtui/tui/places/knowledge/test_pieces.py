"""One piece of knowledge: where it comes from, what it scores, and what a user can do with it."""

import json
from pathlib import Path
from threading import Event

import pytest
from textual.widgets import Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.places.knowledge import store_queries
from kdtui.tui.places.knowledge.piece import PieceDialog
from kdtui.tui.places.knowledge.screen import KnowledgeScreen
from kdtui.tui.places.workbench.session_screen import SessionScreen
from kdtui.tui.widgets.steady import Pane
from kdtui.workflows.knowledge.about_piece import PieceDetails, about_piece
from store.database import open_database
from store.knowledge import NewKnowledge, add_knowledge, find_knowledge
from store.knowledge_imports import put_imported, record_import
from store.predictions import PredictedBundle, Prediction, add_prediction
from store.records import RunSettings
from store.runs import start_run
from store.samples import save_sample
from store.sqlite import Database
from tests.support.acting import act
from tests.support.knowledge_place import HOSTILE, pieces_table, search, statements
from tests.support.screens import Settle, Until, column, printed, toasts
from tests.support.waiting import PATIENCE


async def test_the_piece_under_the_cursor_is_shown_with_its_sources(full_store: Path, settle: Settle) -> None:
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
        assert dict(zip(statements(app), column(app, 3), strict=True)) == {
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
        await until(pilot, lambda: "pair F1" in printed(app, "#piece-in-full"))
        assert "run 1: someone on test, pair F1" in printed(app, "#piece-in-full")
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
        number = pieces_table(app).cursor_key
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, PieceDialog))
        await act(pilot, "piece.try_it")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen) and bool(app.screen.query("#other")))
        screen = app.screen
        await until(pilot, lambda: "smollm2 + pattern" in printed(app, "#asks"))
        assert printed(app, "#asks").splitlines()[0].split()[-1] == "smollm2"
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


async def test_the_call_of_the_piece_under_the_cursor_is_shown_before_its_details_are_loaded(
    full_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = Event()

    def load_late(number: int, db: Database) -> PieceDetails:
        loading.wait(PATIENCE)
        return about_piece(db, number)

    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        monkeypatch.setattr(store_queries, "load_details", load_late)
        await pilot.press("j")
        await act(pilot, "knowledge.call")
        await until(pilot, lambda: "no model was asked for this piece" in toasts(app))
        assert isinstance(app.screen, KnowledgeScreen)
        loading.set()
        await settle(pilot)
        loading.clear()
        await pilot.press("k")
        await act(pilot, "knowledge.call")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        assert "Tents go with mats." in str(app.screen.query(Static)[1].content)
        loading.set()


async def test_a_long_answer_with_control_characters_is_cut_and_shown_as_text(
    full_store: Path, settle: Settle, until: Until
) -> None:
    db = open_database(full_store)
    db.execute("UPDATE calls SET response = ?", ["\x1b[31mred\x1b[0m " + "word " * 10_000])
    assert db.conn is not None
    db.conn.commit()
    db.close()
    app = KdtuiApp(full_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "knowledge.call")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        content = str(app.screen.query(Static)[1].content)
        assert "red word" in content
        assert "\x1b" not in content
        assert content.endswith("kdtui knowledge calls 1")
        await act(pilot, "text.copy")
        assert "\x1b" not in app.clipboard
        assert app.clipboard.count("word") == 10_000


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
        assert pieces_table(app).row_at(0) is not None
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
