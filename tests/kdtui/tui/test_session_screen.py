"""One session, and generating bundles for it."""

import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from rich.table import Table
from textual.pilot import Pilot
from textual.widgets import Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.generation import Request, Stopped
from kdtui.tui.screens.session import SessionScreen
from kdtui.tui.screens.sessions import SessionsScreen
from kdtui.tui.widgets.bundle_panel import BundlePanel
from kdtui.tui.widgets.flex_table import FlexTable
from kdtui.workflows import students
from models.answers import Grew, Refused, StudentEvent
from models.bundle_list import WrittenBundle
from models.errors import ModelError, PromptTooLong
from store.records import Bundle, Item, RunSettings, Session

Settle = Callable[[Pilot[None]], Awaitable[None]]
Until = Callable[[Pilot[None], Callable[[], bool]], Awaitable[None]]
MakeStore = Callable[[Sequence[Session]], Path]

PATTERNS = RunSettings("patterns")


@asynccontextmanager
async def opened(app: KdtuiApp, settle: Settle, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[None]]:
    """The app on the first session of its store."""
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        yield pilot


def screen(app: KdtuiApp) -> SessionScreen:
    assert isinstance(app.screen, SessionScreen)
    return app.screen


def heading(app: KdtuiApp, panel: str = "#generated") -> str:
    return str(screen(app).query_one(panel, BundlePanel).query_one(".heading", Static).content)


def bundles(app: KdtuiApp, panel: str = "#generated") -> list[str]:
    """The rows of a panel, cells joined by a bar."""
    content = screen(app).query_one(panel, BundlePanel).query_one(".bundles", Static).content
    if not isinstance(content, Table):
        return []
    columns = [[str(cell) for cell in column.cells] for column in content.columns]
    return [" | ".join(row) for row in zip(*columns, strict=True)]


def column(app: KdtuiApp, number: int) -> list[str]:
    table = screen(app).query_one(FlexTable)
    return [table.get_row_at(row)[number].plain for row in range(table.row_count)]


def toasts(app: KdtuiApp) -> list[str]:
    return [note.message for note in app._notifications]


def generation_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "generation"]


class Endless:
    """Stands in for `open_student`: a student that never comes to an end, and counts."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.opened = self.closed = self.steps = 0
        self.problem = problem
        self.threads: set[str] = set()

    @contextmanager
    def __call__(self, *_: object, **__: object) -> Iterator[students.SessionStudent]:
        self.opened += 1
        self.threads.add(threading.current_thread().name)
        try:
            yield students.SessionStudent("endless", self.answer)
        finally:
            self.threads.add(threading.current_thread().name)
            self.closed += 1

    def answer(self, sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
        [session] = sessions
        if isinstance(self.problem, PromptTooLong):
            yield Refused(session, str(self.problem), 0.0)
            return
        if self.problem is not None:
            raise self.problem
        wait = threading.Event()
        while True:
            self.steps += 1
            yield Grew(session, WrittenBundle(0, (1, 2), f"step {self.steps}", 0.5, complete=False))
            wait.wait(0.005)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Endless:
    student = Endless()
    monkeypatch.setattr(students, "open_student", student)
    return student


async def test_products_are_numbered_and_marked_with_the_letters_of_their_bundles(
    demo_store: Path, settle: Settle
) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle):
        assert column(app, 0) == ["1", "2", "3", "4", "5", "6"]
        assert column(app, 1) == ["", "A B", "", "A", "B", "B"]
        assert column(app, 4)[1] == "Tents"
        assert bundles(app, "#truth") == ["A | 2 4 | tent and matching footprint", "B | 2 5 6 | weekend tent camping"]


async def test_a_wide_screen_shows_whole_categories(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle, size=(160, 40)):
        assert column(app, 4)[1] == "Outdoor > Camping > Shelter > Tents"


async def test_only_minimal_bundles_are_true(make_store: MakeStore, settle: Settle) -> None:
    items = tuple(Item(name, f"Thing {name}") for name in "abc")
    app = KdtuiApp(make_store([Session("s", items, (Bundle((1, 2, 3), "all"), Bundle((1, 2), "[b]two")))]))
    async with opened(app, settle):
        assert bundles(app, "#truth") == ["A | 1 2 | [b]two"]
        assert "1 not minimal left out" in heading(app, "#truth")


async def test_the_pattern_student_generates(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store, PATTERNS)
    async with opened(app, settle) as pilot:
        assert "g asks patterns" in heading(app)
        await pilot.press("g")
        await until(pilot, lambda: "done in" in heading(app))
        assert bundles(app)
        assert all("%" in line for line in bundles(app))
        assert any(column(app, 2))
    assert not generation_threads()


async def test_the_embedded_student_generates_as_it_writes(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("s", "p", "g")
        await until(pilot, lambda: bool(bundles(app)))
        assert "by smollm2 + pattern" in heading(app)
        await until(pilot, lambda: "done in" in heading(app))
        assert not any("…" in line for line in bundles(app))
    assert not generation_threads()


async def test_the_choice_of_student_is_in_the_command_and_outlives_the_screen(
    demo_store: Path, settle: Settle
) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        assert screen(app).command == "kdtui generate o01 --dataset demo-outdoor"
        await pilot.press("p")
        assert any("told of other sessions already" in toast for toast in toasts(app))
        await pilot.press("s", "p", "c")
        assert app.clipboard == "kdtui generate o01 --dataset demo-outdoor --student smollm2 --knowledge pattern"
        await pilot.press("s")
        assert screen(app).command == "kdtui generate o01 --dataset demo-outdoor --student patterns"
        await pilot.press("p")
        assert any("made of patterns already" in toast for toast in toasts(app))
        await pilot.press("escape", "down", "enter")
        await settle(pilot)
        assert screen(app).command == "kdtui generate o02 --dataset demo-outdoor --student patterns"


async def test_without_patterns_a_sentence_says_how_to_get_them(demo_store: Path, settle: Settle, until: Until) -> None:
    with sqlite3.connect(demo_store) as connection:
        connection.execute("DELETE FROM knowledge")
    connection.close()
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("s", "p", "g")
        await until(pilot, lambda: "failed" in heading(app))
        assert any("kdtui knowledge mine --dataset demo-outdoor" in toast for toast in toasts(app))


@pytest.mark.parametrize(
    ("problem", "state"),
    [
        (ModelError("the model [b]broke"), "failed"),
        (PromptTooLong("the session is too long"), "no answer"),
        (ValueError("a fault"), "failed"),
    ],
)
async def test_what_goes_wrong_is_a_sentence(
    problem: Exception, state: str, demo_store: Path, endless: Endless, settle: Settle, until: Until
) -> None:
    endless.problem = problem
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: state in heading(app))
        assert any(str(problem) in toast for toast in toasts(app))


async def test_escape_cancels_first_and_then_goes_back(
    demo_store: Path, endless: Endless, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: bool(bundles(app)))
        assert "step" in bundles(app)[0]
        await pilot.press("escape")
        await until(pilot, lambda: "cancelled" in heading(app))
        steps = endless.steps
        await pilot.pause(0.05)
        assert endless.steps == steps
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, SessionsScreen)


async def test_the_student_stays_loaded_between_sessions(
    demo_store: Path, endless: Endless, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("enter")
        for _ in range(3):
            await settle(pilot)
            await pilot.press("g")
            await until(pilot, lambda: bool(bundles(app)))
            await pilot.press("right_square_bracket")
        await settle(pilot)
        assert (endless.opened, endless.closed) == (1, 0)
        await pilot.press("s", "p", "g")
        await until(pilot, lambda: bool(bundles(app)))
        assert (endless.opened, endless.closed) == (2, 1)
    assert endless.closed == 2
    assert endless.threads == {"generation"}
    assert not generation_threads()


async def test_the_student_is_loaded_again_when_the_store_has_changed(
    demo_store: Path, endless: Endless, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: bool(bundles(app)))
        await pilot.press("escape")
        await until(pilot, lambda: "cancelled" in heading(app))
        with sqlite3.connect(demo_store) as connection:
            connection.execute("DELETE FROM knowledge WHERE id = 1")
        connection.close()
        await pilot.press("g")
        await until(pilot, lambda: endless.opened == 2)


async def test_an_answer_to_an_earlier_request_is_ignored(
    demo_store: Path, endless: Endless, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: bool(bundles(app)))
        await pilot.press("right_square_bracket")
        await settle(pilot)
        await until(pilot, lambda: endless.steps > 0)
        assert screen(app).command == "kdtui generate o02 --dataset demo-outdoor"
        assert not bundles(app)
        assert "g asks" in heading(app)
        assert not any(column(app, 2))
        late = Request("demo-outdoor", Session("o01", ()), screen(app)._choice, screen(app).post_message)
        late.post(Stopped(late, "too late"))
        await pilot.pause()
        assert not toasts(app)
        await pilot.press("left_square_bracket")
        await settle(pilot)
        assert screen(app).command == "kdtui generate o01 --dataset demo-outdoor"


async def test_generating_goes_on_while_another_place_is_looked_at(
    demo_store: Path, endless: Endless, settle: Settle, until: Until
) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: bool(bundles(app)))
        await pilot.press("2")
        steps = endless.steps
        await until(pilot, lambda: endless.steps > steps + 3)
        await pilot.press("1")
        await pilot.pause()
        assert "writing" in heading(app)
    assert not generation_threads()


async def test_the_cursor_comes_back_to_the_session_shown_last(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("enter", "right_square_bracket", "right_square_bracket")
        await settle(pilot)
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen.query_one(FlexTable).cursor_row == 2


async def test_an_answer_without_bundles_says_so(make_store: MakeStore, settle: Settle, until: Until) -> None:
    app = KdtuiApp(make_store([Session("lonely", (Item("a", "Tent"),))]))
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: "done in" in heading(app))
        content = screen(app).query_one("#generated", BundlePanel).query_one(".bundles", Static).content
        assert "the student found none" in str(content)
