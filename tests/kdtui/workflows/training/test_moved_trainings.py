"""Trainings that move between hosts, and between the stores of machines: only one copy of each can be started.

Their trainer is a script that writes a checkpoint and stops: these tests are about files and messages.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kdtui.hosts.package import Tree
from models.files.json_files import read_object
from models.sft.job_files import EXIT_CODE, JOB
from tests.support import sshd, stand_in
from tests.support.commands import Kdtui
from tests.support.needs import needs_sshd
from tests.support.tiny import make_model
from tests.support.waiting import until

pytestmark = [needs_sshd, pytest.mark.usefixtures("imported")]


@pytest.fixture
def far(tmp_path: Path, server: sshd.Sshd, kdtui: Kdtui) -> Path:
    """The workdir of a host `far`; there is another one, `second`."""
    assert server.process is not None
    add_hosts(kdtui, tmp_path)
    for name in ("far", "second"):
        stand_in.set_up(tmp_path / name)
    return tmp_path / "far"


def add_hosts(kdtui: Kdtui, folder: Path) -> None:
    for name, ssh in (("far", "gpu"), ("second", "other")):
        options = ["--ssh", ssh, "--workdir", folder / name, "--python", sys.executable]
        assert kdtui("host", "add", name, *options).code == 0


def stopped(kdtui: Kdtui, base: Path, far: Path, name: str = "one") -> Path:
    """A stopped training on `far` with a checkpoint; its directory on the host."""
    result = kdtui("sft", "launch", "--name", name, "--base", base, "--host", "far")
    assert result.code == 0, result.err
    job = far / "jobs" / name
    until(lambda: (job / EXIT_CODE).exists())
    return job


@pytest.fixture
def another_machine(kdtui: Kdtui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Switch commands to the store of another machine that knows the same hosts."""

    def go() -> None:
        monkeypatch.setenv("KDTUI_DB", str(tmp_path / "another" / "kdtui.db"))
        add_hosts(kdtui, tmp_path)

    return go


@pytest.mark.slow
def test_an_adopted_training_continues_on_another_host_from_the_same_base(
    kdtui: Kdtui, base: Path, far: Path, tmp_path: Path, another_machine: Callable[[], None]
) -> None:
    stopped(kdtui, base, far)
    another_machine()
    # The other machine does not have the path of the host.
    shutil.rmtree(far / "blobs")
    assert kdtui("sft", "adopt", "far:one").code == 0
    for where in (["--host", "second"], ["--local"]):
        result = kdtui("sft", "resume", "one", *where)
        assert result.code == 1
        assert "training 'one' begins from tiny.gguf, which is not on this machine" in result.err
        assert "kdtui model add FILE" in result.err
    other = make_model(tmp_path / "other.gguf", seed=1)
    result = kdtui("sft", "resume", "one", "--host", "second", "--base", other)
    assert (result.code, "does not begin from this; the hash of its base differs" in result.err) == (1, True)
    named = tmp_path / "called otherwise.gguf"
    shutil.copy(base, named)
    assert kdtui("model", "add", named, "--name", "tiny").code == 0
    result = kdtui("sft", "resume", "one", "--host", "second")
    assert result.code == 0, result.err
    used = read_object(tmp_path / "second" / "jobs" / "one" / JOB)["base"]
    assert Path(used).is_relative_to(tmp_path / "second" / "blobs")
    assert Path(used).read_bytes() == base.read_bytes()


@pytest.mark.slow
def test_a_training_from_a_folder_is_adopted_with_the_folder_named(
    kdtui: Kdtui, base: Path, far: Path, tmp_path: Path, another_machine: Callable[[], None]
) -> None:
    job = stopped(kdtui, base, far)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    key = Tree.of(folder).key
    (job / JOB).write_text(json.dumps(read_object(job / JOB) | {"base": f"{far}/blobs/{key}"}))
    another_machine()
    assert kdtui("sft", "adopt", "far:one").code == 0
    result = kdtui("sft", "resume", "one", "--host", "second")
    assert "begins from a folder that is not on this machine" in result.err
    result = kdtui("sft", "resume", "one", "--host", "second", "--base", folder)
    assert result.code == 0, result.err
    used = read_object(tmp_path / "second" / "jobs" / "one" / JOB)["base"]
    assert used == str(tmp_path / "second" / "blobs" / key)


@pytest.mark.slow
def test_a_host_cannot_have_files_of_this_machine_sent_as_the_base_of_a_training(
    kdtui: Kdtui, base: Path, far: Path, tmp_path: Path, another_machine: Callable[[], None]
) -> None:
    job = stopped(kdtui, base, far)
    another_machine()
    described, secret = read_object(job / JOB), tmp_path / "secret"
    secret.mkdir()
    (secret / "id_ed25519").write_text("a key")
    for named in (".", "..", str(secret), str(secret / "id_ed25519"), 7, None, "", "a\x00b", "/" + "x" * 5000):
        (job / JOB).write_text(json.dumps({**described, "base": named}))
        result = kdtui("sft", "adopt", "far:one")
        assert (result.code, "training 'one' of host far: its base is neither" in result.err) == (1, True), result.err
    assert kdtui("sft", "ls", "--json").rows == []
    # The path can exist later.
    later = tmp_path / "later"
    (job / JOB).write_text(json.dumps({**described, "base": str(later)}))
    assert kdtui("sft", "adopt", "far:one").code == 0
    secret.rename(later)
    result = kdtui("sft", "resume", "one", "--host", "second")
    assert (result.code, "this is neither a GGUF file nor a folder with config.json" in result.err) == (1, True)
    assert not [path for path in (tmp_path / "second").rglob("*") if path.name == "id_ed25519"]


@pytest.mark.slow
def test_a_moved_training_is_not_started_on_its_old_host(
    kdtui: Kdtui,
    base: Path,
    far: Path,
    tmp_path: Path,
    another_machine: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = stopped(kdtui, base, far)
    first = tmp_path / "store" / "kdtui.db"
    another_machine()
    assert kdtui("sft", "adopt", "far:one").code == 0
    monkeypatch.setenv("KDTUI_DB", str(first))
    assert kdtui("sft", "resume", "one", "--host", "second").code == 0
    assert not job.exists()
    another_machine_again = tmp_path / "another" / "kdtui.db"
    monkeypatch.setenv("KDTUI_DB", str(another_machine_again))
    result = kdtui("sft", "resume", "one")
    assert (result.code, "it continues on host second (other)" in result.err) == (1, True), result.err
    assert not job.exists()
    [row] = kdtui("sft", "ls", "--json").rows
    assert (row["state"], row["reason"]) == ("failed", "it continues on host second (other)")
    # Its training set does not help: the host knows better than the store of a machine.
    (here,) = (tmp_path / "another" / "jobs").iterdir()
    shutil.copy(tmp_path / "second" / "jobs" / "one" / "train.jsonl", here)
    result = kdtui("sft", "resume", "one")
    is_told = "continues on host second (other) and cannot be started here" in result.err
    assert (result.code, is_told) == (1, True), result.err
    # It may come back, and its name can be used again.
    monkeypatch.setenv("KDTUI_DB", str(first))
    assert kdtui("sft", "resume", "one", "--host", "far").code == 0
    assert (job / "checkpoints").is_dir()
    assert not (tmp_path / "second" / "jobs" / "one").exists()
    assert kdtui("sft", "rm", "one", "--yes").code == 0
    assert stopped(kdtui, base, far).exists()


@pytest.mark.slow
def test_a_training_leaves_a_lost_host_with_the_fetched_files(
    kdtui: Kdtui, base: Path, far: Path, tmp_path: Path, server: sshd.Sshd
) -> None:
    stopped(kdtui, base, far)
    assert kdtui("sft", "fetch", "one", "--checkpoints").code == 0
    server.stop()
    kdtui("host", "add", "near", "--local", "--workdir", tmp_path / "near", "--python", sys.executable)
    stand_in.set_up(tmp_path / "near")
    result = kdtui("sft", "resume", "one", "--host", "near")
    assert (result.code, "if far is gone for good, add --from-here" in result.err) == (1, True)
    assert "--from-here needs --local or --host" in kdtui("sft", "resume", "one", "--from-here").err
    result = kdtui("sft", "resume", "one", "--host", "near", "--from-here")
    assert result.code == 0, result.err
    assert "host far was not asked; if it comes back, do not resume its copy of one" in result.err
    job = tmp_path / "near" / "jobs" / "one"
    assert (job / "checkpoints" / "step-00000007" / "state.json").exists()
    until(lambda: (job / EXIT_CODE).exists())
    assert [row["host"] for row in kdtui("sft", "ls", "--json").rows] == ["near"]


def test_an_adopted_training_cannot_leave_its_host_without_its_training_set(
    kdtui: Kdtui, base: Path, far: Path, another_machine: Callable[[], None], server: sshd.Sshd
) -> None:
    stopped(kdtui, base, far)
    another_machine()
    assert kdtui("sft", "adopt", "far:one").code == 0
    server.stop()
    result = kdtui("sft", "resume", "one", "--local", "--from-here")
    assert (result.code, "the training set of 'one' is not on this machine; only host far has it" in result.err) == (
        1,
        True,
    )


@pytest.mark.slow
def test_a_lost_store_is_restored_from_the_host(
    kdtui: Kdtui, base: Path, far: Path, another_machine: Callable[[], None]
) -> None:
    for name in ("one", "two"):
        stopped(kdtui, base, far, name)
    assert "has no other trainings" in kdtui("sft", "adopt", "far").err
    another_machine()
    (far / "jobs" / "three").mkdir()
    (far / "jobs" / "three" / JOB).write_text("no JSON")
    (far / "jobs" / "what is being brought").mkdir()
    result = kdtui("sft", "adopt", "far")
    assert (result.code, result.err.count("added training")) == (1, 2), result.err
    assert "job.json: this is not JSON" in result.err
    rows = kdtui("sft", "ls", "--cached", "--json").rows
    assert {row["name"]: row["state"] for row in rows} == {"one": "stopped", "two": "stopped"}
    shutil.rmtree(far / "jobs" / "three")
    assert "has no other trainings" in kdtui("sft", "adopt", "far").err
