"""The place Studies: the list, the matrix of a running study, its cells, and the actions on a study."""

import fcntl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select, Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.config import THEMES
from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.memory import Memory
from kdtui.tui.places.jobs.training_screen import TrainingScreen
from kdtui.tui.places.runs.compared_screen import ComparedRunsScreen
from kdtui.tui.places.runs.run_screen import RunScreen
from kdtui.tui.places.studies.screen import StudiesScreen
from kdtui.tui.places.studies.study_run import StudyRun
from kdtui.tui.places.studies.study_screen import StudyScreen
from kdtui.tui.widgets.matrix import Matrix
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.steady import Pane
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.student import open as student_open
from kdtui.workflows.studies.lock import runner_of, study_lock
from kdtui.workflows.studies.spec_files import changed_spec, to_toml
from models.errors import ModelError
from store.database import open_database
from store.predictions import failures
from store.records import RunSettings
from store.runs import delete_run, get_run
from store.sqlite import Database
from store.studies import begin_step, fail_step, get_study, list_studies, save_study, steps_of_kind
from tests.support.acting import act, rest
from tests.support.commands import Kdtui
from tests.support.needs import needs_tmux
from tests.support.painted import contrast
from tests.support.real_terminal import opened as opened_in_a_terminal
from tests.support.screens import Settle, Until, toasts
from tests.support.tiny_studies import small

STUDY = "rq3-outdoor"


@pytest.fixture
def store(finished: Database) -> Path:
    """Return a store with a finished study, and an unfinished one over the same sessions."""
    assert finished.path is not None
    stored = get_study(finished, STUDY)
    save_study(finished, "wider", stored.spec.replace(f'name = "{STUDY}"', 'name = "wider"', 1), "wider.toml")
    return finished.path


@pytest.fixture
def unrun(db: Database, data: Path, study_base: Path) -> Path:
    """Return a store with sessions, and a study that has not begun."""
    list(import_dataset(db, data, "outdoor"))
    spec = small("rq3", study_base)
    save_study(db, spec.name, to_toml(spec), "rq3")
    assert db.path is not None
    return db.path


@pytest.fixture
def unanswered(finished: Database) -> Path:
    """Return a store in which all trainings of a study are done, and its runs are deleted."""
    for number in range(1, 6):
        delete_run(finished, number)
    assert finished.path is not None
    return finished.path


def opened(path: Path, **form: str) -> KdtuiApp:
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


def text(app: Any, selector: str) -> str:
    content = app.screen.query_one(selector, Static).content
    return str(content)


def about(app: Any) -> str:
    return str(app.screen.query_one("#about", Pane).text)


def rows(app: Any) -> list[list[str]]:
    table = app.screen.query_one("#studies", RowTable)
    found = [table.row_at(number) for number in range(table.row_count)]
    return [[str(cell) for cell in row.cells] for row in found]


def cells(app: Any) -> list[str]:
    """Return the contents of the cells, row by row."""
    shown = matrix(app)
    return [shown.text_of(key) for block in shown._blocks for row in block.keys for key in row if key is not None]


def work(app: Any) -> StudyRun | None:
    task = app.tasks.get("study")
    return task if isinstance(task, StudyRun) and not task.is_over else None


# The list


async def test_studies_are_listed_with_their_progress_and_questions(store: Path, settle: Settle) -> None:
    app = opened(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        assert rows(app) == [
            ["wider", "wider.toml", "outdoor", "test", "5/5", "0", "✓ complete"],
            [STUDY, "rq3", "outdoor", "test", "5/5", "0", "✓ complete"],
        ]
        assert "How is knowledge best used?" in about(app)
        assert "utilization: zero-shot, icl, sft, sft+icl" in about(app)
        assert app.screen.command == "kdtui study show wider"  # type: ignore[attr-defined]


async def test_a_study_without_its_dataset_says_so_and_can_be_deleted(
    finished: Database, settle: Settle, until: Until
) -> None:
    assert finished.path is not None
    finished.execute("DELETE FROM datasets")
    assert finished.conn is not None
    finished.conn.commit()
    app = opened(finished.path)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        assert "there is no dataset 'outdoor'" in rows(app)[0][-1]
        await act(pilot, "study.run")
        assert any("there is no dataset 'outdoor'" in each for each in toasts(app))
        await act(pilot, "study.delete")
        assert isinstance(app.screen, ConfirmDialog)
        assert app.screen.command == f"kdtui study rm {STUDY}"
        await act(pilot, "confirm.yes")
        await until(pilot, lambda: f"study {STUDY} is deleted" in toasts(app))
    assert list_studies(finished) == []


async def test_without_a_study_the_place_says_how_to_begin(unrun: Path, settle: Settle) -> None:
    db = open_database(unrun)
    db.execute("DELETE FROM studies")
    assert db.conn is not None
    db.conn.commit()
    db.close()
    app = opened(unrun)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "kdtui study run rq3 --dataset outdoor" in text(app, "#notice")
        await act(pilot, "study.run")
        assert toasts(app) == ["the cursor is not on a study"]


# The form


async def test_the_form_shows_the_plan_and_the_command_before_anything_begins(
    unrun: Path, study_base: Path, settle: Settle, until: Until
) -> None:
    app = opened(unrun, students=str(study_base))
    async with app.run_test(size=(120, 60)) as pilot:
        await settle(pilot)
        await act(pilot, "studies.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await until(pilot, lambda: "5 cells, each over 2 of outdoor (test)" in text(app, "#form-description"))
        assert "replacing the one of this name" in text(app, "#form-description")
        assert "trainings 0 of 2 done" in text(app, "#form-description")
        app.screen.query_one("#field-seeds", Input).value = "2"
        app.screen.query_one("#field-split", Select).value = "valid"
        await until(pilot, lambda: "of outdoor (valid)" in text(app, "#form-description"))
        expected = f"kdtui study run rq3 --dataset outdoor --student {study_base} --seeds 2 --split valid"
        assert app.screen.command == expected  # type: ignore[attr-defined]
        for name, value, problem in (
            ("seeds", "0", "seeds: a whole number between 1 and 1,000, or nothing for the default"),
            ("datasets", "indoor", "there is no dataset 'indoor'; there are: outdoor"),
            ("hosts", "far", "there is no host 'far'; there are: local"),
        ):
            line = app.screen.query_one(f"#field-{name}", Input)
            before, line.value = line.value, value
            await rest(pilot)
            assert text(app, "#form-problem") == problem
            line.value = before
            await rest(pilot)
    db = open_database(unrun)
    assert db.execute("SELECT count(*) FROM study_steps").fetchone()[0] == 0
    db.close()


async def test_the_form_says_that_a_file_does_not_describe_a_study(
    unrun: Path, tmp_path: Path, settle: Settle, until: Until
) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\nfromats = 1\n')
    app = opened(unrun, source="", file=str(tmp_path / "mine.toml"))
    async with app.run_test(size=(120, 60)) as pilot:
        await settle(pilot)
        await act(pilot, "studies.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await until(pilot, lambda: "there is no field 'fromats' here" in text(app, "#form-description"))
        await act(pilot, "form.done")
        await until(pilot, lambda: any("there is no field 'fromats' here" in each for each in toasts(app)))
        assert isinstance(app.screen, StudiesScreen)


async def test_another_study_of_the_same_name_is_replaced_only_after_confirmation(
    finished: Database, study_base: Path, settle: Settle, until: Until
) -> None:
    assert finished.path is not None
    before = get_study(finished, STUDY).spec
    app = opened(finished.path, students=str(study_base), split="valid", sessions="1")
    async with app.run_test(size=(120, 60)) as pilot:
        await settle(pilot)
        await act(pilot, "studies.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await until(pilot, lambda: f"study {STUDY} is another one, from rq3" in text(app, "#form-description"))
        await act(pilot, "form.done")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "study run --replace rq3 --dataset outdoor" in app.screen.command  # type: ignore[attr-defined]
        await act(pilot, "confirm.no")
        await settle(pilot)
        assert work(app) is None
    assert get_study(finished, STUDY).spec == before


# Running


async def test_a_study_from_the_form_runs_and_its_matrix_fills(
    unanswered: Path, study_base: Path, tmp_path: Path, settle: Settle, until: Until
) -> None:
    spec = changed_spec(small("rq3", study_base), name="mine")
    (tmp_path / "mine.toml").write_text(to_toml(spec))
    app = opened(unanswered, source="", file=str(tmp_path / "mine.toml"))
    async with app.run_test(size=(120, 60)) as pilot:
        await settle(pilot)
        await act(pilot, "studies.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await act(pilot, "form.done")
        await until(pilot, lambda: work(app) is not None)
        await until(pilot, lambda: any(row[0] == "mine" for row in rows(app)))
        app.show_in_place("studies", "mine")
        await until(pilot, lambda: isinstance(app.screen, StudyScreen))
        # Its progress is shown in every place.
        await act(pilot, "app.runs")
        await until(pilot, lambda: "study mine: " in str(app.screen.query_one("TopBar").render()))
        await act(pilot, "app.studies")
        await until(pilot, lambda: 0 < sum(each.startswith(".") for each in cells(app)) < 4)
        await until(pilot, lambda: "study mine is complete" in toasts(app))
        await until(pilot, lambda: all(each.startswith(("0", ".")) for each in cells(app)))
        await until(pilot, lambda: "✓ complete, 5 of 5 cells" in text(app, "#title"))
    db = open_database(unanswered)
    assert get_study(db, "mine").source == str(tmp_path / "mine.toml")
    db.close()


async def test_a_study_is_paused_resumed_stopped_and_continued(unanswered: Path, settle: Settle, until: Until) -> None:
    app = opened(unanswered)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        assert set(cells(app)) == {"○ again"}
        await act(pilot, "study.run")
        await until(pilot, lambda: work(app) is not None)
        await act(pilot, "study.pause")
        study_run = work(app)
        assert study_run is not None
        await until(pilot, lambda: "paused" in study_run.state)
        assert "‖ paused" in text(app, "#title")
        done = study_run.changes
        # No other study starts while this one is paused.
        await act(pilot, "study.run")
        assert any("is running" in each for each in toasts(app))
        assert study_run.changes == done
        await act(pilot, "study.resume")
        await until(pilot, lambda: any(each.startswith(".") for each in cells(app)))
        await act(pilot, "study.cancel")
        await until(pilot, lambda: work(app) is None)
        assert any("was stopped; finished work is kept" in each for each in toasts(app))
        await until(pilot, lambda: "unfinished" in text(app, "#title"))
        await act(pilot, "study.run")
        await until(pilot, lambda: f"study {STUDY} is complete" in toasts(app))
        await until(pilot, lambda: all(each.startswith(("0", ".")) for each in cells(app)))
    db = open_database(unanswered)
    assert db.execute("SELECT count(*) FROM runs").fetchone()[0] == 5
    db.close()


async def test_failures_are_reported_at_once_and_in_full_and_a_key_retries_them(
    unanswered: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = student_open.open_student

    def full(db: Database, dataset: str | None, settings: RunSettings, *tell: Any) -> Any:
        if settings.adapters and not settings.knowledge:
            raise ModelError("no room on the disk, [red]not[/] at all")
        return really_open(db, dataset, settings, *tell)

    app = opened(unanswered)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        with monkeypatch.context() as broken:
            broken.setattr(student_open, "open_student", full)
            await act(pilot, "study.run")
            await until(pilot, lambda: any("no room on the disk, [red]not[/] at all" in each for each in toasts(app)))
            await until(pilot, lambda: work(app) is None)
        assert any("2 steps failed, and the steps that need them were left out" in each for each in toasts(app))
        await until(pilot, lambda: cells(app)[2] == "✗ failed")
        await pilot.press("l", "l")
        await settle(pilot)
        assert "failed: no room on the disk, [red]not[/] at all" in " ".join(about(app).split())
        await act(pilot, "study.run")
        assert any("only failed steps are left; F retries them" in each for each in toasts(app))
        await act(pilot, "study.retry")
        await until(pilot, lambda: f"study {STUDY} is complete" in toasts(app))
        await until(pilot, lambda: all(each.startswith((".", "0")) for each in cells(app)))


async def test_a_cell_with_a_failed_training_is_blocked_and_names_the_training(
    finished: Database, settle: Settle, until: Until
) -> None:
    assert finished.path is not None
    delete_run(finished, 3)
    [(training,)] = finished.execute(
        "SELECT key FROM study_steps WHERE kind = 'training' AND settings LIKE '%\"rule\"%'"
    ).fetchall()
    fail_step(finished, training, "no room on the disk")
    app = opened(finished.path)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        assert cells(app)[2] == "■ blocked"
        await pilot.press("l", "l")
        await settle(pilot)
        shown = " ".join(about(app).split())
        assert "blocked: train tiny with pattern+rule+thought on outdoor failed: no room on the disk" in shown
        assert app.screen.command.startswith("kdtui sft logs study-")  # type: ignore[attr-defined]


async def test_a_cell_that_waits_for_a_training_shows_its_progress(
    finished: Database, settle: Settle, until: Until
) -> None:
    assert finished.path is not None
    delete_run(finished, 3)
    [training] = [each for each in steps_of_kind(finished, "training", state="done", most=9) if "rule" in each.settings]
    begin_step(finished, training.key, training.kind, training.settings, training.basis, training.made)
    app = opened(finished.path)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        sign, amount = cells(app)[2].split(" ")
        done, of = amount.split("/")
        assert sign == "◔"
        assert int(done) == int(of) > 0
        # Another cell of the same training stays done.
        assert cells(app)[3].startswith((".", "0"))


async def test_a_study_that_another_process_runs_is_shown_as_such_and_not_run(unrun: Path, settle: Settle) -> None:
    lock = unrun.with_name(f"{unrun.name}.study-lock")
    app = opened(unrun)
    with lock.open("w") as file:
        file.write(f"4711\n{STUDY}\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        async with app.run_test(size=(120, 36)) as pilot:
            await settle(pilot)
            assert rows(app)[0][-1] == "▶ running (process 4711)"
            await act(pilot, "study.run")
            assert toasts(app) == ["process 4711 runs the study; stop it there"]


async def test_a_study_does_not_run_while_another_process_runs_another_study(
    unrun: Path, settle: Settle, until: Until
) -> None:
    app = opened(unrun)
    with unrun.with_name(f"{unrun.name}.study-lock").open("w") as file:
        file.write("4711\nanother\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        async with app.run_test(size=(120, 36)) as pilot:
            await settle(pilot)
            await act(pilot, "study.run")
            await until(
                pilot, lambda: any("another kdtui runs a study on this database" in each for each in toasts(app))
            )
            assert "(process 4711)" in toasts(app)[-1]


def test_the_process_that_runs_a_study_is_known_while_it_runs(db: Database) -> None:
    assert runner_of(db) is None
    with study_lock(db, "mine"):
        runner = runner_of(db)
        assert runner is not None
        assert runner.study == "mine"
    assert runner_of(db) is None


async def test_a_user_who_leaves_the_app_learns_what_happens_to_the_study(
    unrun: Path, settle: Settle, until: Until
) -> None:
    app = opened(unrun)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        await act(pilot, "study.run")
        await until(pilot, lambda: work(app) is not None)
        await act(pilot, "study.pause")
    [farewell] = app.farewells
    assert farewell.endswith(f"this resumes it: kdtui study run {STUDY}")


@needs_tmux
def test_the_command_shown_when_leaving_resumes_the_study(unanswered: Path, kdtui: Kdtui) -> None:
    with opened_in_a_terminal(unanswered, 160, 40) as terminal:
        terminal.press("8")
        terminal.wait_for("How is knowledge best used?")
        terminal.press("Enter")
        terminal.wait_for("○ again")
        terminal.press("R")
        terminal.wait_for("running")
        terminal.press("p")
        terminal.wait_for("paused, ")
        terminal.press("q")
        assert f"this resumes it: kdtui study run {STUDY}" in " ".join(terminal.wait_for("ended with 0").split())
    assert kdtui("study", "run", STUDY).code == 0
    [row] = kdtui("study", "ls", "--json").rows
    assert row["state"] == "complete"


# The matrix


async def test_the_matrix_shows_formats_and_utilizations_of_one_question_at_a_time(
    store: Path, settle: Settle, until: Until
) -> None:
    app = opened(store)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_study_screen(pilot, settle, until)
        shown = matrix(app)
        [block] = shown._blocks
        assert (block.rows, block.columns) == (("pattern+rule+thought",), ("zero-shot", "icl", "sft", "sft+icl"))
        assert "1/2 How is knowledge best used?" in text(app, "#title")
        await act(pilot, "cell.next_question")
        [block] = matrix(app)._blocks
        assert (block.rows, block.columns) == (("no knowledge", "pattern+rule+thought"), ("sft", "sft+icl"))
        assert "2/2 Does knowledge add" in text(app, "#title")
        await act(pilot, "cell.previous_question")
        assert "1/2 How is" in text(app, "#title")


async def test_keys_move_the_cursor_through_the_cells(store: Path, settle: Settle, until: Until) -> None:
    app = opened(store)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_study_screen(pilot, settle, until)
        await act(pilot, "cell.next_question")
        shown = matrix(app)
        assert shown.at == (0, 0, 0)
        for action, at in (
            ("matrix.right", (0, 0, 1)),
            ("matrix.down", (0, 1, 1)),
            ("matrix.left", (0, 1, 0)),
            ("matrix.up", (0, 0, 0)),
            ("matrix.bottom", (0, 1, 1)),
            ("matrix.top", (0, 0, 0)),
            ("matrix.page_down", (0, 1, 0)),
            ("matrix.page_up", (0, 0, 0)),
        ):
            await ACTS[action](pilot)
            assert shown.at == at, action


ACTS: dict[str, Callable[[Pilot[Any]], Awaitable[None]]] = {
    "matrix.right": lambda pilot: act(pilot, "matrix.right"),
    "matrix.down": lambda pilot: act(pilot, "matrix.down"),
    "matrix.left": lambda pilot: act(pilot, "matrix.left"),
    "matrix.up": lambda pilot: act(pilot, "matrix.up"),
    "matrix.bottom": lambda pilot: act(pilot, "matrix.bottom"),
    "matrix.top": lambda pilot: act(pilot, "matrix.top"),
    "matrix.page_down": lambda pilot: act(pilot, "matrix.page_down"),
    "matrix.page_up": lambda pilot: act(pilot, "matrix.page_up"),
}


async def test_a_key_changes_the_metric_of_the_heat_map(store: Path, settle: Settle, until: Until) -> None:
    app = opened(store)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_study_screen(pilot, settle, until)
        seen = []
        for _ in range(4):
            seen.append((text(app, "#title").splitlines()[2].split(" ▁")[0], cells(app)[0][:4]))
            await act(pilot, "cell.metric")
        assert [name for name, _ in seen] == ["pair F1", "strict precision", "strict recall", "exact"]
        snapshot = study(app).snapshot
        assert snapshot is not None
        row = study(app).scores.of(snapshot, matrix(app).cursor_key or "")
        assert row is not None
        assert row.scores is not None
        assert seen[0][1] == f"{row.scores.pair_f1:.3f}"[1:]
        assert text(app, "#title").splitlines()[2].startswith("pair F1")


@pytest.mark.parametrize("theme", THEMES)
async def test_the_heat_map_is_readable_in_every_theme(store: Path, settle: Settle, until: Until, theme: str) -> None:
    app = opened(store)
    app.theme = theme
    async with app.run_test(size=(80, 24)) as pilot:
        await open_study_screen(pilot, settle, until)
        found = [
            segment
            for line in app.screen._compositor.render_strips()
            for segment in line
            if segment.text.strip("▸ ").startswith(".")
        ]
        assert len(found) >= 4
        assert all(any(level in segment.text for level in "▁▂▃▄▅▆▇█") for segment in found)
        if not theme.startswith("ansi"):
            assert min(map(contrast, found)) > 3


# A cell


async def test_a_cell_opens_its_run_which_leads_back(store: Path, settle: Settle, until: Until) -> None:
    app = opened(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        assert app.screen.command == "kdtui run show 1"  # type: ignore[attr-defined]
        await act(pilot, "matrix.select")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await settle(pilot)
        assert "Run 1" in text(app, "#title")
        assert "▸8 Studies" in str(app.screen.query_one("TopBar").render())
        await act(pilot, "run.back")
        assert isinstance(app.screen, StudyScreen)


async def test_a_cell_opens_its_training_in_the_place_jobs(store: Path, settle: Settle, until: Until) -> None:
    app = opened(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        await act(pilot, "cell.training")
        assert toasts(app) == ["the cell has no training, or none yet"]
        await pilot.press("l", "l")
        await act(pilot, "cell.training")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        assert app.current_mode == "jobs"
        # The study is still open.
        await act(pilot, "app.studies")
        assert isinstance(app.screen, StudyScreen)


async def test_two_marked_cells_are_compared_session_by_session(store: Path, settle: Settle, until: Until) -> None:
    app = opened(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        await act(pilot, "cell.compare")
        assert "mark two cells first" in toasts(app)[-1]
        await act(pilot, "cell.mark")
        await pilot.press("l")
        await act(pilot, "cell.mark")
        assert app.screen.command == "kdtui run compare 1 2"  # type: ignore[attr-defined]
        await act(pilot, "cell.compare")
        await until(pilot, lambda: isinstance(app.screen, ComparedRunsScreen))
        await settle(pilot)
        assert "▸8 Studies" in str(app.screen.query_one("TopBar").render())
        await act(pilot, "compared.back")
        await act(pilot, "cell.back")
        assert isinstance(app.screen, StudiesScreen)


async def test_a_cell_to_run_again_says_why(finished: Database, settle: Settle, until: Until) -> None:
    assert finished.path is not None
    delete_run(finished, 1)
    app = opened(finished.path)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        assert cells(app)[0] == "○ again"
        assert "to do again: run 1 has been deleted" in about(app)
        await act(pilot, "matrix.select")
        assert "there is no run of this cell yet" in toasts(app)[-1]


async def test_changes_of_another_process_appear_without_a_key(
    finished: Database, settle: Settle, until: Until
) -> None:
    assert finished.path is not None
    app = opened(finished.path)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        delete_run(finished, 2)
        await until(pilot, lambda: cells(app)[1] == "○ again")


async def test_a_study_is_found_by_name(store: Path, settle: Settle, until: Until) -> None:
    app = opened(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await act(pilot, "app.knowledge")
        await settle(pilot)
        await act(pilot, "app.palette")
        await pilot.press(*"Study wider")
        await until(pilot, lambda: bool(app.screen.query("OptionList")))
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, StudyScreen))
        assert app.current_mode == "studies"


# Results


async def test_a_key_answers_the_questions_of_a_study(store: Path, settle: Settle, until: Until) -> None:
    app = opened(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await act(pilot, "study.answers")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        shown = " ".join(str(each.content) for each in app.screen.query(Static))
        assert "How is knowledge best used?" in shown
        assert "kdtui study answers wider" in shown


@pytest.mark.parametrize(
    ("kind", "names", "command"),
    [
        ("report", ["wider.html", "wider.md"], "kdtui study report wider --output"),
        ("csv", ["wider.csv"], "kdtui study export wider --output"),
    ],
)
async def test_a_report_or_a_table_is_written_to_a_folder(
    store: Path, tmp_path: Path, settle: Settle, until: Until, kind: str, names: list[str], command: str
) -> None:
    app = opened(store)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await act(pilot, "study.report")
        assert isinstance(app.screen, FormDialog)
        app.screen.query_one("#field-folder", Input).value = str(tmp_path / "out")
        app.screen.query_one("#field-kind", Select).value = kind
        await rest(pilot)
        assert app.screen.command.startswith(f"{command} {tmp_path}/out")
        await act(pilot, "form.done")
        await until(pilot, lambda: any(each.startswith("wrote ") for each in toasts(app)))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


async def test_no_report_is_written_without_a_finished_cell(unrun: Path, settle: Settle) -> None:
    app = opened(unrun)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await act(pilot, "study.report")
        assert toasts(app) == ["no cell of the study is done yet"]


async def test_the_key_for_retries_retries_failed_sessions_of_a_finished_cell(
    finished: Database, settle: Settle, until: Until
) -> None:
    assert finished.path is not None
    with finished.atomic():
        finished.execute("UPDATE predictions SET bundles = NULL, error = 'out of breath' WHERE run_id = 2")
    app = opened(finished.path)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        assert rows(app)[0][-1] == "✓ complete except 2 sessions"
        await act(pilot, "study.run")
        assert toasts(app)[-1] == "the study is complete except 2 sessions; F retries those"
        await open_study_screen(pilot, settle, until)
        await pilot.press("l")
        await settle(pilot)
        assert "no answer to 2 sessions; o retries 2 of them" in " ".join(about(app).split())
        before = cells(app)[1]
        await act(pilot, "study.retry")
        await until(pilot, lambda: f"study {STUDY} is complete" in toasts(app))
        assert f"study {STUDY}: retrying 2 sessions" in toasts(app)
        await until(pilot, lambda: "✓ complete, 5 of 5 cells" in text(app, "#title"))
        await until(pilot, lambda: "no answer" not in about(app))
        await until(pilot, lambda: cells(app)[1] != before)
        await act(pilot, "study.retry")
        assert toasts(app)[-1] == "nothing has failed"
    assert failures(finished, get_run(finished, 2)) == []


async def test_a_key_runs_only_the_selected_cell(unanswered: Path, settle: Settle, until: Until) -> None:
    app = opened(unanswered)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        await pilot.press("l")
        await settle(pilot)
        await act(pilot, "cell.only")
        await until(pilot, lambda: f"study {STUDY}: finished tiny icl pattern+rule+thought" in toasts(app))
        await until(pilot, lambda: cells(app)[1].startswith((".", "0")))
        assert [each for at, each in enumerate(cells(app)) if at != 1] == ["○ again"] * 3
        await act(pilot, "cell.only")
        assert toasts(app)[-1] == "the cell is done"
    db = open_database(unanswered)
    assert db.execute("SELECT count(*) FROM runs").fetchone()[0] == 1
    db.close()


async def test_the_command_that_resumes_a_cell_names_it(unanswered: Path, settle: Settle, until: Until) -> None:
    app = opened(unanswered)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        await act(pilot, "cell.only")
        await until(pilot, lambda: work(app) is not None)
        begun = work(app)
        assert begun is not None
        assert begun.when_left.endswith(f"kdtui study run --retry-failed {STUDY} --cell 'tiny zero-shot'")
        await until(pilot, lambda: work(app) is None)
