"""Launching trainings by command, and checking their states."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from models.sft.job_files import LOG
from models.sft.state import job_status
from tests.support import tiny_job
from tests.support.commands import Kdtui


def launch(kdtui: Kdtui, base: Path, name: str, *arguments: object) -> Any:
    # A step takes a whole epoch, so there are few of them.
    options = ["--name", name, "--base", base, "--learning-rate", 0.003, "--batch-tokens", 30000]
    return kdtui("sft", "launch", *options, *arguments)


def train_in_this_process(folder: Path, *, after: Path | None = None) -> int:
    """Train in a job directory until the end, in place of the trainer process.

    For tests of the steps before and after a training: a separate process takes longer to start than to train.
    """
    assert after is None
    with (folder / LOG).open("a") as log:
        log.write(tiny_job.train(folder).stderr)
    return os.getpid()


def state(kdtui: Kdtui, name: str) -> str:
    [row] = [row for row in kdtui("sft", "ls", "--json").rows if row["name"] == name]
    return str(row["state"])


def kill_a_client_that_watches(name: str) -> None:
    """Start a client that follows a training, and kill it; the training continues."""
    command = [sys.executable, "-m", "kdtui", "sft", "logs", name, "--follow"]
    watching = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert watching.stderr is not None
    assert watching.stderr.readline()
    watching.kill()
    watching.communicate()


def has_learned(job: Path) -> bool:
    """Tell whether there is a checkpoint and a loss."""
    return bool(list((job / "checkpoints").glob("step-????????"))) and job_status(job).loss is not None
