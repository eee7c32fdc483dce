"""The processes of trainings: started once, stopped with their children, and found by their files."""

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import msgspec
import pytest

from models.errors import ModelError
from models.sft.job_files import EXIT_CODE, LAUNCH, LOG, METRICS, identity
from models.sft.processes import GRACE, HasStopped, Stopping, launch_lock, start_trainer
from models.sft.processes import stop_trainer as stopping
from models.sft.slurm import SlurmQueue
from models.sft.state import JobStatus, job_status, last_log_line
from tests.support.stubborn_process import stubborn
from tests.support.waiting import PATIENCE, until


def stop(folder: Path, *, grace: float) -> list[str]:
    """Stop a training; return what had to be killed, and what could not be."""
    *_, end = stopping(folder, grace=grace)
    assert isinstance(end, HasStopped)
    return list(end.left)


def test_a_trainer_that_does_not_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    start_trainer(tmp_path, python=str(stubborn(tmp_path)))
    assert job_status(tmp_path).state == "running"
    until((tmp_path / "begun").exists)
    left = stop(tmp_path, grace=0.5)
    assert [each.split()[0] for each in left] == ["killed"] * len(left)
    assert len(left) >= 2
    status = job_status(tmp_path)
    assert status.state == "stopped"
    assert status.reason == "killed at once, without a checkpoint; there is no checkpoint, so it starts again"
    assert stop(tmp_path, grace=0.5) == []


def test_a_training_is_started_once_by_several_clients(tmp_path: Path) -> None:
    python = str(stubborn(tmp_path))
    first = start_trainer(tmp_path, python=python)
    assert start_trainer(tmp_path, python=python) == first
    stop(tmp_path, grace=0.1)
    with launch_lock(tmp_path), pytest.raises(ModelError, match="another client"):
        start_trainer(tmp_path, python=python)


def test_a_training_waits_for_another_and_fails_with_it(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
    start_trainer(before, python=str(stubborn(before)))
    start_trainer(after, python="/bin/true", after=before)
    assert job_status(after).state == "queued"
    stop(before, grace=0.1)
    until(lambda: job_status(after).state == "failed")
    assert "is not done; start this one anyway" in (job_status(after).reason or "")
    (before / EXIT_CODE).write_text("0")
    # A command that is found by its name, as by default.
    start_trainer(after, python="echo", after=before)
    until(lambda: "-m models.sft" in (after / "log").read_text())


def test_a_training_that_is_just_ending_is_started_again(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho begun\necho 1 > "$3/exit_code"\nexec sleep 1\n')
    python.chmod(0o755)
    first = start_trainer(tmp_path, python=str(python))
    until(lambda: job_status(tmp_path).state == "failed")
    assert start_trainer(tmp_path, python=str(python)) != first
    until(lambda: (tmp_path / "log").read_text() == "begun\nbegun\n")


def test_torchrun_waits_for_a_checkpoint_as_long_as_whoever_stops_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.distributed.launcher.api import LaunchConfig

    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$TORCH_ELASTIC_SHUTDOWN_TIMEOUT" >seconds\necho 0 >exit_code\n')
    python.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    start_trainer(tmp_path, python=str(python), processes=2)
    until((tmp_path / EXIT_CODE).exists)
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", (tmp_path / "seconds").read_text())
    waits = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=2).shutdown_timeout
    assert GRACE - 15 < waits < GRACE


def test_an_old_exit_code_does_not_hide_that_a_trainer_cannot_start(tmp_path: Path) -> None:
    (tmp_path / EXIT_CODE).write_text("0")
    with pytest.raises(ModelError, match="the trainer did not start"):
        start_trainer(tmp_path, python="/bin/false")


def test_an_old_exit_code_does_not_hide_that_a_training_waits(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
    start_trainer(before, python=str(stubborn(before)))
    (after / EXIT_CODE).write_text("1")
    start_trainer(after, python="/bin/true", after=before)
    assert job_status(after).state == "queued"
    for folder in (after, before):
        stop(folder, grace=0.1)


def test_a_trainer_that_was_started_by_hand_is_stopped_too(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    (tmp_path / "pid").write_text(json.dumps(identity(process.pid)))
    assert stop(tmp_path, grace=5) == []
    assert process.wait(PATIENCE) != 0
    assert job_status(tmp_path).state == "stopped"


def test_after_a_restart_of_the_machine_nothing_runs(tmp_path: Path) -> None:
    here = identity(os.getpid())
    (tmp_path / LAUNCH).write_text(json.dumps(here | {"boot": "another"}))
    assert job_status(tmp_path).state == "failed"
    (tmp_path / LAUNCH).write_text(json.dumps(here | {"started": 1}))
    assert job_status(tmp_path).state == "failed"


@pytest.mark.parametrize("name", [LAUNCH, METRICS, EXIT_CODE, "pid", "log"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b'{"step": "x", "loss": {}}\n{"step": 1, "loss": "x"}',
        b'{"step": 1, "valid_loss": NaN}\n{"step": 1.5}',
        b'{"launcher": "slurm"}',
        pytest.param(
            b'{"step": 1, "loss": 1' + b"0" * 400 + b'}\n{"step": 1' + b"0" * 400 + b', "loss": 1}',
            id="numbers without end",
        ),
        b"\xff",
    ],
)
def test_a_directory_that_was_edited_by_hand_still_has_a_state(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    status = job_status(tmp_path)
    assert status.state in ("created", "failed", "done")
    assert status.loss is None
    assert msgspec.json.decode(msgspec.json.encode(asdict(status)), type=JobStatus) == status
    assert b"launcher" not in content or SlurmQueue([tmp_path]).word(tmp_path) is None


def test_progress_is_reported_each_second_while_a_training_stops(tmp_path: Path) -> None:
    start_trainer(tmp_path, python=str(stubborn(tmp_path)))
    (tmp_path / LOG).write_text("step 3 of 40\n")
    (tmp_path / "checkpoints" / "step-00000002").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step-00000003.part").mkdir()
    events = list(stopping(tmp_path, grace=2.5))
    waits = [event for event in events if isinstance(event, Stopping)]
    assert [int(each.seconds) for each in waits] == [0, 1, 2]
    assert {(each.grace, each.log_line) for each in waits} == {(2.5, "step 3 of 40")}
    assert job_status(tmp_path).reason == "killed after 3 s without a checkpoint; it resumes from step 2"
    assert last_log_line(tmp_path) == job_status(tmp_path).reason


def test_a_kill_does_not_wait_for_another_client(tmp_path: Path) -> None:
    start_trainer(tmp_path, python=str(stubborn(tmp_path)))
    waiting = stopping(tmp_path, grace=60)
    assert isinstance(next(waiting), Stopping)
    with pytest.raises(ModelError, match="another client"):
        next(stopping(tmp_path, grace=60))
    assert len(stop(tmp_path, grace=0)) >= 2
    # The waiting client sees what ended it.
    assert [event for event in waiting if isinstance(event, HasStopped)] == [HasStopped(())]
    assert "killed at once" in str(job_status(tmp_path).reason)


@pytest.mark.parametrize(
    ("checkpoints", "step", "reason"),
    [
        ((), None, "it had not reached its first checkpoint; there is no checkpoint, so it starts again"),
        ((), 3, "it wrote no checkpoint at step 3; there is no checkpoint, so it starts again"),
        ((2,), 3, "it wrote no checkpoint at step 3; it resumes from step 2"),
        ((2, 4), 3, "it left a checkpoint at step 4"),
    ],
)
def test_a_stopped_training_says_where_it_resumes(
    tmp_path: Path, checkpoints: tuple[int, ...], step: int | None, reason: str
) -> None:
    for each in checkpoints:
        (tmp_path / "checkpoints" / f"step-{each:08}").mkdir(parents=True)
    if step is not None:
        (tmp_path / METRICS).write_text(json.dumps({"step": step, "steps": 9, "loss": 1.0}))
    (tmp_path / EXIT_CODE).write_text("143")
    assert job_status(tmp_path).reason == reason
