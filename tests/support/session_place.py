"""The screen of a session: its panels, its form, and a student whose answers a test controls."""

import json
import os
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from rich.table import Table
from textual.pilot import Pilot
from textual.widgets import Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.places.workbench.session_screen import SessionScreen
from kdtui.tui.student.bundle_panel import BundlePanel
from kdtui.workflows.student.explain import PromptExplanation
from kdtui.workflows.student.session_student import SessionStudent
from models.bundle_list import WrittenBundle
from models.embedded import embedded_student
from models.errors import PromptTooLong
from models.sft.job_files import ADAPTER
from models.student_protocol import Answered, Grew, Refused, StudentEvent
from store.records import RunSettings, Session, TrainingSettings
from tests.support.acting import act
from tests.support.jobs_place import make_job
from tests.support.screens import Settle, content_of


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


def screen(app: KdtuiApp) -> SessionScreen:
    assert isinstance(app.screen, SessionScreen)
    return app.screen


def heading(app: KdtuiApp, panel: str = "#generated") -> str:
    return str(screen(app).query_one(panel, BundlePanel).query_one(".heading", Static).content)


def bundles(app: KdtuiApp, panel: str = "#generated") -> list[str]:
    """Return the rows of a panel, cells joined by a bar."""
    content = screen(app).query_one(panel, BundlePanel).query_one(".bundles", Static).content
    if not isinstance(content, Table):
        return []
    columns = [[str(cell) for cell in column.cells] for column in content.columns]
    return [" | ".join(row) for row in zip(*columns, strict=True)]


def form_text(app: KdtuiApp, part: str) -> str:
    """Return the note of a form, or its problem."""
    return content_of(app, f"#form-{part}")


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


PATTERNS = RunSettings("patterns")


EMBEDDED = RunSettings("smollm2")
