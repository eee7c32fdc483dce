"""Stopping a training: the wait is announced, and its result is reported truthfully."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.sft.processes import start_trainer
from models.sft.state import job_status
from store.hosts import Host, add_host
from store.jobs import add_job
from store.records import HostSettings, TrainingSettings
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.stubborn_process import stubborn

LOCAL = [None, "near"]
"""Where a training runs: here, or on a host that is this machine."""


@pytest.fixture
def made(db: Database, tmp_path: Path) -> Callable[[str | None], Path]:
    """Create a training that ignores signals, and has left a checkpoint."""

    def make(host: str | None) -> Path:
        here = tmp_path / "jobs" / "deaf"
        if host is not None:
            add_host(db, Host(host, None, str(tmp_path / "there"), HostSettings(python=sys.executable)))
        folder = here if host is None else tmp_path / "there" / "jobs" / "deaf"
        for each in (here, folder):
            each.mkdir(parents=True, exist_ok=True)
            (each / "job.json").write_text('{"base": "x"}')
        (folder / "id").write_text("key")
        (folder / "checkpoints" / "step-00000007").mkdir(parents=True)
        add_job(db, "deaf", here, TrainingSettings(("outdoor",)), "key", host=host)
        (tmp_path / "bin").mkdir()
        start_trainer(folder, python=str(stubborn(tmp_path / "bin")))
        return folder

    return make


@pytest.mark.parametrize("host", LOCAL, ids=str)
def test_the_wait_is_announced_at_once_and_a_kill_is_not_called_a_checkpoint(
    kdtui: Kdtui, made: Callable[[str | None], Path], host: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdtui.workflows.training.service.GRACE", 1.5)
    monkeypatch.setattr("kdtui.cli.trainings._SECONDS_BETWEEN_LINES", 0.5)
    folder = made(host)
    (folder / "log").write_text("step 8 of 40: loss \033[31m0.5\n")
    result = kdtui("sft", "cancel", "deaf")
    lines = result.err.splitlines()
    assert result.code == 0
    assert lines[0].startswith("training deaf was asked to stop: if it has begun, it finishes its step and writes a")
    assert "waiting for deaf to stop: 1 s of 2; step 8 of 40: loss 0.5" in lines
    assert "training deaf: killed " in result.err
    assert lines[-1] == (
        "training deaf has stopped: killed after 2 s without a checkpoint; it resumes from step 7; "
        "kdtui sft resume deaf resumes it"
    )
    assert job_status(folder).state == "stopped"
    [row] = kdtui("sft", "show", "deaf", "--json").rows
    assert (row["state"], row["reason"]) == (
        "stopped",
        "killed after 2 s without a checkpoint; it resumes from step 7",
    )
    assert "killed after 2 s without a checkpoint" in kdtui("sft", "logs", "deaf").out


@pytest.mark.slow
@pytest.mark.parametrize("host", LOCAL, ids=str)
def test_a_training_that_is_killed_now_is_not_waited_for(
    kdtui: Kdtui, made: Callable[[str | None], Path], host: str | None
) -> None:
    folder = made(host)
    # Another process waits for it.
    waiting = subprocess.Popen(
        [sys.executable, "-m", "kdtui", "sft", "cancel", "deaf"], stderr=subprocess.PIPE, text=True
    )
    assert waiting.stderr is not None
    assert "was asked to stop" in waiting.stderr.readline()
    result = kdtui("sft", "cancel", "deaf", "--now")
    assert result.code == 0
    assert "was asked to stop" not in result.err
    killed = "training deaf has stopped: killed at once, without a checkpoint; it resumes from step 7"
    assert result.err.splitlines()[-1].startswith(killed)
    assert killed in waiting.communicate(timeout=60)[1]
    assert waiting.returncode == 0
    assert job_status(folder).state == "stopped"


@pytest.mark.parametrize("host", LOCAL, ids=str)
def test_an_interrupted_wait_says_how_to_kill_the_training(
    kdtui: Kdtui, made: Callable[[str | None], Path], host: str | None
) -> None:
    made(host)
    waiting = subprocess.Popen(
        [sys.executable, "-m", "kdtui", "sft", "cancel", "deaf"], stderr=subprocess.PIPE, text=True
    )
    assert waiting.stderr is not None
    assert "was asked to stop" in waiting.stderr.readline()
    os.kill(waiting.pid, signal.SIGINT)
    error = waiting.communicate(timeout=60)[1]
    assert "training deaf is still stopping; kdtui sft cancel deaf --now kills it" in error
    assert waiting.returncode == 130
    assert kdtui("sft", "cancel", "deaf", "--now").code == 0
