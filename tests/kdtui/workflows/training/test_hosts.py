"""`kdtui host add`, `check`, `ls` and `rm`: what a host has is named, with advice about what it lacks."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kdtui.hosts import package
from kdtui.hosts.transport import run_command
from kdtui.workflows.training import hosts
from store.hosts import Host, add_host
from store.records import HostSettings
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.reaching import add_far
from tests.support.sshd import Sshd


@pytest.mark.usefixtures("server")
def test_a_host_is_checked_and_says_what_it_has(kdtui: Kdtui, tmp_path: Path) -> None:
    assert add_far(kdtui, tmp_path).code == 0
    result = kdtui("host", "check", "far", "--json")
    found = {row["name"]: row for row in result.rows}
    assert found["reachable"]["state"] == "ok"
    assert found["python"]["found"].startswith("3.")
    assert "torch" in found["packages"]["found"]
    assert "is not on the host yet" in found["base"]["found"]
    assert found["clock"]["state"] == "ok"
    assert result.code == 0
    assert [row["name"] for row in kdtui("host", "ls", "--json").rows] == ["far"]
    assert kdtui("host", "set", "far", "--python", "/nowhere/python3").code == 0
    result = kdtui("host", "check", "far")
    assert (result.code, "there is no Python at /nowhere/python3" in result.out) == (1, True)
    assert kdtui("host", "rm", "far", "--yes").code == 0
    assert kdtui("host", "ls", "--json").rows == []


@pytest.mark.usefixtures("server")
def test_a_relative_workdir_is_below_the_home_folder(kdtui: Kdtui) -> None:
    assert kdtui("host", "add", "far", "--ssh", "gpu", "--workdir", "~/some where").code == 0
    [row] = kdtui("host", "ls", "--json").rows
    assert row["workdir"] == str(Path("~").expanduser() / "some where")


@pytest.mark.parametrize(
    ("home", "message"),
    [
        (b"/home/me\nrm -rf x\n", "its home folder cannot be entered"),
        (b"/home/\x1b[31m\n", "its home folder cannot be entered"),
        (b"/home/" + b"x" * 10_000, "it sends more than it was asked for"),
    ],
)
def test_a_host_cannot_name_a_strange_home_folder(
    kdtui: Kdtui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: bytes, message: str
) -> None:
    (tmp_path / "pwd").write_bytes(home)

    async def run(transport: Any, _: object, **more: Any) -> Any:
        return await run_command(transport, ["cat", str(tmp_path / "pwd")], **more)

    monkeypatch.setattr(hosts, "run_command", run)
    result = kdtui("host", "add", "far", "--local", "--workdir", "~/far")
    assert (result.code, message in result.err) == (1, True), result.err


@pytest.mark.usefixtures("server")
def test_missing_packages_are_named_with_advice(kdtui: Kdtui, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    add_far(kdtui, tmp_path, "--python", tmp_path / "bare" / "bin" / "python")
    result = kdtui("host", "check", "far", "--json")
    [packages] = [row for row in result.rows if row["name"] == "packages"]
    assert packages["found"].startswith("no torch, transformers, peft")
    assert packages["advice"] == "kdtui host setup far"
    assert "cannot train yet: packages" in result.err


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ("yes", "its key is known"),
        ("accept-new", "its key was believed when it was new"),
        ("no", "its key is not checked"),
    ],
)
def test_a_check_says_whether_keys_are_checked(
    server: Sshd, host: Host, db: Database, kdtui: Kdtui, quick: Path, checks: str, message: str
) -> None:
    server.write_config(StrictHostKeyChecking=checks)
    add_host(db, replace(host, settings=HostSettings(python=str(quick))))
    first = kdtui("host", "check", host.name, "--json").rows[0]
    assert first["name"] == "reachable"
    assert message in first["found"]


@pytest.mark.usefixtures("server")
def test_a_base_is_on_the_host_when_all_its_files_are(kdtui: Kdtui, tmp_path: Path, quick: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text(name)
    add_far(kdtui, tmp_path, "--python", quick)
    there = tmp_path / "there" / "blobs" / package.Tree.of(folder).key
    there.mkdir(parents=True)
    for name, message in (("config.json", "is not on the host yet"), ("model.safetensors", "is on the host")):
        (there / name).write_text(name)
        found = kdtui("host", "check", "far", "--base", folder, "--json").rows
        assert [row["found"] for row in found if row["name"] == "base"] == [f"model {message}"]


@pytest.mark.usefixtures("server")
def test_gpus_are_reported_as_by_their_driver(kdtui: Kdtui, server: Sshd, tmp_path: Path, quick: Path) -> None:
    add_far(kdtui, tmp_path, "--python", quick)
    [gpus] = [row for row in kdtui("host", "check", "far", "--json").rows if row["name"] == "gpus"]
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text('#!/bin/sh\necho "Big GPU, 81559 MiB, 570.1"\necho "Big GPU, 81559 MiB, 570.1"\n')
    (tools / "nvidia-smi").chmod(0o755)
    server.stop()
    server.environment["PATH"] = f"{tools}:{os.environ['PATH']}"
    server.start()
    [seen] = [row for row in kdtui("host", "check", "far", "--json").rows if row["name"] == "gpus"]
    assert (seen["state"], seen["found"]) == ("ok", "Big GPU, 81559 MiB, 570.1; Big GPU, 81559 MiB, 570.1")
    if shutil.which("nvidia-smi") is None:
        assert (gpus["state"], gpus["advice"]) == ("note", "trainings run, slowly")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "far"], "give --ssh ALIAS, or --local"),
        (["add", "far", "--local", "--ssh", "gpu"], "give --ssh ALIAS, or --local"),
        (["add", "here", "--local", "--workdir", "/x"], "is what lists of trainings call this machine"),
        (["add", "../far", "--local", "--workdir", "/x"], "cannot be a name"),
        (["add", "far", "--local", "--workdir", "/x\ny"], "must be one line"),
        (["add", "far", "--local", "--workdir", "/x", "--gpus", "2"], "are Slurm's; add --launcher slurm"),
        (["add", "far", "--local", "--workdir", "/x", "--nodes", "2"], "add --launcher slurm"),
        (
            ["add", "far", "--local", "--workdir", "/x", "--launcher", "slurm", "--option", "--a=b\nrm x"],
            "each option and each command must be one line",
        ),
        (["check", "far"], "there is no host 'far'"),
        (["rm", "far"], "there is no host 'far'"),
        (["setup", "far", "--wheels", "/nowhere"], "does not exist"),
    ],
)
def test_a_wrong_host_gives_one_sentence(kdtui: Kdtui, arguments: list[str], message: str) -> None:
    result = kdtui("host", *arguments)
    assert result.code in (1, 2)
    assert message in result.err
