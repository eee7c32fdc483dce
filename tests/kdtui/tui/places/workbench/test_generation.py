"""A session is bundled while the user watches, or is elsewhere."""

import os
import sqlite3
import sys
import threading
from pathlib import Path

import pytest
from textual.widgets import Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core import generation
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.generation import GenerationRequest, GenerationStopped, GenerationThread
from kdtui.tui.places.workbench.screen import WorkbenchScreen
from kdtui.tui.places.workbench.session_screen import SessionScreen
from kdtui.tui.student.bundle_panel import BundlePanel
from kdtui.tui.widgets.row_table import RowTable
from models.errors import ModelError, PromptTooLong
from store.records import Item, RunSettings, Session
from tests.support.acting import act, rest
from tests.support.screens import MakeStore, Settle, Until, column, content_of, toasts
from tests.support.session_place import (
    EMBEDDED,
    PATTERNS,
    Student,
    bundles,
    generation_threads,
    heading,
    opened,
    screen,
)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_the_student_has_a_lower_priority_than_the_app(demo_store: Path, student: Student) -> None:
    student.answers["fake"] = []
    answered = threading.Event()

    def post(message: object) -> bool:
        if isinstance(message, generation.AnswerEnded):
            answered.set()
        return True

    def begin() -> None:
        os.nice(7)
        thread = GenerationThread(demo_store)
        thread.ask(GenerationRequest("demo-outdoor", Session("s", ()), StudentChoice.of(RunSettings("fake")), post))
        answered.wait(60)
        thread.close()

    # A thread inherits the priority of the thread that starts it.
    app = threading.Thread(target=begin)
    app.start()
    app.join()
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert student.niceness == [own + 12]


async def test_the_pattern_student_generates(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store, PATTERNS)
    async with opened(app, settle) as pilot:
        assert content_of(app, "#asks") == "asks patterns"
        await act(pilot, "session.generate")
        await until(pilot, lambda: "done in" in heading(app))
        assert bundles(app)
        assert all("%" in line for line in bundles(app))
        assert any(column(app, 2))
    assert not generation_threads()


@pytest.mark.slow
async def test_bundles_appear_while_the_embedded_student_writes(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store, RunSettings("smollm2", ("pattern",)))
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: bool(bundles(app)))
        assert content_of(app, "#asks") == "asks smollm2 + pattern"
        await until(pilot, lambda: "done in" in heading(app))
        assert not any("…" in line for line in bundles(app))
    assert not generation_threads()


async def test_right_extra_and_missing_products_are_shown(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    student.answers["shipped"] = [(2, 4), (1, 3)]
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        assert not content_of(app, "#scores")
        await pilot.press("g")
        await until(pilot, lambda: "done in 1.2 s" in heading(app))
        assert bundles(app) == ["a | 2 4 | 50% | = A intent 0", "b | 1 3 | 50% | wrong intent 1"]
        assert [line.rpartition("| ")[2] for line in bundles(app, "#truth")] == [
            "= a tent and matching footprint",
            "missing weekend tent camping",
        ]
        assert content_of(app, "#scores") == "pair F1 0.33 (1 right, 1 extra, 3 missing) · strict P 0.50, R 0.50"
        student.answers["shipped"] = [(2, 3, 5)]
        await pilot.press("right_square_bracket", "left_square_bracket")
        await settle(pilot)
        assert not content_of(app, "#scores")
        app.choice = StudentChoice.of(PATTERNS)
        student.answers["patterns"] = [(2, 3, 5)]
        await pilot.press("1", "2")
        await settle(pilot)
        await pilot.press("g")
        await until(pilot, lambda: "done in" in heading(app))
        assert bundles(app) == ["a | 2 3 5 | 50% | ~ B +3 −6 intent 0"]
        assert [line.rpartition("| ")[2].split(" ")[:2] for line in bundles(app, "#truth")] == [
            ["missing", "tent"],
            ["~", "a"],
        ]


async def test_without_true_bundles_nothing_is_right_or_wrong(
    make_store: MakeStore, student: Student, settle: Settle, until: Until
) -> None:
    student.answers["shipped"] = [(1, 2)]
    app = KdtuiApp(make_store([Session("s", (Item("a", "Tent"), Item("b", "Pegs")))]))
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: "done in" in heading(app))
        assert bundles(app) == ["a | 1 2 | 50% | intent 0"]
        assert not content_of(app, "#scores")


async def test_an_answer_without_bundles_says_so(make_store: MakeStore, settle: Settle, until: Until) -> None:
    app = KdtuiApp(make_store([Session("lonely", (Item("a", "Tent"),))]), EMBEDDED)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: "done in" in heading(app))
        content = screen(app).query_one("#generated", BundlePanel).query_one(".bundles", Static).content
        assert "the student found none" in str(content)


async def test_without_patterns_a_message_says_how_to_mine_them(demo_store: Path, settle: Settle, until: Until) -> None:
    with sqlite3.connect(demo_store) as connection:
        connection.execute("DELETE FROM knowledge")
    connection.close()
    app = KdtuiApp(demo_store, RunSettings("smollm2", ("pattern",)))
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: "failed" in heading(app))
        assert any("kdtui knowledge mine --dataset demo-outdoor" in toast for toast in toasts(app))


@pytest.mark.parametrize(
    ("problem", "state"),
    [(ModelError("the model [b]broke"), "failed"), (PromptTooLong("the session is too long"), "no answer")],
)
async def test_an_error_gives_a_message(
    problem: Exception, state: str, demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    student.problem = problem
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: state in heading(app))
        assert any(str(problem) in toast for toast in toasts(app))


async def test_a_fault_of_the_program_gives_a_message(
    demo_store: Path, student: Student, settle: Settle, until: Until, faults: list[str]
) -> None:
    student.problem = ValueError("a fault")
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: "failed" in heading(app))
        assert any("a fault" in toast for toast in toasts(app))
    assert len(faults) == 1
    faults.clear()


async def test_escape_cancels_first_and_then_goes_back(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: bool(bundles(app)))
        assert "step" in bundles(app)[0]
        await act(pilot, "session.cancel")
        await until(pilot, lambda: "stopped" in heading(app))
        steps = student.steps
        await pilot.pause(0.05)
        assert student.steps == steps
        await act(pilot, "session.back")
        await settle(pilot)
        assert isinstance(app.screen, WorkbenchScreen)


async def test_the_student_stays_loaded_between_sessions(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        for _ in range(3):
            await settle(pilot)
            await pilot.press("g")
            await until(pilot, lambda: bool(bundles(app)))
            await pilot.press("right_square_bracket")
        await settle(pilot)
        assert (student.opened, student.closed) == (1, 0)
        await pilot.press("a", "p", "g")
        await until(pilot, lambda: bool(bundles(app)))
        assert (student.opened, student.closed) == (2, 1)
    assert student.closed == 2
    assert student.threads == {"generation"}
    assert not generation_threads()


async def test_the_student_is_loaded_again_when_the_store_has_changed(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: bool(bundles(app)))
        await pilot.press("escape")
        await until(pilot, lambda: "stopped" in heading(app))
        with sqlite3.connect(demo_store) as connection:
            connection.execute("DELETE FROM knowledge WHERE id = 1")
        connection.close()
        await pilot.press("g")
        await until(pilot, lambda: student.opened == 2)


@pytest.mark.usefixtures("student")
async def test_an_answer_to_an_earlier_request_is_ignored(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: bool(bundles(app)))
        await pilot.press("right_square_bracket")
        await settle(pilot)
        assert screen(app).command == "kdtui generate o02 --dataset demo-outdoor"
        assert not bundles(app)
        assert "g generates" in heading(app)
        assert not any(column(app, 2))
        late = GenerationRequest("demo-outdoor", Session("o01", ()), app.choice, screen(app).post_message)
        late.post(GenerationStopped(late, "too late"))
        await rest(pilot)
        assert not toasts(app)


async def test_generation_continues_in_another_place(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: bool(bundles(app)))
        await pilot.press("1")
        steps = student.steps
        await until(pilot, lambda: student.steps > steps + 3)
        await pilot.press("2")
        await rest(pilot)
        assert "writing" in heading(app)
    assert not generation_threads()


async def test_the_next_session_shows_nothing_of_the_last(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    student.answers = {"shipped": [(2, 4), (1, 3)]}
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await act(pilot, "session.compare")
        await settle(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "done" in heading(app))
        await pilot.press("down", "escape", "escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, WorkbenchScreen))
        # The other student still writes: its request is cancelled.
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen) and "o02" in content_of(app, "#title"))
        await settle(pilot)
        assert bundles(app) == []
        assert heading(app) == "Generated  g generates"
        assert not screen(app).query_one("#other").display
        assert content_of(app, "#asks") == "asks shipped"
        assert content_of(app, "#scores") == ""
        table = screen(app).query_one(RowTable)
        assert (table.cursor_row, app.focused) == (0, table)


@pytest.mark.usefixtures("student")
async def test_closing_a_session_from_another_place_stops_its_answer(
    demo_store: Path, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        left = screen(app)
        await pilot.press("g")
        await until(pilot, lambda: bool(bundles(app)))
        app.open_session("demo-outdoor", "gone")
        await until(pilot, lambda: any("gone" in toast for toast in toasts(app)))
        assert isinstance(app.screen, WorkbenchScreen)
        assert left.why_not("generate") is None
