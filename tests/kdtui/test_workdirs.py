"""A workdir that cannot be written says why, and is not taken for a Python that is missing."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from store.hosts import Host, add_host
from store.records import HostSettings
from store.sqlite import Database
from tests import sshd

Kdtui = Callable[..., Any]


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A file system of its own that can only be read."""
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


def test_one_below_what_can_only_be_read_says_so(kdtui: Kdtui, db: Database, host: Host, tmp_path: Path) -> None:
    with read_only(tmp_path / "frozen"):
        add_host(db, replace(host, workdir=str(tmp_path / "frozen" / "it's" / "deep")))
        said = refused(kdtui, host)
        assert "Read-only file system" in said
        assert "that file system can only be read; add the host again with another --workdir" in said


@pytest.mark.parametrize("below", ["", "/deeper/still"])
def test_one_with_a_file_in_its_place_says_so(
    kdtui: Kdtui, db: Database, host: Host, tmp_path: Path, below: str
) -> None:
    (tmp_path / "a file").write_text("mine")
    add_host(db, replace(host, workdir=f"{tmp_path}/a file{below}"))
    assert "a file is in the place of a folder; move it away, or add the host again" in refused(kdtui, host)
    assert (tmp_path / "a file").read_text() == "mine"


def test_one_where_no_folder_can_be_made_says_so(kdtui: Kdtui, db: Database, host: Host) -> None:
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
def test_whatever_keeps_it_from_being_made_is_told_with_what_to_do(
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
    said = refused(kdtui, host)
    assert problem in said
    assert said.endswith(advice) or f"; {advice}" in said


def test_one_that_was_made_read_only_since_says_so_where_a_training_is_started(
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
    ("python", "said"),
    [
        ("exit 127", "does not run there, and ends with exit code 127 (pyenv: no such version)"),
        ("exit 1", "does not run there, and ends with exit code 1 (pyenv: no such version)"),
        ("kill -9 $$", "was ended there by signal 9"),
    ],
)
def test_a_python_that_is_there_and_does_not_run_is_not_called_missing(
    kdtui: Kdtui, db: Database, host: Host, tmp_path: Path, python: str, said: str
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\necho 'pyenv: no such version' >&2\n{python}\n")
    script.chmod(0o755)
    add_host(db, replace(host, settings=HostSettings(python=str(script))))
    [found] = [row["found"] for row in kdtui("host", "check", host.name, "--json").rows if row["name"] == "python"]
    assert said in found
    assert "there is no Python" not in found


@pytest.mark.usefixtures("imported")
def test_a_training_that_a_host_refuses_is_said_to_be_prepared_and_not_perhaps_started(
    kdtui: Kdtui, db: Database, host: Host, base: Path, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("mine")
    add_host(db, replace(host, workdir=f"{tmp_path}/a file"))
    result = kdtui("sft", "launch", "--name", "far-one", "--base", base, "--host", host.name, "--epochs", 1)
    assert result.code == 1
    assert "a file is in the place of a folder" in result.err.splitlines()[-1]
    assert "training far-one is prepared but not started; kdtui sft resume far-one starts it" in result.err
    assert "may not have been started" not in result.err
