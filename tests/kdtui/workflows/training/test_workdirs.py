"""An unwritable workdir is reported with the reason, and is not mistaken for a missing Python."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from store.hosts import Host, add_host
from store.records import HostSettings
from store.sqlite import Database
from tests.support import sshd
from tests.support.commands import Kdtui


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A separate read-only file system."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def refused(kdtui: Kdtui, host: Host) -> str:
    result = kdtui("host", "check", host.name, "--json")
    assert result.code == 1
    found = {row["name"]: row for row in result.rows}
    assert found["reachable"]["state"] == "ok"
    assert "python" not in found
    assert found["disk"]["state"] == "missing"
    assert "cannot train yet: disk" in result.err
    return str(found["disk"]["found"])


def test_a_workdir_on_a_read_only_file_system_says_so(kdtui: Kdtui, db: Database, host: Host, tmp_path: Path) -> None:
    with read_only(tmp_path / "frozen"):
        add_host(db, replace(host, workdir=str(tmp_path / "frozen" / "it's" / "deep")))
        message = refused(kdtui, host)
        assert "Read-only file system" in message
        assert "that file system can only be read; add the host again with another --workdir" in message


@pytest.mark.parametrize("below", ["", "/deeper/still"])
def test_a_workdir_that_is_a_file_says_so(kdtui: Kdtui, db: Database, host: Host, tmp_path: Path, below: str) -> None:
    (tmp_path / "a file").write_text("mine")
    add_host(db, replace(host, workdir=f"{tmp_path}/a file{below}"))
    assert "a file is in the place of a folder; move it away, or add the host again" in refused(kdtui, host)
    assert (tmp_path / "a file").read_text() == "mine"


def test_a_workdir_that_cannot_be_created_says_so(kdtui: Kdtui, db: Database, host: Host) -> None:
    add_host(db, replace(host, workdir="/proc/no/such"))
    assert "its workdir /proc/no/such cannot be written (mkdir: " in refused(kdtui, host)


@pytest.mark.parametrize(
    ("problem", "advice"),
    [
        ("Disk quota exceeded", "your quota is used up; delete something of yours there"),
        ("Permission denied", "you may not write there"),
        ("No space left on device", "make room below the workdir"),
        ("Input/output error", "add the host again with another --workdir"),
    ],
)
def test_the_reason_why_a_workdir_cannot_be_created_comes_with_advice(
    kdtui: Kdtui, db: Database, host: Host, server: sshd.Sshd, tmp_path: Path, problem: str, advice: str
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "mkdir").write_text(f'#!/bin/sh\necho "mkdir: cannot create directory: {problem}" >&2; exit 1\n')
    (tools / "mkdir").chmod(0o755)
    server.stop()
    server.environment["PATH"] = f"{tools}:{os.environ['PATH']}"
    server.start()
    add_host(db, host)
    message = refused(kdtui, host)
    assert problem in message
    assert message.endswith(advice) or f"; {advice}" in message


@pytest.mark.slow
def test_a_workdir_that_became_read_only_says_so_at_a_start(
    kdtui: Kdtui, db: Database, host: Host, tmp_path: Path
) -> None:
    add_host(db, host)
    kdtui("host", "check", host.name)
    code = tmp_path / "code"
    Path(host.workdir, "code").rename(code)
    Path(host.workdir).rmdir()
    with read_only(Path(host.workdir)):
        subprocess.run(["mount", "-o", "remount,rw", host.workdir], check=True)
        shutil.copytree(code, Path(host.workdir, "code"))
        subprocess.run(["mount", "-o", "remount,ro", host.workdir], check=True)
        result = kdtui("host", "setup", host.name)
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert "Read-only file system; that file system can only be read" in result.err
        [disk] = [row for row in kdtui("host", "check", host.name, "--json").rows if row["name"] == "disk"]
        assert (disk["state"], "cannot be written" in disk["found"]) == ("missing", True)


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("exit 127", "does not run there, and ends with exit code 127 (pyenv: no such version)"),
        ("exit 1", "does not run there, and ends with exit code 1 (pyenv: no such version)"),
        ("kill -9 $$", "was killed there by signal 9"),
    ],
)
def test_a_broken_python_is_not_called_missing(
    kdtui: Kdtui, db: Database, host: Host, tmp_path: Path, python: str, message: str
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\necho 'pyenv: no such version' >&2\n{python}\n")
    script.chmod(0o755)
    add_host(db, replace(host, settings=HostSettings(python=str(script))))
    [found] = [row["found"] for row in kdtui("host", "check", host.name, "--json").rows if row["name"] == "python"]
    assert message in found
    assert "there is no Python" not in found


@pytest.mark.usefixtures("imported")
def test_a_refused_training_is_reported_as_prepared_not_as_possibly_started(
    kdtui: Kdtui, db: Database, host: Host, base: Path, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("mine")
    add_host(db, replace(host, workdir=f"{tmp_path}/a file"))
    result = kdtui("sft", "launch", "--name", "far-one", "--base", base, "--host", host.name, "--epochs", 1)
    assert result.code == 1
    assert "a file is in the place of a folder" in result.err.splitlines()[-1]
    assert "training far-one is prepared but not started; kdtui sft resume far-one starts it" in result.err
    assert "may not have been started" not in result.err
