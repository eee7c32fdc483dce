"""Trainings of a stand-in on hosts: their adapters are fetched, through one connection, and then evaluated."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kdtui.workflows.job_state import known_training
from kdtui.workflows.training.outcome import known_outcome
from models.files.hashing import file_sha256
from models.sft.job_files import ANSWERS, EXIT_CODE
from models.sft.processes import stop_trainer
from models.sft.state import starter_pid
from store.hosts import Host, add_host
from store.jobs import add_job, get_job
from store.records import HostSettings, TrainingSettings
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support import sshd, stand_in
from tests.support.commands import Kdtui
from tests.support.done_trainings import right, wrong
from tests.support.needs import needs_sshd
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("imported")


@pytest.fixture
def far(tmp_path: Path, server: sshd.Sshd, kdtui: Kdtui) -> Path:
    """The workdir of a host `far`, whose trainings are done at once."""
    assert server.process is not None
    adapter = stand_in.random_adapter(tmp_path / "made")
    stand_in.set_up(tmp_path / "far", f'cp -r "{adapter}" "$3/adapter"\necho 0 >"$3/exit_code"\n')
    options = ["--ssh", "gpu", "--workdir", tmp_path / "far", "--python", sys.executable]
    assert kdtui("host", "add", "far", *options).code == 0
    return tmp_path / "far"


def done(kdtui: Kdtui, base: Path, far: Path, name: str, *options: object) -> Path:
    """A training that is done on `far`; its directory there."""
    result = kdtui("sft", "launch", "--name", name, "--base", base, "--host", "far", *options)
    assert result.code == 0, result.err
    until(lambda: (far / "jobs" / name / EXIT_CODE).exists())
    return far / "jobs" / name


@pytest.mark.slow
@needs_sshd
def test_a_requested_evaluation_waits_until_the_adapter_is_fetched(
    kdtui: Kdtui, base: Path, far: Path, server: sshd.Sshd
) -> None:
    done(kdtui, base, far, "one", "--evaluate", "--dataset", "outdoor")
    assert kdtui("run", "ls", "--json").rows == []
    for _ in range(2):
        result = kdtui("sft", "ls")
        assert "training one is done, and its adapter is still to be evaluated, with: kdtui sft fetch one" in result.err
    # It is on this machine now, so the host is no longer needed.
    server.stop()
    result = kdtui("sft", "show", "one")
    assert "still to be evaluated" in result.err
    result = kdtui("sft", "fetch", "one")
    assert result.code == 0, result.err
    assert "on outdoor valid" in result.err
    assert "one" in result.out
    [run] = kdtui("run", "ls", "--json").rows
    assert (run["dataset"], run["split"]) == ("outdoor", "valid")
    assert "still to be evaluated" not in kdtui("sft", "ls", "--cached").err
    assert [row["to_evaluate"] for row in kdtui("sft", "ls", "--cached", "--json").rows] == [False]


@pytest.mark.slow
def test_a_local_training_is_evaluated_by_the_command_that_follows_it(kdtui: Kdtui, base: Path, db: Database) -> None:
    result = kdtui("sft", "launch", "--name", "one", "--base", base, "--epochs", 1, "--evaluate")
    assert result.code == 0, result.err
    assert get_job(db, "one").evaluate
    result = kdtui("sft", "logs", "one", "--follow")
    assert result.code == 0, result.err
    assert len(kdtui("run", "ls", "--json").rows) == 1
    assert not get_job(db, "one").evaluate


@needs_sshd
@pytest.mark.slow
def test_many_trainings_are_fetched_through_one_connection(
    kdtui: Kdtui, base: Path, far: Path, server: sshd.Sshd
) -> None:
    for name in ("one", "two", "three"):
        done(kdtui, base, far, name)
    before, connections = server.commands, (server.folder / "sshd.log").read_text().count("Accepted publickey")
    result = kdtui("sft", "ls", "--json")
    assert result.err.count("use it with: --adapter") == 3, result.err
    assert (server.folder / "sshd.log").read_text().count("Accepted publickey") == connections + 1
    # One check of all trainings, and the fetched files.
    assert server.commands - before <= 1 + 3 * 4
    before = server.commands
    assert [row["state"] for row in kdtui("sft", "ls", "--json").rows] == ["done"] * 3
    assert server.commands - before == 1
    assert {row["name"] for row in kdtui("model", "ls", "--json").rows} >= {"one", "two", "three"}


@pytest.mark.slow
@needs_sshd
def test_a_long_log_is_printed_and_fetched_in_chunks(kdtui: Kdtui, base: Path, far: Path) -> None:
    job = done(kdtui, base, far, "one")
    log = "trained\n" + "step ünd loss\n" * 50_000 + "the end"
    (job / "log").write_text(log)
    assert kdtui("sft", "logs", "one").out == log + "\n"
    assert kdtui("sft", "fetch", "one").code == 0
    home = get_home(kdtui)
    assert (home / "log").read_text() == log
    assert not list(home.glob("*.part"))
    (job / "log").unlink()
    assert kdtui("sft", "logs", "one").out == ""


@pytest.mark.slow
@needs_sshd
def test_the_checkpoints_of_a_failed_training_are_fetched(kdtui: Kdtui, base: Path, far: Path, db: Database) -> None:
    shutil.rmtree(far)
    stand_in.set_up(far)
    job = done(kdtui, base, far, "one")
    (job / EXIT_CODE).write_text("1")
    result = kdtui("sft", "fetch", "one", "--checkpoints")
    assert result.code == 0, result.err
    assert "fetched 1 file of training one (failed)" in result.err
    assert (get_job(db, "one").folder / "checkpoints" / "step-00000007" / "state.json").exists()


@needs_sshd
def test_an_adapter_that_cannot_be_converted_fails_its_fetch(kdtui: Kdtui, base: Path, far: Path) -> None:
    (done(kdtui, base, far, "one") / "adapter" / "adapter_model.safetensors").write_bytes(b"")
    result = kdtui("sft", "fetch", "one", "--checkpoints")
    assert result.code == 1
    assert "its adapter cannot be converted" in result.err


@needs_sshd
def test_a_fetch_says_whether_the_training_helped(kdtui: Kdtui, base: Path, far: Path, db: Database) -> None:
    job = done(kdtui, base, far, "one", "--dataset", "outdoor", "--form", "list")
    answers = [
        {"session": each.id, "dataset": "outdoor", "before": wrong(each), "after": right(each)}
        for each in iter_sessions(db, "outdoor", split="valid")
    ]
    (job / "adapter" / ANSWERS).write_text("".join(json.dumps(each) + "\n" for each in answers))
    result = kdtui("sft", "fetch", "one")
    assert result.code == 0, result.err
    known = known_outcome(known_training(db, "one"))
    assert known is not None
    assert all(line in result.err for line in known.in_words)


def get_home(kdtui: Kdtui) -> Path:
    """Return the folder of the only training on this machine."""
    [adapter] = [row for row in kdtui("model", "ls", "--json").rows if row["name"] == "one"]
    return Path(adapter["path"]).parent


@needs_sshd
@pytest.mark.slow
def test_a_client_that_is_killed_during_a_fetch_leaves_no_partial_adapter(
    kdtui: Kdtui, base: Path, far: Path, db: Database
) -> None:
    job = done(kdtui, base, far, "one")
    # Too large for one message.
    large = job / "checkpoints" / "step-00000001" / "optimizer.safetensors"
    large.parent.mkdir(parents=True)
    large.write_bytes(os.urandom(1 << 20) * 300)
    (large.parent / "state.json").write_text("{}")
    home = get_job(db, "one").folder
    command = [sys.executable, "-m", "kdtui", "sft", "fetch", "one", "--checkpoints"]
    client = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    here = home / large.relative_to(job)
    coming = home / "coming" / large.relative_to(job)
    part = coming.with_name(f"{coming.name}.part")
    until(lambda: part.exists() and part.stat().st_size > 1 << 20)
    client.kill()
    client.wait()
    assert not here.exists()
    assert not (here.parent / "state.json").exists(), "it would be taken for whole"
    assert not (home / "adapter").exists()
    came = part.stat().st_size
    assert 0 < came < large.stat().st_size
    result = kdtui("sft", "fetch", "one", "--checkpoints")
    assert result.code == 0, result.err
    assert file_sha256(here) == file_sha256(large)
    assert (here.parent / "state.json").exists()
    assert {"adapter", "one.gguf"} <= {path.name for path in home.iterdir()}
    assert not [*home.rglob("*.part"), *home.glob("coming")]


@pytest.mark.slow
@needs_sshd
def test_many_hosts_are_asked_once_and_in_parallel(
    kdtui: Kdtui, db: Database, server: sshd.Sshd, tmp_path: Path
) -> None:
    names = [f"host{number}" for number in range(5)]
    for name in names:
        add_host(db, Host(name, "gpu", str(tmp_path / name), HostSettings(python=sys.executable)))
    for number in range(50):
        host = names[number % len(names)]
        job = tmp_path / host / "jobs" / f"job{number}"
        job.mkdir(parents=True)
        (job / "id").write_text(f"key{number}")
        (job / EXIT_CODE).write_text("143")
        add_job(db, job.name, tmp_path / "jobs" / job.name, TrainingSettings(("a",)), f"key{number}", host=host)
    for most in (3, 1):
        # The package is sent to each of them first.
        before = server.commands
        rows = kdtui("sft", "ls", "--json").rows
        assert [row["state"] for row in rows] == ["stopped"] * 50
        assert server.commands - before <= most * len(names)


@needs_sshd
@pytest.mark.slow
def test_two_clients_that_launch_a_training_at_the_same_moment_start_it_once(
    kdtui: Kdtui, base: Path, far: Path, server: sshd.Sshd
) -> None:
    shutil.rmtree(far)
    stand_in.set_up(far, 'echo "began $$"\nexec sleep 120\n')
    server.stop()
    assert kdtui("sft", "launch", "--name", "one", "--base", base, "--host", "far").code == 1
    server.start()
    command = [sys.executable, "-m", "kdtui", "sft", "resume", "one"]
    clients = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    line = [client.communicate()[1] for client in clients]
    job = far / "jobs" / "one"
    try:
        assert 0 in [client.returncode for client in clients], line
        for client, each in zip(clients, line, strict=True):
            assert client.returncode == 0 or "try again" in each
        until(lambda: (job / "log").read_text().endswith("\n"))
        assert (job / "log").read_text().count("began") == 1
        pid = starter_pid(job)
        assert kdtui("sft", "resume", "one").code == 0
        assert starter_pid(job) == pid is not None
    finally:
        stop_trainer(job, grace=5)
    assert not [each for each in job.parent.iterdir() if each.name.endswith(".part")]
