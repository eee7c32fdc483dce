"""Trainings and hosts: how they are, what can be done with them, and a log of any size."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widgets import Button, Checkbox, Static

from kdtui.tui.app import KdtuiApp
from kdtui.tui.memory import Memory
from kdtui.tui.screens.dialogs import ConfirmDialog, FormDialog, TextDialog
from kdtui.tui.screens.job import JobScreen
from kdtui.tui.screens.jobs import HostDialog, JobsScreen
from kdtui.tui.widgets.curve import Curve, Points
from kdtui.tui.widgets.log_view import LogView
from kdtui.tui.widgets.row_table import RowTable
from kdtui.workflows.trainings import TrainingPlan, jobs_folder, prepare_training
from models.sft.job_files import EXIT_CODE, LAUNCH, LOG, METRICS, PID, identity
from models.sft.state import JobStatus
from store.database import open_database
from store.hosts import Host, add_host
from store.jobs import add_job, remember_status
from store.records import HostSettings, TrainingSettings
from tests import sshd
from tests.acting import act
from tests.models.tiny import make_model
from tests.needs import needs_sshd

Settle = Callable[[Pilot[None]], Awaitable[None]]
Until = Callable[[Pilot[None], Callable[[], bool]], Awaitable[None]]

SIZES = [(80, 24), (200, 60)]
HOSTILE = "[red]x[/] \x1b[31mred\x1b[0m \u202ertl\u202c 日本語 e\u0301"
LONG = f"{HOSTILE} {'long ' * 2000}"


def hand_made(
    store: Path,
    name: str,
    files: dict[str, str],
    settings: TrainingSettings | None = None,
    *,
    host: str | None = None,
    status: JobStatus | None = None,
) -> Path:
    """A job directory that says what a trainer would have left in it."""
    folder = store.parent / "jobs" / name
    folder.mkdir(parents=True)
    for file, content in {"job.json": '{"base": "x"}', **files}.items():
        (folder / file).write_text(content)
    db = open_database(store)
    add_job(db, name, folder, settings or TrainingSettings(("demo-outdoor",)), name, host=host)
    if status is not None:
        remember_status(db, name, json.dumps(asdict(status)))
    db.close()
    return folder


def with_host(store: Path, name: str, ssh: str | None = None, workdir: Path | None = None) -> None:
    db = open_database(store)
    place = workdir or store.parent / "there"
    add_host(db, Host(name, ssh, str(place), HostSettings(python=sys.executable)))
    db.close()


def metrics(steps: int) -> str:
    lines: list[dict[str, Any]] = [
        {"step": step, "steps": 40, "loss": 2 / step, "tokens_per_second": 350.0, "eta_seconds": 61.0}
        for step in range(1, steps + 1)
    ]
    lines.append({"step": steps, "valid_loss": 1.0, "pair_f1": 0.625})
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def sleeper() -> Iterator[str]:
    """A process to be taken for a trainer; what identifies it."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield json.dumps(identity(process.pid))
        process.kill()


def rows(app: KdtuiApp, table: str = "#jobs") -> list[list[str]]:
    widget = app.screen.query_one(table, RowTable)
    found = [widget.row_at(number) for number in range(widget.row_count)]
    return [[str(cell) for cell in row.cells] for row in found if row is not None]


def shown(app: KdtuiApp, selector: str) -> str:
    widget = app.screen.query_one(selector, Static)
    return str(widget.content) if widget.display else ""


def toasts(app: KdtuiApp) -> str:
    """What has been said, and what keys have answered just now."""
    return "\n".join([*(said.sentence for said in app._said), *(note.message for note in app._notifications)])


def log(app: KdtuiApp) -> LogView:
    return app.screen.query_one(LogView)


async def patiently(pilot: Pilot[None], condition: Callable[[], bool], seconds: float = 180) -> None:
    """Wait for what a real training brings about."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"it never came true; {toasts(pilot.app)}"  # type: ignore[arg-type]
        await pilot.pause(0.05)


def opened(store: Path) -> KdtuiApp:
    """The app, at the place where it was left."""
    memory = Memory(None, store)
    memory.place = "jobs"
    return KdtuiApp(store, memory=memory)


def alone(app: KdtuiApp) -> bool:
    """Whether nothing goes on in the background."""
    return not any(activity.is_running for activity in app.activities)


# The list


@pytest.mark.parametrize("size", SIZES)
async def test_an_empty_store_says_what_to_do_first(empty_store: Path, settle: Settle, size: tuple[int, int]) -> None:
    app = opened(empty_store)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert "kdtui demo" in shown(app, "#notice")
        assert "kdtui host add NAME --ssh ALIAS" in shown(app, "#no-hosts")
        await act(pilot, "jobs.new")
        await settle(pilot)
        assert "there is no dataset to train on yet" in toasts(app)
        await act(pilot, "jobs.check")
        await act(pilot, "training.cancel")
        await settle(pilot)
        assert "there is no host; kdtui host add" in toasts(app)
        assert "there is no training here" in toasts(app)


async def test_where_there_is_a_dataset_a_key_starts_the_first_training(demo_store: Path, settle: Settle) -> None:
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "There is no training yet. n starts one" in shown(app, "#notice")


@pytest.mark.parametrize("size", SIZES)
async def test_trainings_are_listed_in_all_their_states(
    demo_store: Path, settle: Settle, sleeper: str, size: tuple[int, int]
) -> None:
    hand_made(demo_store, "fresh", {})
    hand_made(demo_store, "ended", {EXIT_CODE: "0", METRICS: metrics(40)})
    hand_made(demo_store, "halted", {EXIT_CODE: "143", METRICS: metrics(7)})
    hand_made(demo_store, "wild", {EXIT_CODE: "1", LOG: f"step 1\n{HOSTILE}\n"})
    quiet = hand_made(demo_store, "quiet", {PID: sleeper, METRICS: metrics(3)})
    os.utime(quiet / PID, (0, 0))
    hand_made(
        demo_store, "busy", {PID: sleeper, METRICS: metrics(10)}, TrainingSettings(("a", LONG), "pairs", ("rule",))
    )
    app = opened(demo_store)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        found = {row[0]: row for row in rows(app)}
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
        await settle(pilot)
        assert app.screen.query_one("#aside").display == (size[0] < 120)


async def test_a_store_that_cannot_be_read_is_said(empty_store: Path, settle: Settle) -> None:
    empty_store.write_text("this is no database, whatever its name says. " * 100)
    app = opened(empty_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert "kdtui.db" in shown(app, "#notice")


async def test_what_runs_here_is_looked_at_again_and_again(
    demo_store: Path, settle: Settle, sleeper: str, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdtui.tui.screens.jobs._TICK", 0.02)
    folder = hand_made(demo_store, "busy", {PID: sleeper, METRICS: metrics(3)})
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await until(pilot, lambda: isinstance(app.screen, JobsScreen) and bool(rows(app)) and rows(app)[0][3] == "3/40")
        (folder / METRICS).write_text(metrics(20))
        await until(pilot, lambda: rows(app)[0][3] == "20/40")
        # Nobody looks, and so nothing is asked.
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
        await until(pilot, lambda: rows(app)[0][2] == "✓ done")


# What can be done with a training


async def test_what_cannot_be_done_says_why(demo_store: Path, settle: Settle, sleeper: str) -> None:
    with_host(demo_store, "far")
    status = JobStatus("done", 40, 40)
    hand_made(demo_store, "away", {}, host="far", status=status)
    hand_made(demo_store, "ended", {EXIT_CODE: "0"})
    hand_made(demo_store, "busy", {PID: sleeper})
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        for action in ("resume", "adapter", "fetch", "remove"):
            await act(pilot, f"training.{action}")
        await pilot.press("j")
        for action in ("cancel", "resume", "fetch"):
            await act(pilot, f"training.{action}")
        await settle(pilot)
        for why in (
            "training busy is at work already; it is running",
            "training busy has no adapter yet; it is running",
            "training busy runs on no host; what it makes is here",
            "training busy is running; stop it first",
            "training ended is not running; it is done",
            "training ended is done",
        ):
            assert why in toasts(app)


async def test_a_training_is_stopped_and_deleted_when_that_is_confirmed(
    demo_store: Path, settle: Settle, sleeper: str, until: Until
) -> None:
    folder = hand_made(demo_store, "busy", {PID: sleeper, LOG: "hello\n"})
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "training.cancel")
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("n")
        assert rows(app)[0][2] == "▶ running"
        await act(pilot, "training.cancel")
        await pilot.press("y")
        await until(pilot, lambda: rows(app)[0][2] == "■ stopped")
        assert "training busy has stopped" in toasts(app)
        await until(pilot, lambda: alone(app) and not shown(app, "#doing"))
        await act(pilot, "training.remove")
        await pilot.press("y")
        await until(pilot, lambda: not folder.exists() and "deleted training busy" in toasts(app))
        await until(pilot, lambda: "There is no training yet" in shown(app, "#notice"))


async def test_a_trainer_that_does_not_start_is_a_sentence(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.sft.processes.sys.executable", "/bin/false")
    hand_made(demo_store, "halted", {EXIT_CODE: "143"})
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "training.resume")
        await until(pilot, lambda: "the trainer did not start" in toasts(app))


async def test_the_manifest_says_what_a_training_is_made_of(demo_store: Path, settle: Settle, until: Until) -> None:
    hand_made(demo_store, "fresh", {"job.json": json.dumps({"base": f"here {LONG}", "seed": 7})})
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "training.manifest")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        text = str(app.screen.query_one("VerticalScroll Static", Static).content)
        assert '"seed": 7' in text
        assert "No such file or directory" in text
        assert "\x1b" not in text


# One training


@pytest.mark.parametrize("size", SIZES)
async def test_a_training_is_followed_until_its_screen_is_left(
    demo_store: Path, settle: Settle, sleeper: str, until: Until, size: tuple[int, int]
) -> None:
    begin = "".join(f"line {number}\n" for number in range(1, 101))
    progress = "10%|#\r50%|#####\r\x1b[32m100%\x1b[0m done\n"
    folder = hand_made(
        demo_store, "busy", {PID: sleeper, METRICS: metrics(10), LOG: f"{begin}{progress}{LONG}\n{HOSTILE}"}
    )
    app = opened(demo_store)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await act(pilot, "table.select")
        await until(pilot, lambda: isinstance(app.screen, JobScreen) and "[red]x[/] red" in log(app).text)
        assert "busy ▶ running · step 10 of 40 · loss 0.200 · pair F1 0.625" in shown(app, "#title")
        assert isinstance(app.screen, JobScreen)
        assert app.screen.command == "kdtui sft logs busy --follow"
        assert all(curve.display for curve in app.screen.query(Curve))
        with (folder / LOG).open("a") as file:
            file.write("\nthe newest line\n")
        await until(pilot, lambda: "the newest line" in log(app).text)
        await act(pilot, "log.home")
        await until(pilot, lambda: log(app).text.startswith("line 1\n"))
        await act(pilot, "log.down")
        await until(pilot, lambda: log(app).text.startswith("line 2\n"))
        await act(pilot, "log.up")
        await act(pilot, "log.page_down")
        page = log(app).size.height - 1
        await until(pilot, lambda: log(app).text.startswith(f"line {1 + page}\n"))
        # What is read stays where it is while the log grows.
        with (folder / LOG).open("a") as file:
            file.write("more\n")
        await act(pilot, "log.page_up")
        await until(pilot, lambda: log(app).text.startswith("line 1\n"))
        await act(pilot, "log.end")
        await until(pilot, lambda: log(app).text.rstrip().endswith("more"))
        before = log(app).size.height * log(app).size.width
        await act(pilot, "job.plots")
        await until(pilot, lambda: log(app).size.height * log(app).size.width > before)
        await act(pilot, "job.back")
        assert isinstance(app.screen, JobsScreen)
        await until(pilot, lambda: alone(app))


async def test_a_progress_bar_is_shown_as_it_was_last(demo_store: Path, settle: Settle, until: Until) -> None:
    hand_made(demo_store, "ended", {EXIT_CODE: "0", LOG: "10%|#\r50%|#####\r\x1b[32m100%\x1b[0m done\r\n\tindented\n"})
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, JobScreen) and bool(log(app).text))
        assert log(app).text == "100% done\n        indented"


async def test_a_log_of_a_gigabyte_is_read_where_it_is_in_sight(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = hand_made(demo_store, "ended", {EXIT_CODE: "0", LOG: "the first line\n"})
    with (folder / LOG).open("r+b") as file:
        file.seek(500_000_000)
        file.write(b"\nthe middle\n")
        file.seek(1_000_000_000)
        file.write(b"\nthe last line\n")
    read = 0
    put = LogView.put

    def counted(self: LogView, offset: int, data: bytes, size: int) -> None:
        nonlocal read
        read += len(data)
        put(self, offset, data, size)

    monkeypatch.setattr(LogView, "put", counted)
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, JobScreen) and "the last line" in log(app).text)
        assert "1.0 GB · follows" in str(log(app).border_title)
        await pilot.press("home")
        await until(pilot, lambda: "the first line" in log(app).text)
        await pilot.press("G")
        await until(pilot, lambda: "the last line" in log(app).text)
        # The bar at the right stands for the whole.
        await pilot.click(LogView, offset=(log(app).region.width - 2, 1 + log(app).size.height // 2))
        await until(pilot, lambda: 40 <= int(re.findall(r"(\d+)%", f"0% {log(app).border_title}")[-1]) <= 60)
        await pilot.press("k", "pageup", "pagedown", "j")
        await settle(pilot)
        assert read < 4_000_000
        assert log(app).bytes_kept <= 64 * 65536


async def test_a_log_that_is_begun_anew_is_shown_anew(
    demo_store: Path, settle: Settle, sleeper: str, until: Until
) -> None:
    folder = hand_made(demo_store, "busy", {PID: sleeper, LOG: "old\n" * 500})
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, JobScreen) and "old" in log(app).text)
        (folder / LOG).write_text("new\n")
        await until(pilot, lambda: log(app).text == "new")
        (folder / EXIT_CODE).write_text("1")
        await until(pilot, lambda: "why: new" in shown(app, "#title"))


# Hosts


@pytest.mark.parametrize("size", SIZES)
async def test_a_host_is_checked_and_its_findings_come_as_they_are_found(
    demo_store: Path, settle: Settle, until: Until, tmp_path: Path, size: tuple[int, int]
) -> None:
    with_host(demo_store, "login", workdir=tmp_path / "work")
    app = opened(demo_store)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert rows(app, "#hosts")[0][:4] == ["login", "this machine", "direct", "not asked yet"]
        jobs = app.screen
        assert isinstance(jobs, JobsScreen)
        await act(pilot, "jobs.check")
        assert isinstance(app.screen, HostDialog) == (size[0] < 120)
        await until(pilot, lambda: "✓ clock" in jobs._about_host("login").plain)
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
    # It is known still when the program is started anew.
    app = KdtuiApp(demo_store, memory=app.memory)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert "GB free" in rows(app, "#hosts")[0][4]


async def test_a_host_that_does_not_answer_keeps_nothing_from_being_seen(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_host(demo_store, "dead", ssh="nobody-there.invalid")
    status = JobStatus("running", 5, 40, 1.5)
    hand_made(demo_store, "far", {}, host="dead", status=status)
    monkeypatch.setenv("KDTUI_SSH_COMMAND", "ssh -F none -o ConnectTimeout=1")
    app = opened(demo_store)
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        assert rows(app)[0][:5] == ["far", "dead", "▶ running", "5/40", "1.500"]
        await until(pilot, lambda: rows(app, "#hosts")[0][3].startswith("✗ host dead"))
        await act(pilot, "training.cancel")
        await pilot.press("y")
        await until(pilot, lambda: "host dead" in toasts(app))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: isinstance(app.screen, HostDialog))
        assert "✗ host dead" in str(app.screen.query_one("VerticalScroll Static", Static).content)


async def test_a_host_that_hangs_does_not_keep_the_program_from_ending(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("KDTUI_SSH_COMMAND", str(hanging))
    with_host(demo_store, "slow", ssh="slow")
    hand_made(demo_store, "far", {}, host="slow", status=JobStatus("running", 5, 40, 1.5))
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await until(pilot, lambda: rows(app, "#hosts")[0][3] == "… asking slow")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, JobScreen))
        running = list(app.activities)
        assert len(running) == 2
        await act(pilot, "job.back")
        # Following ends with the screen, and the question with the program.
        await until(pilot, lambda: sum(activity.is_running for activity in running) == 1)
    assert not any(activity.is_running for activity in running)


# A new training


async def test_a_missing_package_is_a_sentence_with_what_to_do(
    demo_store: Path, settle: Settle, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdtui.workflows.fine_tune.find_spec", lambda name: None if name == "peft" else name)
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "jobs.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        assert "to train here, peft is needed; install it with: pip install 'kdtui[sft]'" in shown(app, "#form-problem")
        assert app.screen.query_one("#done", Button).disabled


async def fill(app: KdtuiApp, **values: str) -> None:
    for name, value in values.items():
        widget: Any = app.screen.query_one(f"#field-{name}")
        widget.value = value == "yes" if isinstance(widget, Checkbox) else value


async def test_the_form_says_what_will_not_do_and_shows_the_command(
    demo_store: Path, settle: Settle, until: Until, sleeper: str
) -> None:
    with_host(demo_store, "far")
    hand_made(demo_store, "busy", {PID: sleeper})
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "jobs.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        assert shown(app, "#form-problem") == ""
        assert shown(app, "#dialog-command") == "$ kdtui sft launch --name demo-outdoor-1 --dataset demo-outdoor"
        for values, problem in (
            ({"name": ""}, "needs a name"),
            ({"name": "busy"}, "there is a training or a model 'busy' already"),
            ({"name": "x", "datasets": "demo-outdoor, none"}, "there is no dataset 'none'"),
            ({"datasets": "demo-outdoor", "as": "target"}, "switch on thoughts alone"),
            ({"as": "context", "epochs": "0"}, "epochs are a number"),
            ({"epochs": "3", "learning_rate": "fast"}, "the learning rate is a number"),
            ({"learning_rate": "0.001", "base": " "}, "begins with a base"),
            ({"base": "smollm2", "after": "busy", "host": "far"}, "training busy is not on the same host"),
        ):
            await fill(app, **values)
            await until(pilot, lambda problem=problem: problem in shown(app, "#form-problem"))  # type: ignore[misc]
        await fill(app, host="", rule="yes", form="list", evaluate="yes")
        await until(pilot, lambda: shown(app, "#form-problem") == "")
        assert shown(app, "#dialog-command") == (
            "$ kdtui sft launch --follow --evaluate --name x --dataset demo-outdoor --form list --knowledge rule "
            "--epochs 3 --learning-rate 0.001 --after busy"
        )
        # What only the store knows is said when it is tried.
        await fill(app, after="", evaluate="", base="none.gguf")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "none.gguf: there is no such file" in toasts(app))
        assert len(rows(app)) == 1


async def test_a_training_is_started_watched_to_its_end_and_its_adapter_is_asked(
    demo_store: Path, settle: Settle, until: Until, tmp_path: Path
) -> None:
    base = make_model(tmp_path / "tiny.gguf")
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await act(pilot, "jobs.new")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await fill(app, name="first", base=str(base), epochs="1", learning_rate="0.003", evaluate="yes")
        await pilot.press("ctrl+s")
        await patiently(pilot, lambda: isinstance(app.screen, JobsScreen) and "first" in str(rows(app)))
        await patiently(pilot, lambda: "training first runs as process" in toasts(app) or rows(app)[0][2] == "✓ done")
        await pilot.press("enter")
        await patiently(pilot, lambda: isinstance(app.screen, JobScreen) and "✓ done" in shown(app, "#title"))
        await patiently(pilot, lambda: "evaluation at step" in log(app).text)
        assert "checkpoint" in shown(app, "#title")
        await patiently(pilot, lambda: "first has a pair F1 of" in toasts(app))
        await act(pilot, "training.adapter")
        await patiently(pilot, lambda: app.current_mode == "workbench")
        assert app.choice.settings.adapters == (("first", 1.0),)
        assert app.choice.settings.student == str(base)
    db = open_database(demo_store)
    [(split,)] = db.execute("SELECT split FROM runs").fetchall()
    db.close()
    assert split == "valid"


# On a host


@pytest.fixture
def workdir(demo_store: Path, server: sshd.Sshd, tmp_path: Path) -> Path:
    """The folder of a host `far`, behind a real sshd."""
    assert server.process is not None
    folder = tmp_path / "there is space"
    with_host(demo_store, "far", ssh="gpu", workdir=folder)
    return folder


@needs_sshd
@pytest.mark.usefixtures("workdir")
async def test_a_training_on_a_host_is_watched_and_its_adapter_comes_home(
    demo_store: Path, settle: Settle, tmp_path: Path
) -> None:
    base = make_model(tmp_path / "tiny.gguf")
    settings = TrainingSettings(("demo-outdoor",), epochs=1)
    db = open_database(demo_store)
    # A step takes the whole epoch.
    plan = TrainingPlan("away", settings, str(base), learning_rate=0.003, batch_tokens=30000, host="far")
    prepare_training(db, plan, jobs_folder(demo_store))
    db.close()
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        assert rows(app)[0][2] == "○ created"
        await act(pilot, "training.resume")
        assert "starting away (asking far)" in shown(app, "#doing")
        await patiently(pilot, lambda: "training away runs on far as process" in toasts(app))
        await pilot.press("enter")
        await patiently(pilot, lambda: isinstance(app.screen, JobScreen) and "✓ done" in shown(app, "#title"))
        await patiently(pilot, lambda: "evaluation at step" in log(app).text)
        assert "its adapter is on far still" in shown(app, "#title")
        await act(pilot, "training.adapter")
        await settle(pilot)
        assert "fetch it first" in toasts(app)
        await act(pilot, "training.fetch")
        assert "fetching away from far" in shown(app, "#doing")
        await patiently(pilot, lambda: "files of training away from far" in toasts(app))
        await patiently(pilot, lambda: "its adapter is on far still" not in shown(app, "#title"))
        assert (demo_store.parent / "jobs" / "away" / "away.gguf").is_file()


@needs_sshd
async def test_a_lost_connection_is_said_and_comes_back(
    demo_store: Path,
    workdir: Path,
    server: sshd.Sshd,
    sleeper: str,
    settle: Settle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kdtui.workflows.watch.PAUSES", (0.2,))
    monkeypatch.setattr("kdtui.workflows.watch._There.growth", 0.1)
    there = workdir / "jobs" / "long"
    there.mkdir(parents=True)
    (there / "id").write_text("long")
    (there / LAUNCH).write_text(sleeper)
    (there / LOG).write_text("x" * 200_000 + "\nbefore\n")
    hand_made(demo_store, "long", {}, host="far", status=JobStatus("running", 3, 40, 2.0))
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await patiently(pilot, lambda: isinstance(app.screen, JobScreen) and "before" in log(app).text)
        server.stop()
        await patiently(pilot, lambda: "trying again" in shown(app, "#title"))
        with (there / LOG).open("a") as file:
            file.write("meanwhile\n")
        server.start()
        await patiently(pilot, lambda: "meanwhile" in log(app).text and "trying again" not in shown(app, "#title"))
        await pilot.press("home")
        await patiently(pilot, lambda: log(app).text.startswith("xxx"))
        await act(pilot, "screen.reload")
        await pilot.press("escape")
        await patiently(pilot, lambda: alone(app))


@needs_sshd
async def test_a_host_is_asked_only_about_what_may_change_and_while_it_is_looked_at(
    demo_store: Path,
    workdir: Path,
    server: sshd.Sshd,
    settle: Settle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kdtui.tui.screens.jobs._TICK", 0.05)
    monkeypatch.setattr("kdtui.tui.screens.jobs._ASK", 0.1)
    there = workdir / "jobs" / "old"
    there.mkdir(parents=True)
    (there / "id").write_text("old")
    (there / EXIT_CODE).write_text("1")
    hand_made(demo_store, "old", {}, host="far", status=JobStatus("running", 3, 40, 2.0))
    app = opened(demo_store)
    async with app.run_test() as pilot:
        await settle(pilot)
        await patiently(pilot, lambda: rows(app)[0][2] == "✗ failed" and rows(app, "#hosts")[0][3] == "✓ reachable")
        await patiently(pilot, lambda: alone(app))
        asked = server.commands
        for _ in range(20):
            await pilot.pause(0.05)
        assert server.commands == asked
        await act(pilot, "screen.reload")
        await patiently(pilot, lambda: server.commands > asked)


@pytest.mark.parametrize("value", [0.0, 0.5])
async def test_one_value_alone_is_drawn_without_negative_numbers_beside_it(value: float) -> None:
    class Plotted(App[None]):
        def compose(self) -> ComposeResult:
            yield Curve()

    app = Plotted()
    async with app.run_test(size=(60, 12)) as pilot:
        curve = app.query_one(Curve)
        curve.show("pair F1", [Points([3], [value], "x")])
        await pilot.pause()
        drawn = "\n".join(strip.text for strip in curve.render_lines(Region(0, 0, 60, 12)))
        assert "x" in drawn
        assert not re.search(r"-\d", drawn), drawn
