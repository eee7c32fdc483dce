"""Calibrations in the app: the form, the progress and the result."""

import json
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.dialogs import TextDialog
from kdtui.tui.core.task_form import TaskDialog
from kdtui.tui.memory import Memory
from kdtui.tui.places.models.screen import ModelsScreen
from kdtui.tui.places.workbench.session_screen import SessionScreen
from kdtui.tui.student.calibration import CalibrationTask
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.top_bar import TopBar
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.student.learning import LearningProgress
from models.llama.student import Student
from store.calibrations import calibrations
from store.database import open_database
from store.models import NamedModel, add_model
from store.records import RunSettings
from tests.support.acting import act
from tests.support.jobs_place import wait_for
from tests.support.screens import Settle, Until, fill, messages, shown
from tests.support.stores import OUTDOOR
from tests.support.tiny import make_model


@pytest.fixture
def to_judge(demo_store: Path, tmp_path: Path) -> Path:
    """A store with a student `tiny`, and a dataset `judged` of 20 small validation sessions."""
    lines = [json.loads(line) for line in OUTDOOR.read_text(encoding="utf-8").splitlines()][:20]
    for line in lines:
        [first, *_] = line["bundles"]
        line["items"] = [item for item in line["items"] if item["id"] in first["items"]]
        line |= {"bundles": [first], "split": "valid"}
    path = tmp_path / "judged.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    db = open_database(demo_store)
    list(import_dataset(db, path, "judged"))
    add_model(db, NamedModel("tiny", make_model(tmp_path / "tiny.gguf"), "a test", False))
    db.close()
    return demo_store


def opened(store: Path, place: str, student: str = "shipped") -> KdtuiApp:
    memory = Memory(None, store)
    memory.place = place
    memory.of("workbench")["dataset"] = "judged"
    memory.of("models")["model"] = "tiny"
    return KdtuiApp(store, RunSettings(student), memory=memory)


async def form_of(pilot: Pilot[None], until: Until, settle: Settle) -> None:
    """Open the form for the model under the cursor."""
    await settle(pilot)
    await act(pilot, "models.calibrate")
    await until(pilot, lambda: isinstance(pilot.app.screen, TaskDialog))


@pytest.mark.slow
async def test_a_model_is_calibrated_and_the_strategies_are_shown(to_judge: Path, settle: Settle, until: Until) -> None:
    app = opened(to_judge, "models")
    async with app.run_test(size=(120, 50)) as pilot:
        await form_of(pilot, until, settle)
        assert app.screen.query_one("#field-dataset", Select).value == "judged"
        assert shown(app, "#dialog-command") == "$ kdtui calibrate --dataset judged --student tiny"
        await fill(pilot, **{"try-drafts": ""})
        command = "$ kdtui calibrate --dataset judged --student tiny --strategy list --strategy pairs"
        assert shown(app, "#dialog-command") == command
        await act(pilot, "form.done")
        await wait_for(pilot, lambda: isinstance(app.screen, TextDialog))
        assert "calibrating tiny on judged:" in messages(app)
        assert "is chosen, with a pair F1 of " in messages(app)
        await act(pilot, "text.copy")
        rows = [line.split("\t") for line in app.clipboard.splitlines()]
        assert rows[0][:2] == ["strategy", "pair F1"]
        assert [row[0] for row in rows[1:3]] == ["list", "pairs"]
        assert [row[4] for row in rows[1:3]].count("chosen") == 1
        assert rows[3] == ["over 20 validation sessions, each scored by a calibration fitted on the others"]
        await act(pilot, "text.close")
        await settle(pilot)
        assert isinstance(app.screen, ModelsScreen)
    db = open_database(to_judge)
    stored = calibrations(db, "judged", RunSettings("tiny"))
    db.close()
    assert {name: each.chosen for name, each in stored.items()} == {row[0]: row[4] == "chosen" for row in rows[1:3]}


@pytest.mark.slow
async def test_the_student_of_a_session_is_calibrated(to_judge: Path, settle: Settle, until: Until) -> None:
    app = opened(to_judge, "workbench", "tiny")
    async with app.run_test(size=(120, 50)) as pilot:
        await settle(pilot)
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen))
        await settle(pilot)
        await act(pilot, "session.calibrate")
        await until(pilot, lambda: isinstance(app.screen, TaskDialog))
        assert shown(app, "#dialog-command") == "$ kdtui calibrate --dataset judged --student tiny"
        await fill(pilot, student="smollm2", limit="20")
        assert shown(app, "#dialog-command") == "$ kdtui calibrate --dataset judged --student smollm2 --limit 20"
        await fill(pilot, seed="3")
        assert shown(app, "#dialog-command").endswith("--student smollm2 --limit 20 --seed 3")
        for values, problem in (
            ({"student": "patterns"}, "the pattern student is calibrated whenever it learns"),
            ({"student": "shipped"}, "the shipped student names the bundles of the pattern student"),
            ({"other": "http://host/v1#m"}, "an endpoint answers in its own way"),
            ({"other": "", "student": "tiny", "limit": "x"}, "sessions: a whole number"),
            ({"limit": "", "seed": "3"}, "the seed draws sessions; say how many"),
            ({"limit": "20", "seed": "x"}, "seed: a whole number"),
            ({"limit": "", "seed": "", "try-list": "", "try-drafts": "", "try-pairs": ""}, "choose a strategy to try"),
        ):
            await fill(pilot, **values)
            await until(pilot, lambda problem=problem: problem in shown(app, "#form-problem"))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("student", "why"),
    [
        ("patterns", "the pattern student is calibrated"),
        ("shipped", "the shipped student names the bundles of the pattern student"),
        ("http://127.0.0.1:1/v1#m", "an endpoint answers in its own way"),
    ],
)
async def test_a_student_without_strategies_says_why(
    student: str, why: str, to_judge: Path, settle: Settle, until: Until
) -> None:
    app = opened(to_judge, "workbench", student)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen))
        await settle(pilot)
        await act(pilot, "session.calibrate")
        assert isinstance(app.screen, SessionScreen)
        assert why in messages(app)


async def test_a_shipped_adapter_says_that_it_has_no_strategies(to_judge: Path, settle: Settle) -> None:
    app = opened(to_judge, "models")
    async with app.run_test() as pilot:
        await settle(pilot)
        app.screen.query_one(RowTable).move_to(1)
        await settle(pilot)
        await act(pilot, "models.calibrate")
        assert isinstance(app.screen, ModelsScreen)
        assert "the shipped student names the bundles of the pattern student" in messages(app)


@pytest.mark.slow
async def test_too_few_sessions_keep_the_values_of_the_form(to_judge: Path, settle: Settle, until: Until) -> None:
    app = opened(to_judge, "models")
    async with app.run_test(size=(120, 50)) as pilot:
        await form_of(pilot, until, settle)
        await fill(pilot, dataset="demo-outdoor", limit="20")
        await act(pilot, "form.done")
        await until(pilot, lambda: "validation sessions to calibrate on; 20 are needed" in shown(app, "#form-problem"))
        assert app.screen.query_one("#field-limit", Input).value == "20"
        await act(pilot, "form.close")
        # For the same student, the form keeps its values; for another, it starts empty.
        await form_of(pilot, until, settle)
        assert app.screen.query_one("#field-dataset", Select).value == "demo-outdoor"
        await act(pilot, "form.close")
        app.screen.query_one(RowTable).move_to(0)
        await form_of(pilot, until, settle)
        assert shown(app, "#dialog-command") == "$ kdtui calibrate --dataset judged --student smollm2"
        assert shown(app, "#form-problem") == ""


def test_a_calibration_shows_the_progress_of_learning(tmp_path: Path) -> None:
    settings = RunSettings("tiny", ("pattern",))
    calibration = CalibrationTask(tmp_path / "kdtui.db", "judged", settings, ["list"], None, 0, lambda _: None)
    calibration.record(LearningProgress("judged", 600, 1024, 3400))
    assert calibration.state == "calibrating tiny + pattern on judged: learning… 30%"
    calibration.record(LearningProgress("judged", 600, 3400, 3400))
    assert "learning" not in calibration.state


@pytest.mark.slow
async def test_a_calibration_continues_after_its_form_closes_and_can_be_stopped(
    to_judge: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threading import Event

    goes_on = Event()
    real_answer = Student.answer

    def answer(self: Student, *arguments: Any) -> Any:
        for event in real_answer(self, *arguments):
            yield event
            assert goes_on.wait(60)

    monkeypatch.setattr(Student, "answer", answer)
    app = opened(to_judge, "models")
    async with app.run_test(size=(160, 50)) as pilot:
        await form_of(pilot, until, settle)
        await act(pilot, "form.done")
        await until(pilot, lambda: "⏳ calibrating tiny on judged" in shown(app, "#form-remark"))
        await act(pilot, "form.close")
        await act(pilot, "app.samples")
        await settle(pilot)
        assert "⏳ calibrating tiny on judged" in str(app.screen.query_one(TopBar).render())
        await act(pilot, "app.models")
        await form_of(pilot, until, settle)
        assert app.screen.query_one("#field-limit", Input).disabled
        await act(pilot, "task.stop")
        goes_on.set()
        await until(pilot, lambda: "was stopped; nothing has changed" in shown(app, "#form-remark"))
        assert "⏳" not in str(app.screen_stack[0].query_one(TopBar).render())
    db = open_database(to_judge)
    assert not calibrations(db, "judged", RunSettings("tiny"))
    db.close()
