"""Trainings through a real Slurm with one node, and the commands and answers of Slurm."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kdtui.hosts.slurm_script import slurm_script
from models.errors import ModelError
from models.sft.job_files import LAUNCH
from models.sft.slurm import SlurmQueue
from models.sft.slurm import cancel_job as cancel_on_slurm
from models.sft.state import trainer_pid
from store.records import HostSettings
from tests.support import slurm, sshd
from tests.support.commands import Kdtui
from tests.support.launching import has_learned, kill_a_client_that_watches, launch, state
from tests.support.needs import needs_slurm, needs_sshd
from tests.support.waiting import held_still, until


def begins_again(kdtui: Kdtui, name: str) -> bool:
    """Have Slurm start the requeued job at once instead of after two minutes; return whether it runs."""
    asked = ["squeue", "--noheader", "--jobs", "1", "--format", "%T"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    # While Slurm cleans up after the job, it refuses or forgets updates.
    if told == "PENDING":
        # Its node refuses a job in the second in which the last one ended ("Job credential revoked").
        time.sleep(2)
        subprocess.run(["scontrol", "update", "JobId=1", "StartTime=now"], capture_output=True, check=False)
    return state(kdtui, name) == "running"


@pytest.fixture
def cluster(tmp_path: Path, kdtui: Kdtui, server: sshd.Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The workdir of a host `cluster` with Slurm, through sshd."""
    with slurm.running(tmp_path / "slurm") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        server.stop()
        server.environment |= environment
        server.start()
        folder = tmp_path / "cluster home"
        options = ["--ssh", "gpu", "--workdir", folder, "--python", sys.executable, "--launcher", "slurm"]
        assert kdtui("host", "add", "cluster", *options, "--partition", "short", "--time", "10").code == 0
        yield folder


@needs_sshd
@needs_slurm
@pytest.mark.usefixtures("imported")
@pytest.mark.slow
def test_a_training_runs_through_slurm_and_is_fetched(
    kdtui: Kdtui, base: Path, cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kdtui("host", "check", "cluster").code == 0
    result = launch(kdtui, base, "queued", "--host", "cluster", "--epochs", 8)
    assert result.code == 0, result.err
    assert "#SBATCH --signal=TERM@120" in result.err
    assert "it runs on cluster as Slurm job 1" in result.err
    job = cluster / "jobs" / "queued"
    kill_a_client_that_watches("queued")
    until(lambda: has_learned(job))
    with held_still(trainer_pid(job)):
        # Another machine adopts it, and sees its state.
        monkeypatch.setenv("KDTUI_DB", str(tmp_path / "other" / "kdtui.db"))
        options = ["--ssh", "gpu", "--workdir", cluster, "--python", sys.executable, "--launcher", "slurm"]
        assert kdtui("host", "add", "cluster", *options).code == 0
        assert kdtui("sft", "adopt", "cluster:queued").code == 0
        [row] = kdtui("sft", "show", "queued", "--json").rows
        assert row["state"] == "running"
        assert row["loss"] > 0
        monkeypatch.setenv("KDTUI_DB", str(tmp_path / "store" / "kdtui.db"))
        # It is not submitted again, although the answer was lost.
        (job / LAUNCH).unlink()
        assert "as Slurm job 1" in kdtui("sft", "resume", "queued").err
        assert state(kdtui, "queued") == "running"
    # At the time limit Slurm signals the steps, and the script requeues the rest.
    subprocess.run(["scancel", "--signal=TERM", "1"], check=True)
    until(lambda: state(kdtui, "queued") == "queued")
    assert not (job / "adapter").exists()
    until(lambda: begins_again(kdtui, "queued"))
    until(lambda: "resuming from step" in kdtui("sft", "logs", "queued").out)
    assert kdtui("sft", "cancel", "queued").code == 0
    assert state(kdtui, "queued") == "stopped"
    assert "it runs on cluster as Slurm job 2" in kdtui("sft", "resume", "queued").err
    result = kdtui("sft", "logs", "queued", "--follow")
    assert (result.code, "use it with: --adapter queued" in result.err) == (0, True), result.err
    [answer] = kdtui("generate", "o34", "--student", base, "--adapter", "queued", "--json").rows
    assert answer["session"] == "o34"


@needs_sshd
@needs_slurm
@pytest.mark.usefixtures("imported")
@pytest.mark.slow
def test_slurm_starts_a_training_after_another_and_reports_one_that_it_ended(
    kdtui: Kdtui, base: Path, cluster: Path
) -> None:
    assert launch(kdtui, base, "one", "--host", "cluster", "--epochs", 40).code == 0
    assert launch(kdtui, base, "two", "--host", "cluster", "--after", "one", "--epochs", 1).code == 0
    rows = {row["name"]: row for row in kdtui("sft", "ls", "--json").rows}
    assert (rows["two"]["state"], rows["two"]["reason"]) == ("queued", "Slurm: Dependency")
    until(lambda: trainer_pid(cluster / "jobs" / "one"))
    subprocess.run(["scancel", "--signal=KILL", "--full", "1"], check=True)
    until(lambda: state(kdtui, "one") == "failed")
    until(lambda: state(kdtui, "two") == "failed")
    result = launch(kdtui, base, "three", "--host", "cluster")
    assert kdtui("sft", "cancel", "three", "--now").code == 0
    [three] = [row for row in kdtui("sft", "ls", "--json").rows if row["name"] == "three"]
    assert three["state"] == "stopped"
    assert three["reason"].endswith("there is no checkpoint, so it starts again")
    assert result.code == 0
    kdtui("host", "set", "cluster", "--partition", "no-such-partition")
    result = launch(kdtui, base, "four", "--host", "cluster")
    assert result.code == 1
    assert "invalid partition" in result.err.lower()


def test_the_script_requests_the_resources() -> None:
    settings = HostSettings(
        launcher="slurm",
        processes=4,
        partition="gpu",
        time="12:00:00",
        gpus=4,
        nodes=2,
        options=("--account=me",),
        commands=("module load cuda",),
    )
    script = slurm_script(settings, "/it's there/jobs/a b%j", "/opt/python", "/it's there/code.zip")
    assert "#SBATCH --account=me\n" in script
    assert "#SBATCH --gpus-per-node=4\n" in script
    assert "%%j" in script
    assert "--nnodes 2" in script
    assert script.index("module load cuda") < script.index("srun")
    # Torchrun leaves its processes nearly all the time that Slurm leaves the job.
    assert "TERM@120" in script
    assert script.index("export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=110") < script.index("srun")
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def told_by_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Return a function that replaces one of Slurm's commands by one that prints a text."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()

    def tell(command: str, message: str) -> None:
        (tmp_path / "bin" / command).write_text(f"#!/bin/sh\necho '{message}'\n")
        (tmp_path / "bin" / command).chmod(0o755)

    return tell


def test_the_accounts_of_slurm_are_reported(tmp_path: Path, told_by_slurm: Callable[[str, str], None]) -> None:
    told_by_slurm("squeue", "")
    told_by_slurm("sacct", "OUT_OF_MEMORY")
    (tmp_path / LAUNCH).write_text('{"launcher": "slurm", "slurm": 7}')
    assert SlurmQueue([tmp_path]).state(tmp_path) == ("failed", "Slurm has ended it (OUT_OF_MEMORY)")


def test_a_damaged_slurm_launch_file_cannot_be_cancelled(
    tmp_path: Path, told_by_slurm: Callable[[str, str], None]
) -> None:
    told_by_slurm("squeue", "")
    (tmp_path / LAUNCH).write_text('{"launcher": "slurm"}')
    with pytest.raises(ModelError, match="it has no number of a Slurm job any more"):
        list(cancel_on_slurm(tmp_path, grace=0))


@pytest.mark.parametrize(("variables", "processors"), [({}, "4"), ({"SLURM_CPUS_PER_TASK": "3"}, "3")])
def test_a_slurm_step_has_the_processors_of_its_job(
    tmp_path: Path, told_by_slurm: Callable[[str, str], None], variables: dict[str, str], processors: str
) -> None:
    told_by_slurm("srun", "'\"$SRUN_CPUS_PER_TASK\"'")
    script = slurm_script(HostSettings(launcher="slurm", processes=2), str(tmp_path), "python3", "code.zip")
    environment = os.environ | {"SLURM_CPUS_ON_NODE": "4"} | variables
    done = subprocess.run(["bash"], input=script, text=True, capture_output=True, check=False, env=environment)
    assert done.stdout == f"{processors}\n"
