"""Forms start with the current dataset, and trying a piece does not change the workbench."""

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Checkbox, Input, Select

from kdtui.tui.app import KdtuiApp
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.memory import Memory
from kdtui.tui.places.knowledge.piece import PieceDialog
from kdtui.tui.places.knowledge.screen import KnowledgeScreen
from kdtui.tui.places.workbench.session_screen import SessionScreen
from kdtui.tui.widgets.row_table import RowTable
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import distill_annotations
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.knowledge.sample import create_sample
from store.database import open_database
from store.records import RunSettings, TrainingSettings
from store.runs import start_run
from tests.support.acting import act
from tests.support.jobs_place import make_job
from tests.support.screens import Settle, Until
from tests.support.stores import OUTDOOR, copy_store

PLACES = {"distill": "distill.new", "samples": "samples.create", "runs": "runs.new", "jobs": "jobs.new"}
"""The action that opens the form of a place."""


@pytest.fixture(scope="module")
def filled_store(mined_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for copies, with the dataset `demo-outdoor` and the dataset `trail`, and rows of both in all places."""
    path = tmp_path_factory.mktemp("two datasets") / "kdtui.db"
    copy_store(mined_store, path)
    db = open_database(path)
    list(import_dataset(db, OUTDOOR, "trail"))
    mine_patterns(db, "trail")
    for name in ("demo-outdoor", "trail"):
        list(distill_annotations(db, name, ["rule"]))
        create_sample(db, f"of {name}", [name], ["rule"], strategy="random", ratio=1, seed=0, student="smollm2")
        start_run(db, name, "test", "patterns", RunSettings("patterns"))
    db.close()
    for name in ("demo-outdoor", "trail"):
        make_job(path, f"of-{name}", {"exit_code": "0"}, TrainingSettings((name,)))
    return path


@pytest.fixture
def two_datasets(filled_store: Path, empty_store: Path) -> Path:
    """A copy of that store."""
    copy_store(filled_store, empty_store)
    return empty_store


def begun_with(app: KdtuiApp) -> list[str]:
    """Return the initial datasets of the form on the screen."""
    if switches := [box for box in app.screen.query(Checkbox) if (box.id or "").startswith("field-dataset-")]:
        return [name for name, box in zip(("demo-outdoor", "trail"), switches, strict=True) if box.value]
    if fields := app.screen.query("#field-datasets"):
        return fields.only_one(Input).value.split(", ")
    return [str(app.screen.query_one("#field-dataset", Select).value)]


def opened(store: Path, place: str, dataset: str | None = None) -> KdtuiApp:
    memory = Memory(None, store)
    memory.place = place
    if dataset is not None:
        memory.of("workbench")["dataset"] = dataset
    return KdtuiApp(store, memory=memory)


async def form_of(pilot: Pilot[None], place: str, settle: Settle, until: Until) -> list[str]:
    await act(pilot, f"app.{place}")
    await settle(pilot)
    await act(pilot, PLACES[place])
    await until(pilot, lambda: isinstance(pilot.app.screen, FormDialog))
    datasets = begun_with(pilot.app)  # type: ignore[arg-type]
    await act(pilot, "form.close")
    await settle(pilot)
    return datasets


@pytest.mark.slow
async def test_every_form_starts_with_the_dataset_of_the_workbench(
    two_datasets: Path, settle: Settle, until: Until
) -> None:
    app = opened(two_datasets, "workbench")
    async with app.run_test() as pilot:
        await settle(pilot)
        for dataset in ("trail", "demo-outdoor"):
            await act(pilot, "app.workbench")
            app.screen.query_one("#dataset", Select).value = dataset
            await settle(pilot)
            for place in PLACES:
                assert await form_of(pilot, place, settle, until) == [dataset], place


async def test_forms_know_the_dataset_of_the_workbench_before_it_is_opened(
    two_datasets: Path, settle: Settle, until: Until
) -> None:
    app = opened(two_datasets, "runs", "trail")
    async with app.run_test() as pilot:
        await settle(pilot)
        for place in PLACES:
            assert await form_of(pilot, place, settle, until) == ["trail"], place


@pytest.mark.slow
@pytest.mark.parametrize("place", ["samples", "runs", "jobs", "knowledge"])
async def test_the_row_under_the_cursor_sets_the_current_dataset(
    place: str, two_datasets: Path, settle: Settle, until: Until
) -> None:
    app = opened(two_datasets, "workbench", "trail")
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, f"app.{place}")
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, KnowledgeScreen) or place != "knowledge"
        for dataset in ("demo-outdoor", "trail"):
            await pilot.press("home")
            rows = app.screen.query(RowTable).first().row_count
            while list(screen.datasets_under_cursor) != [dataset]:  # type: ignore[attr-defined]
                await pilot.press("down")
                assert (rows := rows - 1) > 0, f"no row is about {dataset}"
            await settle(pilot)
            assert await form_of(pilot, "runs", settle, until) == [dataset]
            await act(pilot, f"app.{place}")


async def test_no_form_starts_with_a_deleted_dataset(two_datasets: Path, settle: Settle, until: Until) -> None:
    app = opened(two_datasets, "distill", "gone")
    app.memory.of("distill")["form"] = {"dataset": "trail", "formats": "rule"}
    async with app.run_test() as pilot:
        await settle(pilot)
        # The form was used with this dataset last.
        assert await form_of(pilot, "distill", settle, until) == ["trail"]


async def test_trying_a_piece_does_not_change_the_workbench(two_datasets: Path, settle: Settle, until: Until) -> None:
    app = opened(two_datasets, "workbench", "trail")
    async with app.run_test() as pilot:
        await settle(pilot)
        app.screen.query_one("#filter", Input).value = "tent"
        await settle(pilot)
        await pilot.press("down", "down")
        before = app.choice
        remembered = repr(app.memory.of("workbench")), repr(app.memory.of("session"))
        row = app.screen.query_one("#sessions").cursor_row  # type: ignore[attr-defined]
        app.show_knowledge("format:pattern dataset:demo-outdoor")
        await settle(pilot)
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, PieceDialog))
        await act(pilot, "piece.try_it")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen))
        await settle(pilot)
        # A choice on this screen is only for the trial.
        await act(pilot, "session.cancel")
        await act(pilot, "session.next_student")
        await act(pilot, "session.other_side")
        await act(pilot, "session.next_student")
        assert app.choice == before
        await act(pilot, "app.workbench")
        await settle(pilot)
        assert app.screen.query_one("#dataset", Select).value == "trail"
        assert app.screen.query_one("#filter", Input).value == "tent"
        assert app.screen.query_one("#sessions").cursor_row == row  # type: ignore[attr-defined]
        assert (repr(app.memory.of("workbench")), repr(app.memory.of("session"))) == remembered
        await act(pilot, "table.select")
        await settle(pilot)
        assert isinstance(app.screen, SessionScreen)
        assert "--sample" not in app.screen.command
        assert "--dataset trail" in app.screen.command


async def test_closing_a_trial_leads_back_to_the_piece(two_datasets: Path, settle: Settle, until: Until) -> None:
    app = opened(two_datasets, "knowledge")
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, PieceDialog))
        for _ in range(2):
            await act(pilot, "piece.try_it")
            await until(pilot, lambda: isinstance(app.screen, SessionScreen))
            await settle(pilot)
            while isinstance(app.screen, SessionScreen):
                await pilot.press("escape")
                await settle(pilot)
            assert isinstance(app.screen, PieceDialog)
        assert app.current_mode == "knowledge"
