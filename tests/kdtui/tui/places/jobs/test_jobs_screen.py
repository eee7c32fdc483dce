"""The place Jobs: trainings and hosts, their states, and the actions on them."""

import json
import os
from pathlib import Path

import pytest
from textual.widgets import Static

from kdtui.tui.core.dialogs import ConfirmDialog, TextDialog
from kdtui.tui.places.jobs.screen import JobsScreen
from kdtui.tui.widgets.readable import Readable
from models.sft.job_files import EXIT_CODE, LOG, METRICS, PID
from models.sft.processes import start_trainer
from models.sft.state import JobStatus
from store.database import open_database
from store.default_adapters import set_default_adapter
from store.models import NamedModel, add_model
from store.records import TrainingSettings
from tests.support.acting import act
from tests.support.jobs_place import (
    HOSTILE,
    LONG,
    SIZES,
    app_at_jobs,
    is_idle,
    job_rows,
    make_job,
    metrics,
    register_host,
)
from tests.support.screens import Settle, Until, messages, shown, text_of
from tests.support.stubborn_process import stubborn

# The list


@pytest.mark.parametrize("size", SIZES)
async def test_an_empty_store_says_what_to_do_first(empty_store: Path, settle: Settle, size: tuple[int, int]) -> None:
    app = app_at_jobs(empty_store)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert "kdtui demo" in shown(app, "#notice")
        assert "kdtui host add NAME --ssh ALIAS" in shown(app, "#no-hosts")
        await act(pilot, "jobs.new")
        await settle(pilot)
        assert "there is no dataset yet; D imports the demo, and i your own sessions" in messages(app)
        await act(pilot, "jobs.check")
        await act(pilot, "training.cancel")
        await settle(pilot)
        assert "there is no host; kdtui host add" in messages(app)
        assert "there is no training" in messages(app)


async def test_with_a_dataset_a_key_starts_the_first_training(demo_store: Path, settle: Settle) -> None:
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "There is no training yet. n starts one" in shown(app, "#notice")


@pytest.mark.parametrize("size", SIZES)
async def test_trainings_are_listed_in_all_their_states(
    demo_store: Path, settle: Settle, until: Until, sleeper: str, size: tuple[int, int]
) -> None:
    make_job(demo_store, "fresh", {})
    make_job(demo_store, "ended", {EXIT_CODE: "0", METRICS: metrics(40)})
    make_job(demo_store, "halted", {EXIT_CODE: "143", METRICS: metrics(7)})
    make_job(demo_store, "wild", {EXIT_CODE: "1", LOG: f"step 1\n{HOSTILE}\n"})
    quiet = make_job(demo_store, "quiet", {PID: sleeper, METRICS: metrics(3)})
    os.utime(quiet / PID, (0, 0))
    make_job(
        demo_store, "busy", {PID: sleeper, METRICS: metrics(10)}, TrainingSettings(("a", LONG), "pairs", ("rule",))
    )
    app = app_at_jobs(demo_store)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        found = {row[0]: row for row in job_rows(app)}
        assert list(found) == ["busy", "quiet", "wild", "halted", "ended", "fresh"]
        assert [found[name][2] for name in found] == [
            "▶ running",
            "! stalled",
            "✗ failed",
            "■ stopped",
            "✓ done",
            "○ created",
        ]
        assert found["busy"][3:7] == ["10/40", "0.200", "0.625", "0:01:01"]
        await pilot.press("j", "j")
        await settle(pilot)
        about = shown(app, "#about")
        assert "[red]x[/] red" in about
        assert "\x1b" not in about
        assert app.screen.query_one("#aside").display == (size[0] >= 120)
        await pilot.resize_terminal(*SIZES[1 - SIZES.index(size)])
        # Textual waits a moment for the last of several sizes.
        await until(pilot, lambda: app.screen.query_one("#aside").display == (size[0] < 120))


async def test_an_unreadable_store_is_reported(empty_store: Path, settle: Settle) -> None:
    empty_store.write_text("this is no database, whatever its name says. " * 100)
    app = app_at_jobs(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "kdtui.db" in shown(app, "#notice")


@pytest.mark.slow
async def test_trainings_on_this_machine_are_watched_while_the_screen_is_visible(
    demo_store: Path, settle: Settle, sleeper: str, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdtui.tui.places.jobs.screen._TICK", 0.02)
    folder = make_job(demo_store, "busy", {PID: sleeper, METRICS: metrics(3)})
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await until(
            pilot, lambda: isinstance(app.screen, JobsScreen) and bool(job_rows(app)) and job_rows(app)[0][3] == "3/40"
        )
        (folder / METRICS).write_text(metrics(20))
        await until(pilot, lambda: job_rows(app)[0][3] == "20/40")
        # The screen is not visible, so nothing is read.
        await act(pilot, "app.models")
        await until(pilot, lambda: not isinstance(app.screen, JobsScreen))
        await settle(pilot)
        (folder / EXIT_CODE).write_text("0")
        await settle(pilot)
        jobs = app.get_screen_stack("jobs")[0]
        assert isinstance(jobs, JobsScreen)
        assert jobs.training is not None
        assert jobs.training.status.state == "running"
        await act(pilot, "app.jobs")
        await until(pilot, lambda: job_rows(app)[0][2] == "✓ done")


# Actions on a training


async def test_unavailable_actions_say_why(demo_store: Path, settle: Settle, sleeper: str) -> None:
    register_host(demo_store, "far")
    status = JobStatus("done", 40, 40)
    make_job(demo_store, "away", {}, host="far", status=status)
    make_job(demo_store, "ended", {EXIT_CODE: "0"})
    make_job(demo_store, "busy", {PID: sleeper})
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        for action in ("resume", "adapter", "fetch", "remove"):
            await act(pilot, f"training.{action}")
        await pilot.press("j")
        for action in ("cancel", "resume", "fetch"):
            await act(pilot, f"training.{action}")
        await settle(pilot)
        for why in (
            "training busy is running already",
            "training busy has no adapter yet; it is running",
            "training busy does not run on a host; its adapter is written on this machine",
            "training busy is running; stop it first",
            "training ended is not running; it is done",
            "training ended is done",
        ):
            assert why in messages(app)


async def test_a_training_is_stopped_and_deleted_after_confirmation(
    demo_store: Path, settle: Settle, sleeper: str, until: Until
) -> None:
    folder = make_job(demo_store, "busy", {PID: sleeper, LOG: "hello\n"})
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "training.cancel")
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("n")
        assert job_rows(app)[0][2] == "▶ running"
        await act(pilot, "training.cancel")
        await pilot.press("y")
        await until(pilot, lambda: job_rows(app)[0][2] == "■ stopped")
        assert "training busy has stopped" in messages(app)
        await until(pilot, lambda: is_idle(app) and not shown(app, "#doing"))
        await act(pilot, "training.remove")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: not folder.exists() and "deleted training busy" in messages(app))
        await until(pilot, lambda: "There is no training yet" in shown(app, "#notice"))


async def test_deleting_a_training_says_which_datasets_lose_their_default(
    demo_store: Path, settle: Settle, until: Until
) -> None:
    folder = make_job(demo_store, "ended", {EXIT_CODE: "1"})
    db = open_database(demo_store)
    add_model(db, NamedModel("ended", folder / "ended.gguf", "", made=False, kind="adapter"))
    set_default_adapter(db, "demo-outdoor", "ended")
    db.close()
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "training.remove")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        question = " ".join(" ".join(text_of(each) for each in app.screen.query(Static)).split())
        uses = "The adapter is the default adapter of demo-outdoor, which the shipped student answers from then on."
        assert uses in question


async def test_the_wait_for_a_stopping_training_is_shown_and_the_same_key_kills_it(
    demo_store: Path, until: Until, tmp_path: Path
) -> None:
    folder = make_job(demo_store, "busy", {LOG: "step 3 of 40\n"})
    start_trainer(folder, python=str(stubborn(tmp_path)))
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await until(pilot, lambda: bool(job_rows(app)) and job_rows(app)[0][2] == "▶ running")
        await act(pilot, "training.cancel")
        await pilot.press("y")
        await until(pilot, lambda: "waiting for busy to stop: 1 s of 120, then it is killed" in shown(app, "#doing"))
        assert "step 3 of 40" in shown(app, "#doing")
        await act(pilot, "training.remove")
        assert "the training is busy: " in messages(app)
        await act(pilot, "training.cancel")
        assert isinstance(app.screen, ConfirmDialog)
        assert "kdtui sft cancel --now busy" in app.screen.command
        await pilot.press("y")
        await until(pilot, lambda: job_rows(app)[0][2] == "■ stopped")
        await until(pilot, lambda: "training busy has stopped: killed at once, without a checkpoint" in messages(app))
        await until(pilot, lambda: not shown(app, "#doing"))


async def test_a_trainer_that_does_not_start_is_reported_in_one_sentence(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.sft.processes.sys.executable", "/bin/false")
    make_job(demo_store, "halted", {EXIT_CODE: "143"})
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "training.resume")
        await until(pilot, lambda: "the trainer did not start" in messages(app))


async def test_the_manifest_shows_the_files_of_a_training(demo_store: Path, settle: Settle, until: Until) -> None:
    make_job(demo_store, "fresh", {"job.json": json.dumps({"base": f"here {LONG}", "seed": 7})})
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "training.manifest")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        text = str(app.screen.query_one("VerticalScroll Static", Static).content)
        assert '"seed": 7' in text
        assert "no adapter yet: the training was not started; R starts it" in text
        assert "\x1b" not in text


BUSY, BEGUN = "somebody is at work", {METRICS: metrics(10)}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            {PID: BUSY, **BEGUN},
            "no adapter yet: the training is running, at step 10 of 40, and writes its adapter at the end",
        ),
        ({PID: BUSY}, "no adapter yet: the training is running, and writes its adapter at the end"),
        ({EXIT_CODE: "143", **BEGUN}, "no adapter yet: the training has stopped, at step 10 of 40; R resumes it"),
        ({EXIT_CODE: "1"}, "no adapter yet: the training has failed; R resumes it"),
        ({EXIT_CODE: "0"}, "No such file or directory"),
    ],
)
async def test_without_an_adapter_the_manifest_says_why_and_what_to_do(
    demo_store: Path, settle: Settle, until: Until, sleeper: str, files: dict[str, str], says: str
) -> None:
    make_job(demo_store, "mine", {name: sleeper if text == BUSY else text for name, text in files.items()})
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "training.manifest")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        text = str(app.screen.query_one(Readable).content)
        assert says in text
        assert '"base": "x"' in text, "what it is made of is known"


async def test_the_manifest_says_that_an_adapter_is_still_on_its_host(
    demo_store: Path, settle: Settle, until: Until
) -> None:
    register_host(demo_store, "far", "nowhere.invalid")
    make_job(demo_store, "away", {}, host="far", status=JobStatus("done", 40, 40))
    app = app_at_jobs(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "training.manifest")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        assert "the adapter is still on far; F fetches it" in str(app.screen.query_one(Readable).content)
