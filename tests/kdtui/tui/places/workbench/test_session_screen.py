"""The session screen: a session, generated bundles, settings and comparisons."""

import json
import os
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Checkbox, Input, Select, Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core import generation
from kdtui.tui.core.choice import StudentChoice
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.core.generation import GenerationRequest, GenerationStopped, GenerationThread
from kdtui.tui.memory import Memory
from kdtui.tui.places.workbench import session_view
from kdtui.tui.places.workbench.screen import WorkbenchScreen
from kdtui.tui.places.workbench.session_screen import SessionScreen
from kdtui.tui.student.bundle_panel import BundlePanel
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.workflows.student import open as student_open
from kdtui.workflows.student import options
from kdtui.workflows.student.explain import PromptExplanation
from kdtui.workflows.student.session_student import SessionStudent
from models.bundle_list import WrittenBundle
from models.embedded import embedded_student
from models.errors import ModelError, PromptTooLong
from models.sft.job_files import ADAPTER
from models.student_protocol import Answered, Grew, Refused, StudentEvent
from store.database import open_database
from store.models import NamedModel, add_model
from store.records import Bundle, Item, RunSettings, Session, TrainingSettings
from tests.support.acting import act, rest
from tests.support.jobs_place import make_job
from tests.support.screens import MakeStore, Settle, Until, fill, toasts

PATTERNS = RunSettings("patterns")
EMBEDDED = RunSettings("smollm2")


@asynccontextmanager
async def opened(app: KdtuiApp, settle: Settle, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[None]]:
    """Open the app on the first session of its store."""
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await act(pilot, "app.workbench")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        yield pilot


async def test_a_small_terminal_shows_the_first_keys_to_use(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store, RunSettings("smollm2"))
    async with opened(app, settle) as pilot:
        keys = str(app.screen.query_one(Footer).render())
        assert keys.startswith("g Generate a Student p Patterns s Settings v Compare w Why esc Back ")
        app.use_choice(StudentChoice())
        await pilot.press("escape", "enter")
        await settle(pilot)
        keys = str(app.screen.query_one(Footer).render())
        assert keys.startswith("g Generate a Student s Settings v Compare w Why esc Back ] Next "), (
            "it needs no patterns"
        )


def screen(app: KdtuiApp) -> SessionScreen:
    assert isinstance(app.screen, SessionScreen)
    return app.screen


def shown(app: KdtuiApp, selector: str) -> str:
    return str(screen(app).query_one(selector, Static).content)


def heading(app: KdtuiApp, panel: str = "#generated") -> str:
    return str(screen(app).query_one(panel, BundlePanel).query_one(".heading", Static).content)


def bundles(app: KdtuiApp, panel: str = "#generated") -> list[str]:
    """Return the rows of a panel, cells joined by a bar."""
    content = screen(app).query_one(panel, BundlePanel).query_one(".bundles", Static).content
    if not isinstance(content, Table):
        return []
    columns = [[str(cell) for cell in column.cells] for column in content.columns]
    return [" | ".join(row) for row in zip(*columns, strict=True)]


def column(app: KdtuiApp, number: int) -> list[str]:
    table = screen(app).query_one(RowTable)
    rows = [table.row_at(row) for row in range(table.row_count)]
    return [str(row.cells[number]) for row in rows if row is not None]


def command(app: KdtuiApp) -> str:
    """Return the command of a form."""
    return str(app.screen.query_one("#dialog-command", Static).content)


def form_text(app: KdtuiApp, part: str) -> str:
    """Return the note of a form, or its problem."""
    return str(app.screen.query_one(f"#form-{part}", Static).content)


def with_adapter(store: Path, name: str, settings: TrainingSettings, base: str | None = None) -> None:
    """Make a finished training with an adapter."""
    job = json.dumps({"base": base or str(embedded_student())})
    (make_job(store, name, {"job.json": job, "exit_code": "0"}, settings) / ADAPTER).mkdir()


def generation_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "generation"]


class Student:
    """A stand-in for `open_student`: its answers, and how often it was opened and closed."""

    def __init__(self) -> None:
        self.opened = self.closed = self.steps = 0
        self.problem: Exception | None = None
        self.answers: dict[str, list[tuple[int, ...]]] = {}
        self.settings: list[RunSettings] = []
        self.threads: set[str] = set()
        self.niceness: list[int] = []

    @contextmanager
    def __call__(self, _: object, __: str | None, settings: RunSettings, ___: object) -> Iterator[SessionStudent]:
        self.opened += 1
        self.settings.append(settings)
        self.threads.add(threading.current_thread().name)
        self.niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        answers = self.answers.get(settings.student)
        try:
            yield SessionStudent("fake", lambda sessions: self.answer(sessions, answers), self.explain)
        finally:
            self.threads.add(threading.current_thread().name)
            self.closed += 1

    def answer(
        self, sessions: Iterable[Session | None], answers: list[tuple[int, ...]] | None
    ) -> Iterator[StudentEvent]:
        """Yield the given bundles; without any, a bundle that never ends."""
        [session] = sessions
        if isinstance(self.problem, PromptTooLong):
            yield Refused(session, str(self.problem), 0.0)
            return
        if self.problem is not None:
            raise self.problem
        if answers is not None:
            bundles = [WrittenBundle(at, each, f"intent {at}", 0.5, complete=True) for at, each in enumerate(answers)]
            for bundle in bundles:
                yield Grew(session, bundle)
            yield Answered(session, bundles, 1.25)
            return
        wait = threading.Event()
        while True:
            self.steps += 1
            yield Grew(session, WrittenBundle(0, (1, 2), f"step {self.steps}", 0.5, complete=False))
            wait.wait(0.005)

    def explain(self, session: Session) -> PromptExplanation:
        if self.problem is not None:
            raise self.problem
        return PromptExplanation(
            "how it is", f"<|im_start|>\x1b[31m[b]{session.id}", ("1,2?", "1,3?"), ("rule 7: a rule",), (7,)
        )


@pytest.fixture
def student(monkeypatch: pytest.MonkeyPatch) -> Student:
    """Install a stand-in for all students; without answers, it writes endlessly."""
    student = Student()
    monkeypatch.setattr(student_open, "open_student", student)
    return student


# The session


async def test_products_are_numbered_and_marked_with_the_letters_of_their_bundles(
    demo_store: Path, settle: Settle
) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle):
        assert shown(app, "#title") == "Session o01 · demo-outdoor · train · 6 products · 1 of 36"
        assert column(app, 0) == ["1", "2", "3", "4", "5", "6"]
        assert column(app, 1) == ["", "A B", "", "A", "B", "B"]
        assert column(app, 4)[1] == "Tents"
        assert bundles(app, "#truth") == ["A | 2 4 | tent and matching footprint", "B | 2 5 6 | weekend tent camping"]


async def test_a_wide_screen_shows_whole_categories_even_after_a_resize(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle, size=(200, 60)) as pilot:
        assert column(app, 4)[1] == "Outdoor > Camping > Shelter > Tents"
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert column(app, 4)[1] == "Tents"


async def test_only_minimal_bundles_are_true(make_store: MakeStore, settle: Settle) -> None:
    items = tuple(Item(name, f"Thing {name}") for name in "abc")
    app = KdtuiApp(make_store([Session("s", items, (Bundle((1, 2, 3), "all"), Bundle((1, 2), "[b]two")))]))
    async with opened(app, settle):
        assert bundles(app, "#truth") == ["A | 1 2 | [b]two"]
        assert "1 not minimal left out" in heading(app, "#truth")


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


async def test_a_session_is_shown_before_the_options_are_loaded(
    demo_store: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = KdtuiApp(demo_store)
    titles, real_options = [], options.student_options

    def noted(*arguments: Any, **named: Any) -> options.StudentOptions:
        titles.append(shown(app, "#title"))
        return real_options(*arguments, **named)

    monkeypatch.setattr(options, "student_options", noted)
    async with opened(app, settle) as pilot:
        await act(pilot, "session.next")
        await settle(pilot)
        # Once for all sessions of a list, and again after a reload.
        await act(pilot, "screen.reload")
        await settle(pilot)
    assert [title.split(" · ")[0] for title in titles] == ["Session o01", "Session o02"]


async def test_the_next_and_the_previous_session_are_a_key_away(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await act(pilot, "session.previous")
        assert any("this is the first session" in toast for toast in toasts(app))
        await act(pilot, "session.next")
        await settle(pilot)
        assert "Session o02" in shown(app, "#title")
        await act(pilot, "session.previous")
        await settle(pilot)
        assert "Session o01" in shown(app, "#title")


async def test_the_cursor_returns_to_the_last_session(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("right_square_bracket", "right_square_bracket")
        await settle(pilot)
        await act(pilot, "session.back")
        await settle(pilot)
        assert isinstance(app.screen, WorkbenchScreen)
        assert app.screen.query_one(RowTable).cursor_row == 2


async def test_a_missing_session_gives_a_message(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        with sqlite3.connect(demo_store) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("DELETE FROM sessions WHERE session = 'o02'")
        connection.close()
        await pilot.press("right_square_bracket")
        await settle(pilot)
        assert "no longer exists" in shown(app, "#title")
        assert not column(app, 0)
        await pilot.press("g", "w", "s", "v", "c")
        assert any("the session is not loaded" in toast for toast in toasts(app))
        await pilot.press("right_square_bracket")
        await settle(pilot)
        assert "Session o03" in shown(app, "#title")


# Generating


async def test_the_pattern_student_generates(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store, PATTERNS)
    async with opened(app, settle) as pilot:
        assert shown(app, "#asks") == "asks patterns"
        await act(pilot, "session.generate")
        await until(pilot, lambda: "done in" in heading(app))
        assert bundles(app)
        assert all("%" in line for line in bundles(app))
        assert any(column(app, 2))
    assert not generation_threads()


async def test_bundles_appear_while_the_embedded_student_writes(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store, RunSettings("smollm2", ("pattern",)))
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: bool(bundles(app)))
        assert shown(app, "#asks") == "asks smollm2 + pattern"
        await until(pilot, lambda: "done in" in heading(app))
        assert not any("…" in line for line in bundles(app))
    assert not generation_threads()


async def test_right_extra_and_missing_products_are_shown(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    student.answers["shipped"] = [(2, 4), (1, 3)]
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        assert not shown(app, "#scores")
        await pilot.press("g")
        await until(pilot, lambda: "done in 1.2 s" in heading(app))
        assert bundles(app) == ["a | 2 4 | 50% | = A intent 0", "b | 1 3 | 50% | wrong intent 1"]
        assert [line.rpartition("| ")[2] for line in bundles(app, "#truth")] == [
            "= a tent and matching footprint",
            "missing weekend tent camping",
        ]
        assert shown(app, "#scores") == "pair F1 0.33 (1 right, 1 too much, 3 lacking) · strict P 0.50, R 0.50"
        student.answers["shipped"] = [(2, 3, 5)]
        await pilot.press("right_square_bracket", "left_square_bracket")
        await settle(pilot)
        assert not shown(app, "#scores")
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
        assert not shown(app, "#scores")


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
        await until(pilot, lambda: "cancelled" in heading(app))
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
        await until(pilot, lambda: "cancelled" in heading(app))
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


# Settings


async def test_the_next_student_and_patterns_are_a_key_away_and_remembered(
    demo_store: Path, settle: Settle, tmp_path: Path
) -> None:
    app = KdtuiApp(demo_store, memory=Memory(tmp_path / "memory.json", demo_store))
    async with opened(app, settle) as pilot:
        assert screen(app).command == "kdtui generate o01 --dataset demo-outdoor"
        await act(pilot, "session.toggle_patterns")
        assert any("shown no knowledge" in toast for toast in toasts(app))
        await act(pilot, "session.next_student")
        await act(pilot, "session.toggle_patterns")
        await act(pilot, "screen.copy_command")
        assert app.clipboard == "kdtui generate o01 --dataset demo-outdoor --student smollm2 --knowledge pattern"
        assert shown(app, "#asks") == "asks smollm2 + pattern"
        await pilot.press("escape", "down", "enter")
        await settle(pilot)
        command_line = "kdtui generate o02 --dataset demo-outdoor --student smollm2 --knowledge pattern"
        assert screen(app).command == command_line
    again = KdtuiApp(demo_store, memory=Memory(tmp_path / "memory.json", demo_store))
    async with opened(again, settle) as pilot:
        await pilot.press("right_square_bracket")
        await settle(pilot)
        assert screen(again).command == command_line
        await pilot.press("a", "p")
        assert screen(again).command == "kdtui generate o02 --dataset demo-outdoor --student patterns"
        assert any("always uses patterns" in toast for toast in toasts(again))


async def test_named_models_and_adapters_are_students(demo_store: Path, settle: Settle) -> None:
    db = open_database(demo_store)
    add_model(db, NamedModel("large", Path("/l.gguf"), "a test", made=False))
    add_model(db, NamedModel("[b]mine", Path("/a.gguf"), "a test", made=False, kind="adapter"))
    db.close()
    app = KdtuiApp(demo_store, PATTERNS)
    async with opened(app, settle) as pilot:
        names = []
        for _ in range(5):
            await pilot.press("a")
            names.append(app.choice.name)
        assert names == ["large", "smollm2 + [b]mine", "shipped", "smollm2", "patterns"]
        await act(pilot, "session.settings")
        await settle(pilot)
        await rest(pilot)
        select = app.screen.query_one("#field-adapter", Select)
        select.value = "[b]mine"
        await rest(pilot)
        # The file of the adapter is missing: any student that takes adapters is kept.
        assert app.screen.query_one("#field-student", Select).value == "smollm2"
        assert "what [b]mine was trained with is unknown" in str(app.screen.query_one("#form-note", Static).content)
        app.screen.query_one("#field-student", Select).value = "large"
        app.screen.query_one("#field-scale", Input).value = "0.5"
        await rest(pilot)
        assert "--student large --adapter '[b]mine=0.5'" in str(app.screen.query_one("#dialog-command", Static).content)
        await act(pilot, "form.done")
        await settle(pilot)
        assert app.choice.settings == RunSettings("large", adapters=(("[b]mine", 0.5),))


async def test_the_form_has_all_options_of_the_command(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    student.answers["smollm2"] = [(2, 4)]
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        assert isinstance(app.screen, FormDialog)
        app.screen.query_one("#field-student", Select).value = "smollm2"
        app.screen.query_one("#field-pattern", Checkbox).value = True
        app.screen.query_one("#field-strategy", Select).value = "drafts"
        for name, value in (("neighbours", "3"), ("budget", "100"), ("context", "2048")):
            app.screen.query_one(f"#field-{name}", Input).value = value
        await rest(pilot)
        options = "--student smollm2 --knowledge pattern --neighbours 3 --budget 100 --strategy drafts --context 2048"
        command = f"kdtui generate o01 --dataset demo-outdoor {options}"
        assert str(app.screen.query_one("#dialog-command", Static).content) == f"$ {command}"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert screen(app).command == command
        assert "3 neighbours · 100 tokens of knowledge · 2,048 tokens of context" in shown(app, "#asks")
        await pilot.press("g")
        await until(pilot, lambda: "done in" in heading(app))
        assert student.settings == [
            RunSettings("smollm2", ("pattern",), context=2048, strategy="drafts", neighbours=3, budget=100)
        ]


async def test_an_adapter_sets_the_form_as_it_was_trained_until_the_user_changes_it(
    demo_store: Path, settle: Settle
) -> None:
    with_adapter(demo_store, "camping", TrainingSettings(("demo-outdoor",), knowledge=("pattern",), budget=50))
    with_adapter(demo_store, "plain", TrainingSettings(("demo-outdoor",), form="list"), base="/tiny.gguf")
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        assert not app.screen.query_one("#form-note").display
        await fill(pilot, strategy="drafts", rule="yes")
        await fill(pilot, adapter="camping")
        assert command(app).endswith("--student smollm2 --adapter camping --knowledge pattern --budget 50")
        note = app.screen.query_one("#form-note", Static)
        assert str(note.content) == "as camping was trained: student, knowledge and strategy are set"
        box = app.screen.query_one("#field-pattern", Checkbox)
        assert box.render().plain.strip() == "[x] yes"
        await fill(pilot, pattern="", budget="")
        assert box.render().plain.strip() == "[ ] no"
        assert command(app).endswith("--student smollm2 --adapter camping --knowledge none")
        await fill(pilot, adapter="plain")
        assert command(app).endswith("--student /tiny.gguf --adapter plain --knowledge none")
        # The choice above is unused then, and shows that.
        assert app.screen.query_one("#field-student", Select).value == ""
        await fill(pilot, student="smollm2")
        assert command(app).endswith("--student smollm2 --adapter plain --knowledge none")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert app.choice.settings == RunSettings("smollm2", adapters=(("plain", 1.0),))


@pytest.mark.parametrize("other", ["shipped", "patterns", "http://host/v1#m"])
async def test_choosing_a_student_without_adapters_removes_the_adapter(
    demo_store: Path, settle: Settle, other: str
) -> None:
    with_adapter(demo_store, "camping", TrainingSettings(("demo-outdoor",), knowledge=("pattern",), budget=50))
    app = KdtuiApp(demo_store)
    app.use_choice(StudentChoice.of(RunSettings("smollm2", ("pattern",), adapters=(("camping", 1.0),), budget=50)))
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        await fill(pilot, **{"other" if "/" in other else "student": other})
        assert app.screen.query_one("#field-adapter", Select).value == ""
        note = str(app.screen.query_one("#form-note", Static).content)
        assert note == f"{other} takes no adapter of yours: adapter camping is removed"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert app.choice.settings == RunSettings(other)


@pytest.mark.parametrize("student", ["shipped", "patterns"])
async def test_choosing_a_student_without_knowledge_removes_the_knowledge(
    demo_store: Path, settle: Settle, student: str
) -> None:
    app = KdtuiApp(demo_store, RunSettings("smollm2", ("pattern",), neighbours=3, budget=50))
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        await fill(pilot, student=student)
        assert form_text(app, "note") == f"{student} is shown no knowledge: it is removed"
        assert form_text(app, "problem") == ""
        await fill(pilot, pattern="yes")
        refused = f"the {student} student is shown no knowledge; choose smollm2, or leave knowledge out"
        assert form_text(app, "problem") == refused
        await fill(pilot, pattern="", budget="7")
        assert form_text(app, "problem") == refused
        await fill(pilot, budget="")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert app.choice.settings == RunSettings(student)


async def test_choosing_the_shipped_student_removes_several_adapters(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    app.use_choice(StudentChoice.of(RunSettings("smollm2", adapters=(("x", 1.0), ("y", 0.5)))))
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        await fill(pilot, student="shipped")
        assert "the adapters are removed" in str(app.screen.query_one("#form-note", Static).content)
        await fill(pilot, adapter="=")
        assert "has an adapter of its own" in str(app.screen.query_one("#form-problem", Static).content)


async def test_a_student_is_typed_or_chosen(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store, RunSettings("/tiny.gguf"))
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        assert command(app).endswith("--student /tiny.gguf")
        await fill(pilot, student="smollm2")
        assert command(app).endswith("--student smollm2")
        assert app.screen.query_one("#field-other", Input).value == ""
        await fill(pilot, other="/small.gguf")
        assert command(app).endswith("--student /small.gguf")
        await fill(pilot, other="")
        assert "name the other student" in str(app.screen.query_one("#form-problem", Static).content)


async def test_the_form_shows_what_is_wrong(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store, RunSettings("smollm2"))
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        form = app.screen
        for field, value, problem in (
            ("neighbours", "many", "neighbours: a whole number between 1 and 50"),
            ("neighbours", "51", "neighbours: a whole number between 1 and 50"),
            ("budget", "9" * 40, "tokens: a whole number from 1 on"),
            ("budget", "5", "--budget is about knowledge"),
            ("context", "12", "context: a whole number from 256 on"),
            ("other", "http://me:secret@host/v1#m", "the address of an endpoint must not contain a key"),
        ):
            line = form.query_one(f"#field-{field}", Input)
            before, line.value = line.value, value
            await rest(pilot)
            assert problem in str(form.query_one("#form-problem", Static).content)
            await pilot.press("ctrl+s")
            assert app.screen is form
            assert isinstance(form, FormDialog)
            line.value = before
            await rest(pilot)
            assert problem not in str(form.query_one("#form-problem", Static).content)
        await pilot.press("escape")
        await settle(pilot)
        assert app.choice == StudentChoice.of(RunSettings("smollm2"))


async def test_the_form_shows_which_format_is_missing(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("s")
        await settle(pilot)
        await fill(pilot, student="smollm2", rule="yes")
        assert "the dataset has no rules yet" in form_text(app, "problem")


async def test_a_choice_of_another_place_is_shown(demo_store: Path, settle: Settle) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("1")
        app.use_choice(StudentChoice.of(PATTERNS))
        await pilot.press("2")
        await settle(pilot)
        assert shown(app, "#asks") == "asks patterns"
        assert screen(app).command == "kdtui generate o01 --dataset demo-outdoor --student patterns"


# Why


async def test_why_shows_the_exact_prompt(demo_store: Path, student: Student, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await act(pilot, "session.why")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        text = "\n".join(str(each.content) for each in app.screen.query(Static) if isinstance(each.content, Text))
        for part in ("is given for session o01", "--show-prompt o01", "how it is", "rule 7: a rule", "1,2?"):
            assert part in text
        assert "<|im_start|> [b]o01" in text
        await act(pilot, "text.copy")
        assert "<|im_start|>" in app.clipboard
        await pilot.press("escape")
        student.problem = ModelError("there is no model")
        await pilot.press("w")
        await until(pilot, lambda: any("there is no model" in toast for toast in toasts(app)))
        assert isinstance(app.screen, SessionScreen)


@pytest.mark.usefixtures("student")
async def test_why_can_be_stopped_while_the_student_runs(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: bool(bundles(app)))
        await pilot.press("w", "w")
        assert heading(app) == "Generated  looking up the prompt…"
        await act(pilot, "screen.reload")
        assert any("the student is running" in toast for toast in toasts(app))
        assert any("already being looked up" in toast for toast in toasts(app))
        await pilot.press("escape")
        await until(pilot, lambda: "cancelled" in heading(app) and screen(app).why_not("why") is None)
        assert isinstance(app.screen, SessionScreen)


# Comparing


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_two_settings_are_compared_on_one_session(
    demo_store: Path, student: Student, settle: Settle, until: Until, size: tuple[int, int]
) -> None:
    student.answers = {"shipped": [(2, 4), (1, 3)], "patterns": [(2, 4), (2, 5, 6)], "smollm2": [(5, 6)]}
    app = KdtuiApp(demo_store)
    async with opened(app, settle, size) as pilot:
        await act(pilot, "session.compare")
        await settle(pilot)
        assert isinstance(app.screen, FormDialog)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "done" in heading(app) and "done" in heading(app, "#other"))
        await settle(pilot)
        assert shown(app, "#asks").splitlines() == ["▸1st shipped", " 2nd patterns"]
        assert shown(app, "#scores").splitlines() == [
            "1st  pair F1 0.33 (1 right, 1 too much, 3 lacking) · strict P 0.50, R 0.50",
            "2nd  pair F1 1.00 (4 right, 0 too much, 0 lacking) · strict P 1.00, R 1.00",
            "alike: 1 · only 1st: b · only 2nd: b",
        ]
        assert column(app, 2) == ["b", "a", "b", "a", "", ""]
        assert column(app, 3) == ["", "a b", "", "a", "b", "b"]
        assert [line.rpartition("| ")[2].split(" t")[0] for line in bundles(app, "#truth")] == [
            "1st = a 2nd = a",
            "1st missing 2nd = b weekend",
        ]
        panels = {name: screen(app).query_one(name).display for name in ("#truth", "#generated", "#other")}
        assert panels == {"#truth": size[0] > 100, "#generated": True, "#other": True}
        await act(pilot, "session.other_side")
        assert shown(app, "#asks").splitlines() == [" 1st shipped", "▸2nd patterns"]
        assert screen(app).command.endswith("--student patterns")
        assert screen(app).query_one("#other").display
        await pilot.press("a")
        assert app.choice == StudentChoice.of(None)
        assert heading(app, "#other") == "2nd  g generates", (
            "what another student said would stand under this one's name"
        )
        await act(pilot, "session.settings")
        await settle(pilot)
        assert str(app.screen.query_one(".heading", Static).content) == "The 2nd settings"
        await fill(pilot, student="patterns")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert shown(app, "#asks").splitlines() == [" 1st shipped", "▸2nd patterns"]
        assert app.choice == StudentChoice.of(None)
        await pilot.press("right_square_bracket")
        await settle(pilot)
        await pilot.press("g")
        await until(pilot, lambda: "done" in heading(app) and "done" in heading(app, "#other"))
        await act(pilot, "session.single")
        assert column(app, 3)[0] != ""
        assert shown(app, "#asks") == "asks shipped"
        assert not screen(app).query_one("#other").display
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, WorkbenchScreen)


async def test_the_last_compared_settings_are_offered_again(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    student.answers = {"shipped": [(2, 4)], "smollm2": [(2, 4)]}
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await pilot.press("v")
        await settle(pilot)
        app.screen.query_one("#field-student", Select).value = "smollm2"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen) and "done" in heading(app, "#other"))
        await pilot.press("escape", "v")
        await settle(pilot)
        assert app.screen.query_one("#field-student", Select).value == "smollm2"


async def test_a_compared_answer_disappears_when_its_settings_change(
    demo_store: Path, student: Student, settle: Settle, until: Until
) -> None:
    student.answers = {"shipped": [(2, 4), (1, 3)], "patterns": [(2, 4)]}
    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        await act(pilot, "session.compare")
        await settle(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "done" in heading(app) and "done" in heading(app, "#other"))
        await settle(pilot)
        await act(pilot, "session.next_student")
        assert app.choice.name == "smollm2"
        assert heading(app) == "1st  g generates"
        assert bundles(app) == []
        assert set(column(app, 2)) == {""}
        [score] = shown(app, "#scores").splitlines()
        assert score.startswith("2nd  pair F1")


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
        await until(pilot, lambda: isinstance(app.screen, SessionScreen) and "o02" in shown(app, "#title"))
        await settle(pilot)
        assert bundles(app) == []
        assert heading(app) == "Generated  g generates"
        assert not screen(app).query_one("#other").display
        assert shown(app, "#asks") == "asks shipped"
        assert shown(app, "#scores") == ""
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


async def test_a_session_is_painted_only_after_it_is_loaded(
    demo_store: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_view, "_LONGEST_HOLD", 20.0)
    painted: list[str] = []
    real_display = KdtuiApp._display

    def display(app: KdtuiApp, below: Screen[object], content: RenderableType | None) -> None:
        if isinstance(below, SessionScreen):
            painted.append(shown(app, "#title").split(" · ")[0])
        real_display(app, below, content)

    app = KdtuiApp(demo_store)
    async with opened(app, settle) as pilot:
        monkeypatch.setattr(KdtuiApp, "_display", display)
        await pilot.press("escape", "down", "enter")
        await settle(pilot)
        assert set(painted) == {"Session o02"}
