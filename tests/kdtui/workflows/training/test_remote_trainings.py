"""Trainings on a host: real ones of a tiny model through sshd, with clients that disconnect."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from kdtui.hosts.ssh import SshTransport
from kdtui.hosts.transport import TransportError
from kdtui.workflows.training.follow_on_host import ConnectionLost, follow_on_host
from kdtui.workflows.training.on_this_machine import LogGrew, StatusSeen
from models.sft.job_files import EXIT_CODE, LAUNCH, identity
from models.sft.processes import stop_trainer
from models.sft.state import job_status, starter_pid, trainer_pid
from store.jobs import add_job, get_job
from store.records import TrainingSettings
from store.sqlite import Database
from tests.support import sshd, stand_in
from tests.support.commands import Kdtui
from tests.support.launching import has_learned, kill_a_client_that_watches, launch, state
from tests.support.needs import needs_sshd
from tests.support.sshd import family
from tests.support.waiting import held_still, until

RUNS = """
trap 'echo 143 >"$3/exit_code"; exit' TERM
while true; do sleep 0.1; done
"""
"""A trainer that runs until it gets a signal."""

DONE = 'echo 0 >"$3/exit_code"\n'


@pytest.fixture
def workdir(tmp_path: Path, server: sshd.Sshd, kdtui: Kdtui) -> Path:
    """The folder of a host `far`."""
    assert server.process is not None
    folder = tmp_path / 'it\'s a "work" dir'
    options = ["--ssh", "gpu", "--workdir", folder, "--python", sys.executable]
    assert kdtui("host", "add", "far", *options).code == 0
    return folder


@needs_sshd
@pytest.mark.usefixtures("imported")
@pytest.mark.slow
def test_a_training_on_a_host_continues_without_its_client_and_is_fetched(
    kdtui: Kdtui, base: Path, workdir: Path, server: sshd.Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = launch(kdtui, base, "far-one", "--host", "far", "--epochs", 8)
    assert result.code == 0, result.err
    assert "copying tiny.gguf to far" in result.err
    assert "it runs on far as process" in result.err
    job = workdir / "jobs" / "far-one"
    pid = starter_pid(job)
    kill_a_client_that_watches("far-one")
    until(lambda: has_learned(job))
    with held_still(trainer_pid(job)):
        # It is not launched again.
        assert kdtui("sft", "resume", "far-one").code == 0
        assert starter_pid(job) == pid
        assert "is running; " in kdtui("sft", "resume", "far-one", "--local").err
        assert "it is running; cancel it first" in kdtui("sft", "rm", "far-one", "--yes").err
        # Another machine adopts it, and stops it.
        monkeypatch.setenv("KDTUI_DB", str(tmp_path / "other" / "kdtui.db"))
        kdtui("host", "add", "far", "--ssh", "other", "--workdir", workdir, "--python", sys.executable)
        assert kdtui("sft", "adopt", "far:far-one").code == 0
        [row] = kdtui("sft", "show", "far-one", "--json").rows
        assert (row["state"], row["datasets"]) == ("running", ["outdoor"])
        assert row["loss"] is not None
    result = kdtui("sft", "cancel", "far-one")
    assert result.code == 0
    assert "training far-one was asked to stop: if it has begun, it finishes its step" in result.err
    assert "training far-one has stopped: it left a checkpoint at step" in result.err
    assert trainer_pid(job) is None
    # The first machine sees that, and resumes it.
    monkeypatch.setenv("KDTUI_DB", str(tmp_path / "store" / "kdtui.db"))
    assert state(kdtui, "far-one") == "stopped"
    result = kdtui("sft", "resume", "far-one", "--follow")
    assert result.code == 0, result.err
    assert "resuming from step" in result.err
    steps = [line.partition(":")[0] for line in result.err.splitlines() if line.startswith("step ")]
    assert len(steps) == len(set(steps)) > 0, "each line comes once"
    assert "Loop <" not in result.err, "nothing is said of how it works"
    assert "it/s" not in result.err, "no progress bars in logs"
    assert "use it with: --adapter far-one" in result.err
    [answer] = kdtui("generate", "o34", "--student", base, "--adapter", "far-one", "--json").rows
    assert answer["session"] == "o34"
    [adapter] = [row for row in kdtui("model", "ls", "--json").rows if row["name"] == "far-one"]
    assert adapter["kind"] == "adapter"
    # The host is gone, but the last known state is still shown.
    server.stop()
    result = kdtui("sft", "ls", "--json")
    assert (result.code, result.rows[0]["state"]) == (0, "done")
    assert "nothing listens on that port" in result.err
    server.start()
    assert kdtui("sft", "rm", "far-one", "--yes").code == 0
    assert not job.exists()
    assert kdtui("sft", "ls", "--json").rows == []


def running_job(db: Database, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a training that runs on the host and has a log of two lines, and have it looked at often."""
    monkeypatch.setattr("kdtui.workflows.training.follow_on_host.PAUSES", (0.2,))
    monkeypatch.setattr("kdtui.workflows.training.follow_on_host._LOOK", 0.5)
    job = workdir / "jobs" / "long"
    job.mkdir(parents=True)
    (job / "id").write_text("key")
    (job / LAUNCH).write_text(json.dumps(identity(os.getpid())))
    (job / "log").write_text("one\ntwo\n")
    add_job(db, "long", workdir / "home", TrainingSettings(("outdoor",)), "key", host="far")
    return job


@needs_sshd
def test_a_followed_log_continues_after_a_lost_connection(
    db: Database, workdir: Path, server: sshd.Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running_job(db, workdir, monkeypatch)
    found, states, losses = b"", [], 0
    for event in follow_on_host(db, get_job(db, "long")):
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
    with pytest.raises(TransportError, match="nothing listens"):
        list(follow_on_host(db, get_job(db, "long")))


@needs_sshd
def test_a_followed_log_that_restarts_is_shown_from_its_start(
    db: Database, workdir: Path, server: sshd.Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running_job(db, workdir, monkeypatch)
    found, restarts = "", 0
    for event in follow_on_host(db, get_job(db, "long")):
        if not isinstance(event, LogGrew):
            continue
        found, restarts = found + event.text.decode(), restarts + event.restarts
        if found == "one\ntwo\n":
            # Longer than the old one.
            (job / "new log").write_text("a longer one\n")
            (job / "new log").replace(job / "log")
        elif found.endswith("longer one\n"):
            # What has been shown is counted from the start of the new log.
            server.stop()
            with (job / "log").open("a") as log:
                log.write("more\n")
            server.start()
        elif found.endswith("more\n"):
            server.stop()
            (job / "log").write_text("last\n")
            server.start()
        elif found.endswith("last\n"):
            (job / EXIT_CODE).write_text("0")
    assert (found, restarts) == ("one\ntwo\na longer one\nmore\nlast\n", 2)


@needs_sshd
def test_a_followed_log_continues_after_a_frozen_network(
    db: Database, workdir: Path, server: sshd.Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdtui.workflows.training.follow_on_host.PAUSES", (0.2,))
    monkeypatch.setattr("kdtui.workflows.training.follow_on_host._LOOK", 0.5)
    monkeypatch.setattr("kdtui.hosts.client.SshTransport", partial(SshTransport, keepalive=1))
    job = workdir / "jobs" / "long"
    job.mkdir(parents=True)
    (job / "id").write_text("key")
    (job / LAUNCH).write_text(json.dumps(identity(os.getpid())))
    (job / "log").write_text("one\n")
    add_job(db, "long", workdir / "home", TrainingSettings(("outdoor",)), "key", host="far")
    assert server.process is not None
    found, frozen, lost = b"", list[int](), 0
    try:
        for event in follow_on_host(db, get_job(db, "long")):
            if isinstance(event, ConnectionLost):
                lost += 1
                continue
            if not isinstance(event, LogGrew):
                continue
            found += event.text
            if not frozen:
                # The process of this connection hangs; new connections work.
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
@pytest.mark.slow
def test_a_launch_into_a_freezing_network_gives_one_sentence_and_starts_once(
    kdtui: Kdtui, base: Path, workdir: Path, server: sshd.Sshd, monkeypatch: pytest.MonkeyPatch, commands: int
) -> None:
    stand_in.set_up(workdir, 'echo "began $$"\nexec sleep 120\n')
    monkeypatch.setattr("kdtui.hosts.client.SshTransport", partial(SshTransport, keepalive=1))
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
        assert "kdtui sft resume frozen starts or resumes it" in result.err
        assert len([line for line in result.err.splitlines() if line.startswith("kdtui: ")]) == 1
        for pid in frozen:
            # The client has closed some connections.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        assert kdtui("sft", "resume", "frozen").code == 0
        until(lambda: (job / "log").read_text().endswith("\n"))
        assert (job / "log").read_text().count("began") == 1
        assert state(kdtui, "frozen") == "running"
    finally:
        if job.exists():
            list(stop_trainer(job, grace=5))


@needs_sshd
@pytest.mark.usefixtures("imported")
@pytest.mark.slow
def test_a_training_resumes_on_another_host(kdtui: Kdtui, base: Path, workdir: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    options = ["--local", "--workdir", other, "--python", sys.executable, "--processes", 2]
    assert kdtui("host", "add", "second", *options).code == 0
    assert launch(kdtui, base, "moving", "--host", "far", "--epochs", 20).code == 0
    job = workdir / "jobs" / "moving"
    until(lambda: list((job / "checkpoints").glob("step-????????")))
    pid = trainer_pid(job)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: state(kdtui, "moving") == "failed")
    # As on a machine without free memory.
    assert "ended from outside (killed, out of memory, or" in kdtui("sft", "show", "moving").out
    result = kdtui("sft", "resume", "moving", "--host", "second")
    assert result.code == 0, result.err
    until(lambda: "resuming from step" in kdtui("sft", "logs", "moving").out)
    assert kdtui("sft", "cancel", "moving").code == 0
    assert list((other / "jobs" / "moving" / "checkpoints").iterdir())


@needs_sshd
@pytest.mark.usefixtures("imported")
@pytest.mark.slow
def test_folders_in_the_home_folder_are_not_imported(
    kdtui: Kdtui, base: Path, workdir: Path, server: sshd.Sshd, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for name in ("models", "torch", "kdtui"):
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").write_text(f"raise SystemExit('{name} of the home folder')")
    server.stop()
    with (server.folder / "sshd_config").open("a") as file:
        # As in a login on the host.
        file.write(f'ForceCommand cd "{home}"; eval "$SSH_ORIGINAL_COMMAND"\n')
    server.start()
    # Also in the processes of torchrun.
    kdtui("host", "set", "far", "--processes", 2)
    result = launch(kdtui, base, "at-home", "--host", "far", "--epochs", 1)
    assert result.code == 0, result.err
    job = workdir / "jobs" / "at-home"
    until(lambda: (job / EXIT_CODE).exists() or starter_pid(job) is None)
    assert job_status(job).state == "done", (job / "log").read_text()


@needs_sshd
@pytest.mark.usefixtures("imported")
@pytest.mark.slow
def test_a_failure_of_a_host_gives_one_sentence_and_can_be_retried(
    kdtui: Kdtui, base: Path, workdir: Path, server: sshd.Sshd, tmp_path: Path
) -> None:
    server.stop()
    result = launch(kdtui, base, "later", "--host", "far", "--epochs", 1)
    assert result.code == 1
    assert "kdtui sft resume later starts or resumes it" in result.err
    assert "nothing listens on that port" in result.err.splitlines()[-1]
    [row] = kdtui("sft", "ls", "--json").rows
    assert row["state"] == "created"
    server.start()
    kdtui("host", "set", "far", "--python", "/nowhere/python")
    assert "there is no Python at /nowhere/python" in kdtui("sft", "resume", "later").err
    kdtui("host", "set", "far", "--python", sys.executable)
    stand_in.set_up(workdir, f'cp -r "{stand_in.random_adapter(tmp_path / "made")}" "$3/adapter"; {DONE}')
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
def test_without_packages_nothing_is_uploaded_or_started(
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
def test_a_training_that_fails_at_once_reports_its_reason(kdtui: Kdtui, base: Path, tmp_path: Path) -> None:
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
def test_a_host_gets_few_requests(kdtui: Kdtui, base: Path, workdir: Path, server: sshd.Sshd) -> None:
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


@pytest.mark.slow
@needs_sshd
@pytest.mark.usefixtures("imported")
def test_a_client_killed_during_a_launch_starts_nothing_twice(kdtui: Kdtui, base: Path, workdir: Path) -> None:
    job = workdir / "jobs" / "torn"
    stand_in.set_up(workdir, RUNS)
    command = ["sft", "launch", "--name", "torn", "--base", str(base), "--host", "far", "--epochs", "200"]
    client = subprocess.Popen([sys.executable, "-m", "kdtui", *command], stderr=subprocess.PIPE, text=True)
    assert client.stderr is not None
    # It has been prepared on this machine, and is being uploaded.
    assert "training torn is in" in client.stderr.readline()
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    time.sleep(random.Random(seed).uniform(0, 2))
    client.kill()
    client.communicate()
    assert state(kdtui, "torn") in ("created", "running")
    for _ in range(2):
        kdtui("sft", "resume", "torn")
    until(lambda: starter_pid(job))
    assert subprocess.run(["pgrep", "-fc", f"models.sft {job}"], capture_output=True, check=False).stdout == b"1\n"
    assert not [each for each in job.parent.iterdir() if each.name.endswith(".part")]
    assert kdtui("sft", "cancel", "torn").code == 0
    assert subprocess.run(["pgrep", "-fc", f"models.sft {job}"], capture_output=True, check=False).stdout == b"0\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["launch", "--name", "x", "--host", "nowhere"], "there is no host 'nowhere'"),
        (["launch", "--name", "x", "--host", "nowhere", "--local"], "--local and --host contradict each other"),
        (["launch", "--name", "x", "--after", "y"], "there is no training 'y'"),
        (["resume", "x"], "there is no training 'x'"),
        (["fetch", "x"], "there is no training 'x'"),
        (["adopt", "x"], "there is no host 'x'"),
        (["adopt", "x:"], "give HOST, or HOST:NAME"),
        (["adopt", "x:y"], "there is no host 'x'"),
    ],
)
@pytest.mark.usefixtures("imported")
def test_a_wrong_command_gives_one_sentence(kdtui: Kdtui, arguments: list[str], message: str) -> None:
    result = kdtui("sft", *arguments)
    assert result.code in (1, 2)
    assert message in result.err
