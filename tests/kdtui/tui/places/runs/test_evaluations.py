"""Evaluations in the place Runs: start, stop and resume."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import sleep
from typing import cast

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from kdtui.tui.app import KdtuiApp
from kdtui.workflows.runs import evaluate
from kdtui.workflows.student.learning import LearningProgress, Tell, tell_nobody
from kdtui.workflows.student.open import open_student
from kdtui.workflows.student.session_student import SessionStudent
from models.bundle_list import WrittenBundle
from models.student_protocol import Answered, Grew, StudentEvent
from store.database import open_database
from store.records import RunSettings, Session
from store.sqlite import Database
from tests.support.acting import act, rest
from tests.support.runs_place import cells_of, numbers, open_runs, row_of, run_rows, wait_until_computed
from tests.support.screens import (
    Settle,
    Until,
    command,
    content_of,
    dialog_command,
    notice,
    printed,
    table,
    toasts,
)


class Stubborn:
    """A fake `open_student` that answers two sessions, and then writes until it is stopped. It leaves floors alone."""

    def __init__(self) -> None:
        self.closed = Event()
        self.problem: Exception | None = None
        self.tells: list[str | LearningProgress] = []
        self.may_answer = Event()
        self.may_answer.set()

    @contextmanager
    def __call__(
        self, db: Database, dataset: str, settings: RunSettings, tell: Tell = tell_nobody
    ) -> Iterator[SessionStudent]:
        if settings.student == "patterns":
            with open_student(db, dataset, settings, tell) as student:
                yield student
            return
        if self.problem is not None:
            raise self.problem
        for message in self.tells:
            tell(message)
        assert self.may_answer.wait(30)
        try:
            yield SessionStudent("stubborn", self._answer, lambda _: [])  # type: ignore[arg-type,return-value]
        finally:
            self.closed.set()

    def _answer(self, sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
        bundle = WrittenBundle(0, (1, 2), "things", 0.5, complete=True)
        for number, session in enumerate(sessions):
            while number >= 2:
                yield Grew(session, bundle)
                sleep(0.005)
            yield Answered(session, [bundle], 0.1)


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> Stubborn:
    student = Stubborn()
    monkeypatch.setattr(evaluate, "open_student", student)
    return student


async def test_an_evaluation_starts_and_shows_its_scores(demo_store: Path, settle: Settle, until: Until) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 50)) as pilot:
        await open_runs(pilot, settle)
        assert "No student has been evaluated yet" in notice(app)
        assert "kdtui evaluate --dataset demo-outdoor --limit 20" in notice(app)
        await act(pilot, "runs.new")
        await settle(pilot)
        app.screen.query_one("#field-other", Input).value = "patterns"
        app.screen.query_one("#field-limit", Input).value = "x"
        await rest(pilot)
        assert "sessions: a whole number" in content_of(app, "#form-problem")
        app.screen.query_one("#field-limit", Input).value = "5"
        await rest(pilot)
        assert "kdtui evaluate --dataset demo-outdoor --student patterns --limit 5" in dialog_command(app)
        await act(pilot, "form.done")
        await until(pilot, lambda: "run 1 is finished" in toasts(app))
        await wait_until_computed(pilot, settle)
        assert cells_of(row_of(app, 1), "Name", "Dataset", "Split", "Sess.") == [
            "patterns",
            "demo-outdoor",
            "test",
            "5",
        ]
        assert row_of(app, 1)["F1"] != "–"
        await act(pilot, "runs.new")
        await settle(pilot)
        assert (
            app.screen.query_one("#field-other", Input).value
            + str(
                app.screen.query_one("#field-student").value  # type: ignore[attr-defined]
            )
            == "patterns"
        )


async def begin(pilot: Pilot[None], settle: Settle, until: Until) -> None:
    """Begin an evaluation, and wait until two sessions are answered."""
    app = cast("KdtuiApp", pilot.app)
    await open_runs(pilot, settle)
    await act(pilot, "runs.new")
    await settle(pilot)
    await act(pilot, "form.done")
    await until(pilot, lambda: bool(numbers(app)) and row_of(app, 1)["Sess."] == "2/7")


async def test_an_evaluation_is_stopped_and_resumed(
    demo_store: Path, settle: Settle, until: Until, stubborn: Stubborn, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 50)) as pilot:
        await begin(pilot, settle, until)
        assert row_of(app, 1)["State"] == "running"
        await act(pilot, "runs.new")
        await act(pilot, "runs.delete")
        await act(pilot, "runs.resume")
        await rest(pilot)
        assert "an evaluation is running; x stops it" in toasts(app)
        assert "the run is being evaluated; x stops it" in toasts(app)
        await pilot.press("1", "6")
        await act(pilot, "runs.cancel")
        await until(pilot, lambda: any("run 1 has been stopped" in toast for toast in toasts(app)))
        await wait_until_computed(pilot, settle)
        assert stubborn.closed.is_set()
        assert row_of(app, 1)["Sess."] == "2/7"
        assert row_of(app, 1)["State"] == "R resumes"
        await act(pilot, "runs.cancel")
        await rest(pilot)
        assert "no evaluation is running" in toasts(app)
        monkeypatch.undo()
        monkeypatch.setenv("KDTUI_DB", str(demo_store))
        db = open_database(demo_store)
        db.execute("UPDATE runs SET settings = json_set(settings, '$.student', 'patterns', '$.strategy', NULL)")
        assert db.conn is not None
        db.conn.commit()
        db.close()
        await act(pilot, "screen.reload")
        await wait_until_computed(pilot, settle)
        await act(pilot, "runs.resume")
        await until(pilot, lambda: "run 1 is finished" in toasts(app))
        await wait_until_computed(pilot, settle)
        assert row_of(app, 1)["Sess."] == "7"
        await act(pilot, "runs.resume")
        await rest(pilot)
        assert "the run is finished" in toasts(app)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 45)])
async def test_a_student_that_learns_shows_its_progress_before_it_answers(
    demo_store: Path, settle: Settle, until: Until, stubborn: Stubborn, size: tuple[int, int]
) -> None:
    stubborn.tells = ["titles are [b]not[/b] read", LearningProgress("demo-outdoor", 600, 1024, 3400)]
    stubborn.may_answer.clear()
    app = KdtuiApp(demo_store)
    async with app.run_test(size=size) as pilot:
        await open_runs(pilot, settle)
        await act(pilot, "runs.new")
        await settle(pilot)
        await act(pilot, "form.done")
        await until(pilot, lambda: "learning… 30%" in table(app).render_line(1).text)
        assert "titles are [b]not[/b] read" in toasts(app)
        stubborn.may_answer.set()
        await until(pilot, lambda: ("1", "running") in [(row["Run"], row["State"]) for row in run_rows(app)])
        await act(pilot, "runs.cancel")
        await until(pilot, lambda: any("run 1 has been stopped" in toast for toast in toasts(app)))


async def test_a_running_run_says_so_and_not_how_to_resume_it(
    demo_store: Path, settle: Settle, until: Until, stubborn: Stubborn
) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test(size=(120, 50)) as pilot:
        await begin(pilot, settle, until)
        await pilot.press("enter")
        await settle(pilot)
        text = printed(app, "#everything")
        assert "2 of 7 answered" in text
        assert "not yet: this app is evaluating it; r updates these numbers" in text
        assert "--resume" not in text
        assert command(app) == "kdtui run show 1"
        await act(pilot, "run.resume")
        await rest(pilot)
        assert "this app is evaluating the run already" in toasts(app)
        for each in app.activities:
            each.cancel()
        await until(pilot, lambda: command(app) == "kdtui evaluate --resume 1")
        assert "to resume it" in printed(app, "#everything")
    assert stubborn.closed.is_set()


async def test_an_impossible_evaluation_is_reported_in_one_sentence(
    demo_store: Path, settle: Settle, until: Until, stubborn: Stubborn
) -> None:
    from models.errors import ModelError

    stubborn.problem = ModelError("the weights are [b]broken[/b]")
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await act(pilot, "runs.new")
        await settle(pilot)
        await act(pilot, "form.done")
        await until(pilot, lambda: "the weights are [b]broken[/b]" in toasts(app))
        await wait_until_computed(pilot, settle)
        assert "No student has been evaluated yet" in notice(app)


async def test_leaving_the_program_stops_the_evaluation(
    demo_store: Path, settle: Settle, until: Until, stubborn: Stubborn
) -> None:
    app = KdtuiApp(demo_store)
    async with app.run_test() as pilot:
        await open_runs(pilot, settle)
        await act(pilot, "runs.new")
        await settle(pilot)
        await act(pilot, "form.done")
        await until(pilot, lambda: bool(numbers(app)))
    assert stubborn.closed.is_set()
    assert app.farewells == [
        "run 1 was stopped; its answers so far are kept; this resumes it: kdtui evaluate --resume 1"
    ]
