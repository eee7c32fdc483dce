"""Fields without effect on the student are disabled, with the reason, in every form that asks for a student."""

import json
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.memory import Memory
from models.embedded import embedded_student
from models.sft.job_files import ADAPTER
from store.records import RunSettings, TrainingSettings
from tests.support.acting import act, rest
from tests.support.jobs_place import make_job
from tests.support.screens import Settle, Until, fill, shown

KNOWLEDGE = {"pattern", "rule", "thought", "sample", "domains", "neighbours", "near", "budget"}
ABOUT_KNOWLEDGE = {"sample", "domains", "neighbours", "near", "budget"}

FORMS = {"workbench": "session.settings", "runs": "runs.new", "models": "models.calibrate"}
"""The places with a form that asks for a student, and the actions that open it."""


@pytest.fixture
def store(demo_store: Path) -> Path:
    """A store with an adapter that writes only intents."""
    job = json.dumps({"base": str(embedded_student())})
    settings = TrainingSettings(("demo-outdoor",), "intents", ("pattern",))
    (make_job(demo_store, "namer", {"job.json": job, "exit_code": "0"}, settings) / ADAPTER).mkdir()
    return demo_store


@pytest.fixture(params=FORMS)
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def opened(pilot: Pilot[None], place: str, settle: Settle, until: Until) -> None:
    await settle(pilot)
    if place == "workbench":
        await pilot.press("enter")
        await settle(pilot)
    await act(pilot, FORMS[place])
    await until(pilot, lambda: isinstance(pilot.app.screen, FormDialog))


def app_at(store: Path, place: str, settings: RunSettings) -> KdtuiApp:
    memory = Memory(None, store)
    memory.place = place
    memory.of("models")["model"] = "smollm2"
    return KdtuiApp(store, settings, memory=memory)


def disabled(app: KdtuiApp) -> set[str]:
    fields: list[Any] = list(app.screen.query(".field > *:disabled"))
    return {str(field.id).removeprefix("field-") for field in fields}


def reason(app: KdtuiApp, field: str) -> str:
    hint = app.screen.query_one(f"#help-{field}")
    return shown(app, f"#help-{field}").strip() if hint.display else ""


async def test_fields_follow_the_student(store: Path, place: str, settle: Settle, until: Until) -> None:
    app = app_at(store, place, RunSettings("smollm2"))
    async with app.run_test(size=(120, 50)) as pilot:
        await opened(pilot, place, settle, until)
        await fill(pilot, student="smollm2")
        assert disabled(app) == {*ABOUT_KNOWLEDGE, "scale"}
        assert reason(app, "sample") == "this needs knowledge: choose a format first"
        await fill(pilot, pattern="yes")
        assert disabled(app) == {"domains", "scale"}
        assert reason(app, "domains") == "this needs a sample: choose one first"
        assert reason(app, "neighbours") == "similar sessions, 1 to 50; 1 by default"
        await fill(pilot, student="shipped")
        assert disabled(app) - {"strategy"} == {*KNOWLEDGE, "adapter", "scale"}
        assert reason(app, "adapter") == "the shipped student has an adapter of its own"
        assert "is shown no knowledge" in reason(app, "pattern")
        # The reason is shown once.
        assert reason(app, "rule") == ""
        await fill(pilot, student="patterns")
        assert disabled(app) - {"strategy"} == {*KNOWLEDGE, "adapter", "scale", "context"}
        await fill(pilot, other="http://host/v1#m")
        assert disabled(app) == {*ABOUT_KNOWLEDGE, "adapter", "scale", "context"}


async def test_fields_follow_an_adapter_that_writes_only_intents(
    store: Path, place: str, settle: Settle, until: Until
) -> None:
    app = app_at(store, place, RunSettings("smollm2"))
    async with app.run_test(size=(120, 50)) as pilot:
        await opened(pilot, place, settle, until)
        await fill(pilot, adapter="namer")
        assert disabled(app) - {"strategy"} == KNOWLEDGE
        assert reason(app, "pattern").startswith("the adapter namer writes only the intents")
        if place == "models":
            assert "there is no strategy to choose" in shown(app, "#form-problem")
        else:
            assert "strategy" in disabled(app)
            assert shown(app, "#form-problem").strip() == ""
            assert shown(app, "#dialog-command").strip().endswith("--student smollm2 --adapter namer --knowledge none")


async def test_an_unused_field_with_a_value_can_be_cleared(store: Path, settle: Settle, until: Until) -> None:
    app = app_at(store, "runs", RunSettings("smollm2"))
    async with app.run_test(size=(120, 50)) as pilot:
        await opened(pilot, "runs", settle, until)
        await fill(pilot, student="smollm2", pattern="yes", budget="50")
        await fill(pilot, pattern="")
        assert "budget" not in disabled(app)
        assert "knowledge that a student is shown" in shown(app, "#form-problem")
        budget = app.screen.query_one("#field-budget", Input)
        app.screen.set_focus(budget)
        await pilot.press("backspace", "backspace")
        await rest(pilot)
        # The field keeps the cursor while the user types.
        assert app.screen.focused is budget
        await pilot.press("tab")
        await fill(pilot, limit="5")
        assert "budget" in disabled(app)
