"""The place Studies and the screen of one study: its matrix, its texts, and its run."""

from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from kdtui.tui.app import KdtuiApp
from kdtui.tui.memory import Memory
from kdtui.tui.places.studies.study_run import StudyRun
from kdtui.tui.places.studies.study_screen import StudyScreen
from kdtui.tui.widgets.matrix import Matrix
from kdtui.tui.widgets.steady import Pane
from tests.support.screens import Settle, Until, rows

STUDY = "rq3-outdoor"


def app_at_studies(path: Path, **form: str) -> KdtuiApp:
    memory = Memory(None, path)
    memory.place = "studies"
    memory.of("studies")["form"] = form
    return KdtuiApp(path, memory=memory)


async def open_study_screen(pilot: Pilot[None], settle: Settle, until: Until, name: str = STUDY) -> None:
    """Open a study, and wait until its cells are scored."""
    await settle(pilot)
    app: Any = pilot.app
    app.show_in_place("studies", name)
    await until(pilot, lambda: isinstance(app.screen, StudyScreen))
    await until(pilot, lambda: study(app).snapshot is not None and not study(app).is_computing)
    await settle(pilot)


def study(app: Any) -> StudyScreen:
    found = next(each for each in reversed(app.screen_stack) if isinstance(each, StudyScreen))
    assert isinstance(found, StudyScreen)
    return found


def matrix(app: Any) -> Matrix:
    return study(app).query_one(Matrix)


def about(app: Any) -> str:
    return str(app.screen.query_one("#about", Pane).text)


def matrix_cells(app: Any) -> list[str]:
    """Return the contents of the cells, row by row."""
    shown = matrix(app)
    return [shown.text_of(key) for block in shown._blocks for row in block.keys for key in row if key is not None]


def work(app: Any) -> StudyRun | None:
    task = app.tasks.get("study")
    return task if isinstance(task, StudyRun) and not task.is_over else None


def study_rows(app: Any) -> list[list[str]]:
    return rows(app, "#studies")
