"""A study runs from its screen: it begins, pauses, stops, continues, and retries."""

import fcntl
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, Select

from kdtui.tui.core.dialogs import ConfirmDialog
from kdtui.tui.core.forms import FormDialog
from kdtui.tui.places.studies.screen import StudiesScreen
from kdtui.tui.places.studies.study_screen import StudyScreen
from kdtui.workflows.student import open as student_open
from kdtui.workflows.studies.lock import runner_of, study_lock
from kdtui.workflows.studies.spec_files import changed_spec, to_toml
from models.errors import ModelError
from store.database import open_database
from store.predictions import failures
from store.records import RunSettings
from store.runs import delete_run, get_run
from store.sqlite import Database
from store.studies import begin_step, fail_step, get_study, steps_of_kind
from tests.support.acting import act, rest
from tests.support.commands import Kdtui
from tests.support.needs import needs_tmux
from tests.support.real_terminal import opened as opened_in_a_terminal
from tests.support.screens import Settle, Until, content_of, toasts
from tests.support.studies_place import STUDY, about, app_at_studies, matrix_cells, open_study_screen, study_rows, work
from tests.support.tiny_studies import small


async def test_the_form_shows_the_plan_and_the_command_before_anything_begins(
    unrun: Path, study_base: Path, settle: Settle, until: Until
) -> None:
    app = app_at_studies(unrun, students=str(study_base))
    async with app.run_test(size=(120, 60)) as pilot:
        await settle(pilot)
        await act(pilot, "studies.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await until(pilot, lambda: "5 cells, each over 2 of outdoor (test)" in content_of(app, "#form-description"))
        assert "replacing the one of this name" in content_of(app, "#form-description")
        assert "trainings 0 of 2 done" in content_of(app, "#form-description")
        app.screen.query_one("#field-seeds", Input).value = "2"
        app.screen.query_one("#field-split", Select).value = "valid"
        await until(pilot, lambda: "of outdoor (valid)" in content_of(app, "#form-description"))
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
            assert content_of(app, "#form-problem") == problem
            line.value = before
            await rest(pilot)
    db = open_database(unrun)
    assert db.execute("SELECT count(*) FROM study_steps").fetchone()[0] == 0
    db.close()


async def test_the_form_says_that_a_file_does_not_describe_a_study(
    unrun: Path, tmp_path: Path, settle: Settle, until: Until
) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\nfromats = 1\n')
    app = app_at_studies(unrun, source="", file=str(tmp_path / "mine.toml"))
    async with app.run_test(size=(120, 60)) as pilot:
        await settle(pilot)
        await act(pilot, "studies.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await until(pilot, lambda: "there is no field 'fromats' here" in content_of(app, "#form-description"))
        await act(pilot, "form.done")
        await until(pilot, lambda: any("there is no field 'fromats' here" in each for each in toasts(app)))
        assert isinstance(app.screen, StudiesScreen)


async def test_another_study_of_the_same_name_is_replaced_only_after_confirmation(
    finished: Database, study_base: Path, settle: Settle, until: Until
) -> None:
    assert finished.path is not None
    before = get_study(finished, STUDY).spec
    app = app_at_studies(finished.path, students=str(study_base), split="valid", sessions="1")
    async with app.run_test(size=(120, 60)) as pilot:
        await settle(pilot)
        await act(pilot, "studies.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await until(pilot, lambda: f"study {STUDY} is another one, from rq3" in content_of(app, "#form-description"))
        await act(pilot, "form.done")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        assert "study run --replace rq3 --dataset outdoor" in app.screen.command  # type: ignore[attr-defined]
        await act(pilot, "confirm.no")
        await settle(pilot)
        assert work(app) is None
    assert get_study(finished, STUDY).spec == before


@pytest.mark.slow
async def test_a_study_from_the_form_runs_and_its_matrix_fills(
    unanswered: Path, study_base: Path, tmp_path: Path, settle: Settle, until: Until
) -> None:
    spec = changed_spec(small("rq3", study_base), name="mine")
    (tmp_path / "mine.toml").write_text(to_toml(spec))
    app = app_at_studies(unanswered, source="", file=str(tmp_path / "mine.toml"))
    async with app.run_test(size=(120, 60)) as pilot:
        await settle(pilot)
        await act(pilot, "studies.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await act(pilot, "form.done")
        await until(pilot, lambda: work(app) is not None)
        await until(pilot, lambda: any(row[0] == "mine" for row in study_rows(app)))
        app.show_in_place("studies", "mine")
        await until(pilot, lambda: isinstance(app.screen, StudyScreen))
        # Its progress is shown in every place.
        await act(pilot, "app.runs")
        await until(pilot, lambda: "study mine: " in str(app.screen.query_one("TopBar").render()))
        await act(pilot, "app.studies")
        await until(pilot, lambda: 0 < sum(each.startswith(".") for each in matrix_cells(app)) < 4)
        await until(pilot, lambda: "study mine is complete" in toasts(app))
        await until(pilot, lambda: all(each.startswith(("0", ".")) for each in matrix_cells(app)))
        await until(pilot, lambda: "✓ complete, 5 of 5 cells" in content_of(app, "#title"))
    db = open_database(unanswered)
    assert get_study(db, "mine").source == str(tmp_path / "mine.toml")
    db.close()


@pytest.mark.slow
async def test_a_study_is_paused_resumed_stopped_and_continued(unanswered: Path, settle: Settle, until: Until) -> None:
    app = app_at_studies(unanswered)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        assert set(matrix_cells(app)) == {"○ again"}
        await act(pilot, "study.run")
        await until(pilot, lambda: work(app) is not None)
        await act(pilot, "study.pause")
        study_run = work(app)
        assert study_run is not None
        await until(pilot, lambda: "paused" in study_run.state)
        assert "‖ paused" in content_of(app, "#title")
        done = study_run.changes
        # No other study starts while this one is paused.
        await act(pilot, "study.run")
        assert any("is running" in each for each in toasts(app))
        assert study_run.changes == done
        await act(pilot, "study.resume")
        await until(pilot, lambda: any(each.startswith(".") for each in matrix_cells(app)))
        await act(pilot, "study.cancel")
        await until(pilot, lambda: work(app) is None)
        assert any("was stopped; finished work is kept" in each for each in toasts(app))
        await until(pilot, lambda: "unfinished" in content_of(app, "#title"))
        await act(pilot, "study.run")
        await until(pilot, lambda: f"study {STUDY} is complete" in toasts(app))
        await until(pilot, lambda: all(each.startswith(("0", ".")) for each in matrix_cells(app)))
    db = open_database(unanswered)
    assert db.execute("SELECT count(*) FROM runs").fetchone()[0] == 5
    db.close()


@pytest.mark.slow
async def test_failures_are_reported_at_once_and_in_full_and_a_key_retries_them(
    unanswered: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = student_open.open_student

    def full(db: Database, dataset: str | None, settings: RunSettings, *tell: Any) -> Any:
        if settings.adapters and not settings.knowledge:
            raise ModelError("no room on the disk, [red]not[/] at all")
        return really_open(db, dataset, settings, *tell)

    app = app_at_studies(unanswered)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        with monkeypatch.context() as broken:
            broken.setattr(student_open, "open_student", full)
            await act(pilot, "study.run")
            await until(pilot, lambda: any("no room on the disk, [red]not[/] at all" in each for each in toasts(app)))
            await until(pilot, lambda: work(app) is None)
        assert any("2 steps failed, and the steps that need them were left out" in each for each in toasts(app))
        await until(pilot, lambda: matrix_cells(app)[2] == "✗ failed")
        await pilot.press("l", "l")
        await settle(pilot)
        assert "failed: no room on the disk, [red]not[/] at all" in " ".join(about(app).split())
        await act(pilot, "study.run")
        assert any("only failed steps are left; F retries them" in each for each in toasts(app))
        await act(pilot, "study.retry")
        await until(pilot, lambda: f"study {STUDY} is complete" in toasts(app))
        await until(pilot, lambda: all(each.startswith((".", "0")) for each in matrix_cells(app)))


async def test_a_cell_with_a_failed_training_is_blocked_and_names_the_training(
    finished: Database, settle: Settle, until: Until
) -> None:
    assert finished.path is not None
    delete_run(finished, 3)
    [(training,)] = finished.execute(
        "SELECT key FROM study_steps WHERE kind = 'training' AND settings LIKE '%\"rule\"%'"
    ).fetchall()
    fail_step(finished, training, "no room on the disk")
    app = app_at_studies(finished.path)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        assert matrix_cells(app)[2] == "■ blocked"
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
    app = app_at_studies(finished.path)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        sign, amount = matrix_cells(app)[2].split(" ")
        done, of = amount.split("/")
        assert sign == "◔"
        assert int(done) == int(of) > 0
        # Another cell of the same training stays done.
        assert matrix_cells(app)[3].startswith((".", "0"))


async def test_a_study_that_another_process_runs_is_shown_as_such_and_not_run(unrun: Path, settle: Settle) -> None:
    lock = unrun.with_name(f"{unrun.name}.study-lock")
    app = app_at_studies(unrun)
    with lock.open("w") as file:
        file.write(f"4711\n{STUDY}\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        async with app.run_test(size=(120, 36)) as pilot:
            await settle(pilot)
            assert study_rows(app)[0][-1] == "▶ running (process 4711)"
            await act(pilot, "study.run")
            assert toasts(app) == ["process 4711 runs the study; stop it there"]


async def test_a_study_does_not_run_while_another_process_runs_another_study(
    unrun: Path, settle: Settle, until: Until
) -> None:
    app = app_at_studies(unrun)
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
    app = app_at_studies(unrun)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        await act(pilot, "study.run")
        await until(pilot, lambda: work(app) is not None)
        await act(pilot, "study.pause")
    [farewell] = app.farewells
    assert farewell.endswith(f"this resumes it: kdtui study run {STUDY}")


@pytest.mark.slow
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


async def test_the_key_for_retries_retries_failed_sessions_of_a_finished_cell(
    finished: Database, settle: Settle, until: Until
) -> None:
    assert finished.path is not None
    with finished.atomic():
        finished.execute("UPDATE predictions SET bundles = NULL, error = 'out of breath' WHERE run_id = 2")
    app = app_at_studies(finished.path)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        assert study_rows(app)[0][-1] == "✓ complete except 2 sessions"
        await act(pilot, "study.run")
        assert toasts(app)[-1] == "the study is complete except 2 sessions; F retries those"
        await open_study_screen(pilot, settle, until)
        await pilot.press("l")
        await settle(pilot)
        assert "no answer to 2 sessions; o retries 2 of them" in " ".join(about(app).split())
        before = matrix_cells(app)[1]
        await act(pilot, "study.retry")
        await until(pilot, lambda: f"study {STUDY} is complete" in toasts(app))
        assert f"study {STUDY}: retrying 2 sessions" in toasts(app)
        await until(pilot, lambda: "✓ complete, 5 of 5 cells" in content_of(app, "#title"))
        await until(pilot, lambda: "no answer" not in about(app))
        await until(pilot, lambda: matrix_cells(app)[1] != before)
        await act(pilot, "study.retry")
        assert toasts(app)[-1] == "nothing has failed"
    assert failures(finished, get_run(finished, 2)) == []


async def test_a_key_runs_only_the_selected_cell(unanswered: Path, settle: Settle, until: Until) -> None:
    app = app_at_studies(unanswered)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        await pilot.press("l")
        await settle(pilot)
        await act(pilot, "cell.only")
        await until(pilot, lambda: f"study {STUDY}: finished tiny icl pattern+rule+thought" in toasts(app))
        await until(pilot, lambda: matrix_cells(app)[1].startswith((".", "0")))
        assert [each for at, each in enumerate(matrix_cells(app)) if at != 1] == ["○ again"] * 3
        await act(pilot, "cell.only")
        assert toasts(app)[-1] == "the cell is done"
    db = open_database(unanswered)
    assert db.execute("SELECT count(*) FROM runs").fetchone()[0] == 1
    db.close()


async def test_the_command_that_resumes_a_cell_names_it(unanswered: Path, settle: Settle, until: Until) -> None:
    app = app_at_studies(unanswered)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_study_screen(pilot, settle, until)
        await act(pilot, "cell.only")
        await until(pilot, lambda: work(app) is not None)
        begun = work(app)
        assert begun is not None
        assert begun.when_left.endswith(f"kdtui study run --retry-failed {STUDY} --cell 'tiny zero-shot'")
        await until(pilot, lambda: work(app) is None)
