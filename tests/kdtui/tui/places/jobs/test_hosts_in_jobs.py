"""Hosts in the place Jobs: their checks, and trainings on them."""

from pathlib import Path

import pytest
from rich.text import Text
from textual.widgets import Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.places.jobs.host_dialog import HostDialog
from kdtui.tui.places.jobs.screen import JobsScreen
from kdtui.tui.places.jobs.training_screen import TrainingScreen
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.readable import Readable
from kdtui.workflows.training.plan import TrainingPlan, jobs_folder, prepare_training
from models.sft.job_files import EXIT_CODE, LAUNCH, LOG
from models.sft.state import JobStatus
from store.database import open_database
from store.records import TrainingSettings
from tests.support import sshd
from tests.support.acting import act
from tests.support.jobs_place import (
    SIZES,
    app_at_jobs,
    is_idle,
    job_rows,
    log,
    make_job,
    register_host,
    wait_for,
)
from tests.support.needs import needs_sshd
from tests.support.screens import Settle, Until, messages, rows, shown, toasts
from tests.support.tiny import make_model


@pytest.mark.parametrize("size", SIZES)
async def test_the_findings_of_a_host_are_shown_as_they_come(
    demo_store: Path, settle: Settle, until: Until, tmp_path: Path, quick: Path, size: tuple[int, int]
) -> None:
    register_host(demo_store, "login", workdir=tmp_path / "work", python=quick)
    app = app_at_jobs(demo_store)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert rows(app, "#hosts")[0][:4] == ["login", "this machine", "direct", "not asked yet"]
        jobs = app.screen
        assert isinstance(jobs, JobsScreen)
        await act(pilot, "jobs.check")
        assert isinstance(app.screen, HostDialog) == (size[0] < 120)
        await until(pilot, lambda: "✓ clock" in jobs.host_details("login").plain)
        if size[0] < 120:
            await until(
                pilot, lambda: "GB free below" in str(app.screen.query_one("VerticalScroll Static", Static).content)
            )
            await pilot.press("escape")
        else:
            assert "GB free below" in shown(app, "#about")
            assert app.screen.query_one("#command", Static)
            assert jobs.command == "kdtui host check login"
        await until(pilot, lambda: rows(app, "#hosts")[0][3] == "✓ reachable")
        assert "GB free" in rows(app, "#hosts")[0][4]
    # It is remembered when the program starts again.
    app = KdtuiApp(demo_store, memory=app.memory)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert "GB free" in rows(app, "#hosts")[0][4]


def available(app: KdtuiApp) -> list[str]:
    """Return the keys that the footer shows as possible."""
    return [hint.id or "" for hint in app.screen.query_one(Footer)._hints if hint.enabled]


async def test_with_the_cursor_on_a_host_no_key_acts_on_a_training(demo_store: Path, settle: Settle) -> None:
    register_host(demo_store, "far")
    make_job(demo_store, "ended", {EXIT_CODE: "1"})
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        jobs = app.screen
        assert isinstance(jobs, JobsScreen)
        assert "training.resume" in available(app)
        await pilot.press("tab")
        await settle(pilot)
        assert "training.resume" not in available(app)
        for action in ("cancel", "resume", "fetch", "adapter", "default", "remove", "manifest"):
            assert jobs.why_not(action) == "the cursor is on a host"
        await act(pilot, "training.remove")
        await settle(pilot)
        assert app.screen is jobs
        assert "the cursor is on a host" in toasts(app)
        await pilot.press("shift+tab")
        await settle(pilot)
        assert "training.resume" in available(app)


async def test_a_finding_that_comes_before_the_dialog_is_laid_out_is_shown(demo_store: Path, settle: Settle) -> None:
    app = app_at_jobs(demo_store)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        dialog = HostDialog("login", Text("not asked yet"))
        app.push_screen(dialog)
        dialog.show(Text("✓ reachable"))
        await settle(pilot)
        assert str(dialog.query_one(Readable).content) == "✓ reachable"


async def test_a_host_that_does_not_answer_blocks_nothing(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_host(demo_store, "dead", ssh="nobody-there.invalid")
    status = JobStatus("running", 5, 40, 1.5)
    make_job(demo_store, "far", {}, host="dead", status=status)
    monkeypatch.setenv("KDTUI_SSH_COMMAND", "ssh -F none -o ConnectTimeout=1")
    app = app_at_jobs(demo_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        assert job_rows(app)[0][:5] == ["far", "dead", "▶ running", "5/40", "1.500"]
        await until(pilot, lambda: rows(app, "#hosts")[0][3].startswith("✗ host dead"))
        await act(pilot, "training.cancel")
        await pilot.press("y")
        await until(pilot, lambda: "host dead" in messages(app))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: isinstance(app.screen, HostDialog))
        assert "✗ host dead" in str(app.screen.query_one("VerticalScroll Static", Static).content)


@pytest.mark.slow
async def test_a_hanging_host_does_not_keep_the_program_from_ending(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("KDTUI_SSH_COMMAND", str(hanging))
    register_host(demo_store, "slow", ssh="slow")
    make_job(demo_store, "far", {}, host="slow", status=JobStatus("running", 5, 40, 1.5))
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await until(pilot, lambda: rows(app, "#hosts")[0][3] == "… asking slow")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        running = list(app.activities)
        assert len(running) == 2
        await act(pilot, "job.back")
        # Following stops with the screen, and the question to the host with the program.
        await until(pilot, lambda: sum(activity.is_running for activity in running) == 1)
    assert not any(activity.is_running for activity in running)


# Trainings on a host


@pytest.fixture
def workdir(demo_store: Path, server: sshd.Sshd, tmp_path: Path) -> Path:
    """Return the folder of a host `far` with a real sshd."""
    assert server.process is not None
    folder = tmp_path / "there is space"
    register_host(demo_store, "far", ssh="gpu", workdir=folder)
    return folder


@needs_sshd
@pytest.mark.usefixtures("workdir")
@pytest.mark.slow
async def test_a_training_on_a_host_is_watched_and_its_adapter_is_fetched(
    demo_store: Path, settle: Settle, tmp_path: Path
) -> None:
    base = make_model(tmp_path / "tiny.gguf")
    settings = TrainingSettings(("demo-outdoor",), epochs=1)
    db = open_database(demo_store)
    # One step is a whole epoch.
    plan = TrainingPlan("away", settings, str(base), learning_rate=0.003, batch_tokens=30000, host="far")
    prepare_training(db, plan, jobs_folder(demo_store))
    db.close()
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert job_rows(app)[0][2] == "○ created"
        await act(pilot, "training.resume")
        assert "starting away (asking far)" in shown(app, "#doing")
        await wait_for(pilot, lambda: "training away runs on far as process" in messages(app))
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, TrainingScreen) and "✓ done" in shown(app, "#title"))
        await wait_for(pilot, lambda: "evaluation at step" in log(app).text)
        assert "its adapter is still on far" in shown(app, "#title")
        await act(pilot, "training.adapter")
        await settle(pilot)
        assert "fetch it first" in messages(app)
        await act(pilot, "training.fetch")
        assert "fetching away from far" in shown(app, "#doing")
        await wait_for(pilot, lambda: "files of training away from far" in messages(app))
        await wait_for(pilot, lambda: "its adapter is still on far" not in shown(app, "#title"))
        assert (demo_store.parent / "jobs" / "away" / "away.gguf").is_file()


@needs_sshd
async def test_a_lost_connection_is_reported_and_restored(
    demo_store: Path,
    workdir: Path,
    server: sshd.Sshd,
    sleeper: str,
    settle: Settle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kdtui.workflows.training.watch.PAUSES", (0.2,))
    monkeypatch.setattr("kdtui.workflows.training.watch._HostSource.growth", 0.1)
    folder = workdir / "jobs" / "long"
    folder.mkdir(parents=True)
    (folder / "id").write_text("long")
    (folder / LAUNCH).write_text(sleeper)
    (folder / LOG).write_text("x" * 200_000 + "\nbefore\n")
    make_job(demo_store, "long", {}, host="far", status=JobStatus("running", 3, 40, 2.0))
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, TrainingScreen) and "before" in log(app).text)
        server.stop()
        await wait_for(pilot, lambda: "retrying" in shown(app, "#title"))
        with (folder / LOG).open("a") as file:
            file.write("meanwhile\n")
        server.start()
        await wait_for(pilot, lambda: "meanwhile" in log(app).text and "retrying" not in shown(app, "#title"))
        await pilot.press("home")
        await wait_for(pilot, lambda: log(app).text.startswith("xxx"))
        await act(pilot, "screen.reload")
        await pilot.press("escape")
        await wait_for(pilot, lambda: is_idle(app))


@needs_sshd
async def test_a_host_is_asked_only_about_active_trainings_and_while_the_screen_is_visible(
    demo_store: Path,
    workdir: Path,
    server: sshd.Sshd,
    settle: Settle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kdtui.tui.places.jobs.screen._TICK", 0.05)
    monkeypatch.setattr("kdtui.tui.places.jobs.screen._ASK", 0.1)
    folder = workdir / "jobs" / "old"
    folder.mkdir(parents=True)
    (folder / "id").write_text("old")
    (folder / EXIT_CODE).write_text("1")
    make_job(demo_store, "old", {}, host="far", status=JobStatus("running", 3, 40, 2.0))
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await wait_for(pilot, lambda: job_rows(app)[0][2] == "✗ failed" and rows(app, "#hosts")[0][3] == "✓ reachable")
        await wait_for(pilot, lambda: is_idle(app))
        asked = server.commands
        for _ in range(20):
            await pilot.pause(0.05)
        assert server.commands == asked
        await act(pilot, "screen.reload")
        await wait_for(pilot, lambda: server.commands > asked)
