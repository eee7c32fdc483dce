"""Trainings on hosts: a real one of a tiny model through sshd, and one through Slurm, with clients that come and go."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from kdtui.jobs.slurm_script import slurm_script
from kdtui.jobs.ssh import SshTransport
from kdtui.jobs.transport import TransportError
from kdtui.workflows.fine_tune import LogGrew, StatusSeen
from kdtui.workflows.import_dataset import import_dataset
from kdtui.workflows.remote import ConnectionLost, follow
from models.errors import ModelError
from models.sft.job_files import EXIT_CODE, LAUNCH, METRICS, identity
from models.sft.processes import launching, start, stop
from models.sft.slurm import Queue
from models.sft.slurm import cancel as cancel_on_slurm
from models.sft.state import JobStatus, job_status, starter, trainer
from store.database import open_database
from store.jobs import add_job, get_job
from store.records import HostSettings, TrainingSettings
from store.sqlite import Database
from tests import slurm, sshd, stand_in
from tests.needs import needs_slurm, needs_sshd
from tests.sshd import family
from tests.waiting import held_still, until

Kdtui = Callable[..., Any]


@pytest.fixture
def imported(db: Database, few: Path) -> None:
    list(import_dataset(db, few, "outdoor"))


@pytest.fixture
def workdir(tmp_path: Path, server: sshd.Sshd, kdtui: Kdtui) -> Path:
    """The folder of a host `far`."""
    assert server.process is not None
    folder = tmp_path / 'it\'s a "work" dir'
    options = ["--ssh", "gpu", "--workdir", folder, "--python", sys.executable]
    assert kdtui("host", "add", "far", *options).code == 0
    return folder


def launch(kdtui: Kdtui, base: Path, name: str, *arguments: object) -> Any:
    # A step takes a whole epoch, so there are few of them.
    options = ["--name", name, "--base", base, "--learning-rate", 0.003, "--batch-tokens", 30000]
    return kdtui("sft", "launch", *options, *arguments)


def state(kdtui: Kdtui, name: str) -> str:
    [row] = [row for row in kdtui("sft", "ls", "--json").rows if row["name"] == name]
    return str(row["state"])


def kill_a_client_that_watches(name: str) -> None:
    """The training goes on without it."""
    command = [sys.executable, "-m", "kdtui", "sft", "logs", name, "--follow"]
    watching = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert watching.stderr is not None
    assert watching.stderr.readline()
    watching.kill()
    watching.communicate()


def has_learned(job: Path) -> bool:
    """Whether there is a checkpoint, and a loss to show."""
    return bool(list((job / "checkpoints").glob("step-????????"))) and job_status(job).loss is not None


def begins_again(kdtui: Kdtui, name: str) -> bool:
    """Have Slurm begin the first job at once, where it would wait for two minutes; whether it runs."""
    # While what is left of it is cleared away, Slurm takes no update, or forgets it.
    subprocess.run(["scontrol", "update", "JobId=1", "StartTime=now"], capture_output=True, check=False)
    return state(kdtui, name) == "running"


@needs_sshd
@pytest.mark.usefixtures("imported")
def test_a_training_on_a_host_goes_on_without_its_client_and_comes_home(
    kdtui: Kdtui, base: Path, workdir: Path, server: sshd.Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = launch(kdtui, base, "far-one", "--host", "far", "--epochs", 12)
    assert result.code == 0, result.err
    assert "bringing tiny.gguf to far" in result.err
    assert "it runs on far as process" in result.err
    job = workdir / "jobs" / "far-one"
    pid = starter(job)
    kill_a_client_that_watches("far-one")
    until(lambda: has_learned(job))
    with held_still(trainer(job)):
        # Launched once, it is not launched again.
        assert kdtui("sft", "resume", "far-one").code == 0
        assert starter(job) == pid
        assert "is running; " in kdtui("sft", "resume", "far-one", "--local").err
        assert "it is running; cancel it first" in kdtui("sft", "rm", "far-one", "--yes").err
        # Another machine takes it over, and stops it.
        monkeypatch.setenv("KDTUI_DB", str(tmp_path / "other" / "kdtui.db"))
        kdtui("host", "add", "far", "--ssh", "other", "--workdir", workdir, "--python", sys.executable)
        assert kdtui("sft", "adopt", "far:far-one").code == 0
        [row] = kdtui("sft", "show", "far-one", "--json").rows
        assert (row["state"], row["datasets"]) == ("running", ["outdoor"])
        assert row["loss"] is not None
    assert kdtui("sft", "cancel", "far-one").code == 0
    assert trainer(job) is None
    # The first one sees that, and goes on.
    monkeypatch.setenv("KDTUI_DB", str(tmp_path / "store" / "kdtui.db"))
    assert state(kdtui, "far-one") == "stopped"
    result = kdtui("sft", "resume", "far-one", "--follow")
    assert result.code == 0, result.err
    assert "going on from step" in result.err
    steps = [line.partition(":")[0] for line in result.err.splitlines() if line.startswith("step ")]
    assert len(steps) == len(set(steps)) > 0, "each line comes once"
    assert "Loop <" not in result.err, "nothing is said of how it works"
    assert "it/s" not in result.err, "no progress bars in logs"
    assert "use it with: --adapter far-one" in result.err
    [answer] = kdtui("generate", "o34", "--student", base, "--adapter", "far-one", "--json").rows
    assert answer["session"] == "o34"
    [adapter] = [row for row in kdtui("model", "ls", "--json").rows if row["name"] == "far-one"]
    assert adapter["kind"] == "adapter"
    # The host is gone, and what is known of it is still there.
    server.stop()
    result = kdtui("sft", "ls", "--json")
    assert (result.code, result.rows[0]["state"]) == (0, "done")
    assert "nobody listens there" in result.err
    server.start()
    assert kdtui("sft", "rm", "far-one", "--yes").code == 0
    assert not job.exists()
    assert kdtui("sft", "ls", "--json").rows == []


@needs_sshd
def test_a_followed_log_goes_on_behind_a_lost_connection(
    db: Database, workdir: Path, server: sshd.Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdtui.workflows.remote.PAUSES", (0.2,))
    monkeypatch.setattr("kdtui.workflows.remote._LOOK", 0.5)
    job = workdir / "jobs" / "long"
    job.mkdir(parents=True)
    (job / "id").write_text("key")
    (job / LAUNCH).write_text(json.dumps(identity(os.getpid())))
    (job / "log").write_text("one\ntwo\n")
    add_job(db, "long", workdir / "home", TrainingSettings(("outdoor",)), "key", host="far")
    found, states, losses = b"", [], 0
    for event in follow(db, get_job(db, "long")):
        if isinstance(event, StatusSeen):
            states.append(event.status.state)
            continue
        if isinstance(event, ConnectionLost):
            losses += 1
            continue
        found += event.text
        with (job / "log").open("a") as log:
            if found.endswith(b"two\n"):
                server.stop()
                log.write("three\n")
                server.start()
            elif found.endswith(b"three\n"):
                log.write("four, the last one")
                log.flush()
                (job / EXIT_CODE).write_text("0")
    assert found == b"one\ntwo\nthree\nfour, the last one"
    assert (states[0], states[-1], losses) == ("running", "done", 1)
    server.stop()
    with pytest.raises(TransportError, match="nobody listens"):
        list(follow(db, get_job(db, "long")))


@needs_sshd
def test_a_followed_log_goes_on_behind_a_network_that_froze(
    db: Database, workdir: Path, server: sshd.Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdtui.workflows.remote.PAUSES", (0.2,))
    monkeypatch.setattr("kdtui.workflows.remote._LOOK", 0.5)
    monkeypatch.setattr("kdtui.jobs.client.SshTransport", partial(SshTransport, keepalive=1))
    job = workdir / "jobs" / "long"
    job.mkdir(parents=True)
    (job / "id").write_text("key")
    (job / LAUNCH).write_text(json.dumps(identity(os.getpid())))
    (job / "log").write_text("one\n")
    add_job(db, "long", workdir / "home", TrainingSettings(("outdoor",)), "key", host="far")
    assert server.process is not None
    found, frozen, lost = b"", list[int](), 0
    try:
        for event in follow(db, get_job(db, "long")):
            if isinstance(event, ConnectionLost):
                lost += 1
                continue
            if not isinstance(event, LogGrew):
                continue
            found += event.text
            if not frozen:
                # What serves the connection hangs; whoever connects anew is served.
                frozen = family(server.process.pid)
                for pid in frozen:
                    os.kill(pid, signal.SIGSTOP)
                with (job / "log").open("a") as log:
                    log.write("two\n")
            elif found.endswith(b"two\n"):
                (job / EXIT_CODE).write_text("0")
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert (found, lost) == (b"one\ntwo\n", 1)


@needs_sshd
@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("commands", [1, 2, 3])
def test_a_launch_into_a_network_that_freezes_is_one_sentence_and_starts_once(
    kdtui: Kdtui, base: Path, workdir: Path, server: sshd.Sshd, monkeypatch: pytest.MonkeyPatch, commands: int
) -> None:
    stand_in.set_up(workdir, 'echo "began $$"\nexec sleep 120\n')
    monkeypatch.setattr("kdtui.jobs.client.SshTransport", partial(SshTransport, keepalive=1))
    assert server.process is not None
    frozen = list[int]()

    def freeze(daemon: int) -> None:
        until(lambda: server.commands >= commands)
        frozen.extend(family(daemon))
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)

    freezing = Thread(target=freeze, args=[server.process.pid])
    freezing.start()
    job = workdir / "jobs" / "frozen"
    try:
        result = launch(kdtui, base, "frozen", "--host", "far")
        freezing.join()
        assert result.code == 1
        assert "kdtui sft resume frozen goes on where this was" in result.err
        assert len([line for line in result.err.splitlines() if line.startswith("kdtui: ")]) == 1
        for pid in frozen:
            # The client has hung up on some.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        assert kdtui("sft", "resume", "frozen").code == 0
        until(lambda: (job / "log").read_text().endswith("\n"))
        assert (job / "log").read_text().count("began") == 1
        assert state(kdtui, "frozen") == "running"
    finally:
        if job.exists():
            stop(job, grace=5)


@needs_sshd
@pytest.mark.usefixtures("imported")
def test_a_training_goes_on_on_another_host(kdtui: Kdtui, base: Path, workdir: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    options = ["--local", "--workdir", other, "--python", sys.executable, "--processes", 2]
    assert kdtui("host", "add", "second", *options).code == 0
    assert launch(kdtui, base, "moving", "--host", "far", "--epochs", 20).code == 0
    job = workdir / "jobs" / "moving"
    until(lambda: list((job / "checkpoints").glob("step-????????")))
    pid = trainer(job)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: state(kdtui, "moving") == "failed")
    # What a machine does that has no memory left.
    assert "ended from outside (killed, out of memory, or" in kdtui("sft", "show", "moving").out
    result = kdtui("sft", "resume", "moving", "--host", "second")
    assert result.code == 0, result.err
    until(lambda: "going on from step" in kdtui("sft", "logs", "moving").out)
    assert kdtui("sft", "cancel", "moving").code == 0
    assert list((other / "jobs" / "moving" / "checkpoints").iterdir())


@needs_sshd
@pytest.mark.usefixtures("imported")
def test_folders_of_the_home_folder_are_not_taken_for_our_packages(
    kdtui: Kdtui, base: Path, workdir: Path, server: sshd.Sshd, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for name in ("models", "torch", "kdtui"):
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").write_text(f"raise SystemExit('{name} of the home folder')")
    server.stop()
    with (server.folder / "sshd_config").open("a") as file:
        # As one that logs in there finds it.
        file.write(f'ForceCommand cd "{home}"; eval "$SSH_ORIGINAL_COMMAND"\n')
    server.start()
    # What torchrun starts, too.
    kdtui("host", "set", "far", "--processes", 2)
    result = launch(kdtui, base, "at-home", "--host", "far", "--epochs", 1)
    assert result.code == 0, result.err
    job = workdir / "jobs" / "at-home"
    until(lambda: (job / EXIT_CODE).exists() or starter(job) is None)
    assert job_status(job).state == "done", (job / "log").read_text()


@needs_sshd
@pytest.mark.usefixtures("imported")
def test_what_a_host_cannot_do_is_one_sentence_and_can_be_tried_again(
    kdtui: Kdtui, base: Path, workdir: Path, server: sshd.Sshd
) -> None:
    server.stop()
    result = launch(kdtui, base, "later", "--host", "far", "--epochs", 1)
    assert result.code == 1
    assert "kdtui sft resume later goes on where this was" in result.err
    assert "nobody listens there" in result.err.splitlines()[-1]
    [row] = kdtui("sft", "ls", "--json").rows
    assert row["state"] == "created"
    server.start()
    kdtui("host", "set", "far", "--python", "/nowhere/python")
    assert "there is no Python at /nowhere/python" in kdtui("sft", "resume", "later").err
    kdtui("host", "set", "far", "--python", sys.executable)
    job = workdir / "jobs" / "later"
    job.mkdir(parents=True)
    (job / "id").write_text("somebody else's")
    assert "another training is called 'later' there" in kdtui("sft", "resume", "later").err
    (job / "id").unlink()
    (job / "job.json").touch()
    assert "is gone; if this is that training, write" in kdtui("sft", "resume", "later").err
    (job / "job.json").unlink()
    job.rmdir()
    assert "is not running; it is created" in kdtui("sft", "cancel", "later").err
    assert "has no adapter yet; it is created" in kdtui("sft", "fetch", "later").err
    assert kdtui("sft", "resume", "later", "--follow").code == 0
    assert "another training has taken its directory" not in kdtui("sft", "ls").err
    (job / "id").write_text("somebody else's")
    assert state(kdtui, "later") == "failed"
    assert "this directory is another training's" in kdtui("sft", "fetch", "later", "--checkpoints").err
    assert kdtui("sft", "rm", "later", "--yes").code == 0
    assert job.exists(), "what is another's stays"


@needs_sshd
@pytest.mark.usefixtures("imported")
def test_nothing_is_brought_or_started_where_packages_are_missing(
    kdtui: Kdtui, base: Path, workdir: Path, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    kdtui("host", "set", "far", "--python", tmp_path / "bare" / "bin" / "python")
    result = launch(kdtui, base, "bare", "--host", "far")
    assert result.code == 1
    assert "no torch, transformers, peft, accelerate, safetensors, gguf" in result.err.splitlines()[-1]
    assert "kdtui host setup far" in result.err.splitlines()[-1]
    assert "it runs on" not in result.err
    assert not (workdir / "blobs").exists()
    assert state(kdtui, "bare") == "created"


@needs_sshd
@pytest.mark.usefixtures("imported", "workdir")
def test_a_training_that_fails_at_once_is_an_error_with_its_reason(kdtui: Kdtui, base: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        f"""#!/bin/sh
        [ "$2" = models.sft ] || exec '{sys.executable}' "$@"
        echo 'no driver for this GPU'
        echo 1 >"$3/exit_code"
        exec sleep 2
        """
    )
    python.chmod(0o755)
    kdtui("host", "set", "far", "--python", python)
    result = launch(kdtui, base, "doomed", "--host", "far")
    assert (result.code, "has failed: no driver for this GPU" in result.err.splitlines()[-1]) == (1, True), result.err


@needs_sshd
@pytest.mark.usefixtures("imported")
def test_a_host_is_asked_few_times(kdtui: Kdtui, base: Path, workdir: Path, server: sshd.Sshd) -> None:
    stand_in.set_up(workdir)
    assert launch(kdtui, base, "first", "--host", "far", "--epochs", 1).code == 0
    before = server.commands
    assert launch(kdtui, base, "second", "--host", "far", "--epochs", 1).code == 0
    assert server.commands - before <= 5
    before = server.commands
    assert len(kdtui("sft", "ls", "--json").rows) == 2
    assert server.commands - before <= 3
    before = server.commands
    assert len(kdtui("sft", "ls", "--cached", "--json").rows) == 2
    assert server.commands == before
    for name in ("first", "second"):
        until(lambda name=name: (workdir / "jobs" / name / EXIT_CODE).exists())  # type: ignore[misc]


@needs_sshd
@pytest.mark.usefixtures("imported")
def test_a_client_that_is_killed_while_it_launches_starts_nothing_twice(
    kdtui: Kdtui, base: Path, workdir: Path
) -> None:
    job = workdir / "jobs" / "torn"
    command = ["sft", "launch", "--name", "torn", "--base", str(base), "--host", "far", "--epochs", "200"]
    client = subprocess.Popen([sys.executable, "-m", "kdtui", *command], stderr=subprocess.PIPE, text=True)
    assert client.stderr is not None
    # It has been prepared here, and is brought now.
    assert "training torn:" in client.stderr.readline()
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    time.sleep(random.Random(seed).uniform(0, 2))
    client.kill()
    client.communicate()
    assert state(kdtui, "torn") in ("created", "running")
    for _ in range(2):
        kdtui("sft", "resume", "torn")
    until(lambda: trainer(job))
    assert subprocess.run(["pgrep", "-fc", f"models.sft {job}"], capture_output=True, check=False).stdout == b"1\n"
    assert not [each for each in job.parent.iterdir() if each.name.endswith(".part")]
    assert kdtui("sft", "cancel", "torn").code == 0
    assert subprocess.run(["pgrep", "-fc", f"models.sft {job}"], capture_output=True, check=False).stdout == b"0\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["launch", "--name", "x", "--host", "nowhere"], "there is no host 'nowhere'"),
        (["launch", "--name", "x", "--host", "nowhere", "--local"], "--local is here, and --host elsewhere"),
        (["launch", "--name", "x", "--after", "y"], "there is no training 'y'"),
        (["resume", "x"], "there is no training 'x'"),
        (["fetch", "x"], "there is no training 'x'"),
        (["adopt", "x"], "there is no host 'x'"),
        (["adopt", "x:"], "say HOST, or HOST:NAME"),
        (["adopt", "x:y"], "there is no host 'x'"),
    ],
)
@pytest.mark.usefixtures("imported")
def test_what_cannot_be_asked_is_one_sentence(kdtui: Kdtui, arguments: list[str], said: str) -> None:
    result = kdtui("sft", *arguments)
    assert result.code in (1, 2)
    assert said in result.err


@pytest.fixture
def cluster(tmp_path: Path, kdtui: Kdtui, server: sshd.Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The workdir of a host `cluster` with Slurm, through sshd."""
    with slurm.running(tmp_path / "slurm") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        server.stop()
        with (server.folder / "sshd_config").open("a") as file:
            file.write("SetEnv " + " ".join(f'"{name}={value}"' for name, value in environment.items()) + "\n")
        server.start()
        folder = tmp_path / "cluster home"
        options = ["--ssh", "gpu", "--workdir", folder, "--python", sys.executable, "--launcher", "slurm"]
        assert kdtui("host", "add", "cluster", *options, "--partition", "short", "--time", "10").code == 0
        yield folder


@needs_sshd
@needs_slurm
@pytest.mark.usefixtures("imported")
def test_a_training_goes_through_slurm_and_comes_home(
    kdtui: Kdtui, base: Path, cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kdtui("host", "check", "cluster").code == 0
    result = launch(kdtui, base, "queued", "--host", "cluster", "--epochs", 12)
    assert result.code == 0, result.err
    assert "#SBATCH --signal=TERM@120" in result.err
    assert "it runs on cluster as Slurm job 1" in result.err
    job = cluster / "jobs" / "queued"
    kill_a_client_that_watches("queued")
    until(lambda: has_learned(job))
    with held_still(trainer(job)):
        # Another machine takes it over, and sees how it is.
        monkeypatch.setenv("KDTUI_DB", str(tmp_path / "other" / "kdtui.db"))
        options = ["--ssh", "gpu", "--workdir", cluster, "--python", sys.executable, "--launcher", "slurm"]
        assert kdtui("host", "add", "cluster", *options).code == 0
        assert kdtui("sft", "adopt", "cluster:queued").code == 0
        [row] = kdtui("sft", "show", "queued", "--json").rows
        assert row["state"] == "running"
        assert row["loss"] > 0
        monkeypatch.setenv("KDTUI_DB", str(tmp_path / "store" / "kdtui.db"))
        # Submitted once, it is not submitted again, though the answer was lost.
        (job / LAUNCH).unlink()
        assert "as Slurm job 1" in kdtui("sft", "resume", "queued").err
        assert state(kdtui, "queued") == "running"
    # The time is up: Slurm tells the steps, and the script has the rest trained in a new job.
    subprocess.run(["scancel", "--signal=TERM", "1"], check=True)
    until(lambda: state(kdtui, "queued") == "queued")
    assert not (job / "adapter").exists()
    until(lambda: begins_again(kdtui, "queued"))
    until(lambda: "going on from step" in kdtui("sft", "logs", "queued").out)
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
def test_slurm_begins_a_training_behind_another_and_tells_of_one_that_it_ended(
    kdtui: Kdtui, base: Path, cluster: Path
) -> None:
    assert launch(kdtui, base, "one", "--host", "cluster", "--epochs", 40).code == 0
    assert launch(kdtui, base, "two", "--host", "cluster", "--after", "one", "--epochs", 1).code == 0
    rows = {row["name"]: row for row in kdtui("sft", "ls", "--json").rows}
    assert (rows["two"]["state"], rows["two"]["reason"]) == ("queued", "Slurm: Dependency")
    until(lambda: trainer(cluster / "jobs" / "one"))
    subprocess.run(["scancel", "--signal=KILL", "--full", "1"], check=True)
    until(lambda: state(kdtui, "one") == "failed")
    until(lambda: state(kdtui, "two") == "failed")
    result = launch(kdtui, base, "three", "--host", "cluster")
    kdtui("sft", "cancel", "three")
    assert result.code == 0
    kdtui("host", "set", "cluster", "--partition", "no-such-partition")
    result = launch(kdtui, base, "four", "--host", "cluster")
    assert result.code == 1
    assert "invalid partition" in result.err.lower()


def test_the_script_says_what_slurm_is_to_give() -> None:
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
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Processes that are no trainers, to be ended all the same.


def stubborn(folder: Path) -> Path:
    """A Python that starts a child in a session of its own, and heeds no signal; neither does the child."""
    path = folder / "python"
    path.write_text(
        "#!/bin/sh\ntrap '' TERM\n(trap '' TERM; exec setsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done') &\n"
        "while :; do sleep 0.1; done\n"
    )
    path.chmod(0o755)
    return path


def test_what_does_not_end_by_itself_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    start(tmp_path, python=str(stubborn(tmp_path)))
    assert job_status(tmp_path).state == "running"
    left = stop(tmp_path, grace=0.5)
    assert [each.split()[0] for each in left] == ["killed"] * len(left)
    assert len(left) >= 2
    assert job_status(tmp_path).state == "stopped"
    assert stop(tmp_path, grace=0.5) == []


@pytest.fixture
def told_by_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Have one of Slurm's commands, which is no real one, say something: a cluster with accounts, for one."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()

    def tell(command: str, said: str) -> None:
        (tmp_path / "bin" / command).write_text(f"#!/bin/sh\necho '{said}'\n")
        (tmp_path / "bin" / command).chmod(0o755)

    return tell


def test_what_the_accounts_of_slurm_say_of_a_training_is_told(
    tmp_path: Path, told_by_slurm: Callable[[str, str], None]
) -> None:
    told_by_slurm("squeue", "")
    told_by_slurm("sacct", "OUT_OF_MEMORY")
    (tmp_path / LAUNCH).write_text('{"launcher": "slurm", "slurm": 7}')
    assert Queue([tmp_path]).state(tmp_path) == ("failed", "Slurm has ended it (OUT_OF_MEMORY)")


def test_a_launch_of_slurm_that_was_edited_by_hand_cannot_be_ended(
    tmp_path: Path, told_by_slurm: Callable[[str, str], None]
) -> None:
    told_by_slurm("squeue", "")
    (tmp_path / LAUNCH).write_text('{"launcher": "slurm"}')
    with pytest.raises(ModelError, match="it has no number of a Slurm job any more"):
        cancel_on_slurm(tmp_path, grace=0)


@pytest.mark.parametrize(("said", "processors"), [({}, "4"), ({"SLURM_CPUS_PER_TASK": "3"}, "3")])
def test_a_step_of_slurm_has_the_processors_of_its_job(
    tmp_path: Path, told_by_slurm: Callable[[str, str], None], said: dict[str, str], processors: str
) -> None:
    told_by_slurm("srun", "'\"$SRUN_CPUS_PER_TASK\"'")
    script = slurm_script(HostSettings(launcher="slurm", processes=2), str(tmp_path), "python3", "code.zip")
    environment = os.environ | {"SLURM_CPUS_ON_NODE": "4"} | said
    done = subprocess.run(["bash"], input=script, text=True, capture_output=True, check=False, env=environment)
    assert done.stdout == f"{processors}\n"


def test_a_training_is_started_once_by_several_clients(tmp_path: Path) -> None:
    python = str(stubborn(tmp_path))
    first = start(tmp_path, python=python)
    assert start(tmp_path, python=python) == first
    stop(tmp_path, grace=0.1)
    with launching(tmp_path), pytest.raises(ModelError, match="another client"):
        start(tmp_path, python=python)


def test_a_training_waits_for_another_and_fails_with_it(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
    start(before, python=str(stubborn(before)))
    start(after, python="/bin/true", after=before)
    assert job_status(after).state == "queued"
    stop(before, grace=0.1)
    until(lambda: job_status(after).state == "failed")
    assert "is not done; kdtui sft resume" in (job_status(after).reason or "")
    (before / EXIT_CODE).write_text("0")
    # A command that is found by its name, as it is by default.
    start(after, python="echo", after=before)
    until(lambda: "-m models.sft" in (after / "log").read_text())


def test_a_training_that_has_ended_and_is_not_gone_yet_is_started_anew(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho begun\necho 1 > "$3/exit_code"\nexec sleep 1\n')
    python.chmod(0o755)
    first = start(tmp_path, python=str(python))
    until(lambda: job_status(tmp_path).state == "failed")
    assert start(tmp_path, python=str(python)) != first
    until(lambda: (tmp_path / "log").read_text() == "begun\nbegun\n")


def test_a_trainer_that_was_started_by_hand_is_ended_too(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    (tmp_path / "pid").write_text(json.dumps(identity(process.pid)))
    assert stop(tmp_path, grace=5) == []
    assert process.wait(1) != 0
    assert job_status(tmp_path).state == "stopped"


def test_a_host_that_was_started_anew_runs_nothing(tmp_path: Path) -> None:
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
    assert b"launcher" not in content or Queue([tmp_path]).word(tmp_path) is None


def test_a_store_of_before_knows_its_trainings_still(db: Database, database_of_the_test: Path) -> None:
    db.execute(
        "INSERT INTO jobs (name, folder, settings, created_at) VALUES ('old', '/x', '{\"datasets\":[\"a\"]}', '2026')"
    )
    db.conn.commit()
    job = get_job(open_database(database_of_the_test), "old")
    assert (job.host, job.key, job.evaluate) == (None, "job-1", False)
