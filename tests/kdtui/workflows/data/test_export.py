"""`kdtui data export`: the file is complete, or unchanged."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kdtui.errors import BadFile
from kdtui.exchange.output import write_lines
from kdtui.workflows.data.import_dataset import import_dataset
from store.sqlite import Database
from tests.support.commands import Kdtui


def broken() -> Any:
    yield b"one"
    raise OSError(28, "No space left on device")


def test_a_failed_export_leaves_only_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    with pytest.raises(BadFile, match=r"out.jsonl: No space left on device; nothing was written"):
        write_lines(path, broken())
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("out.jsonl", "old")]


def test_a_link_is_followed_and_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert write_lines(tmp_path / "link", [b"new"]) == 1
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    subprocess.run(["mkfifo", str(tmp_path / "pipe")], check=True)
    with subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE) as reader:
        write_lines(tmp_path / "pipe", [b"a", b"b"])
        assert reader.communicate()[0] == b"ab"
    assert (tmp_path / "pipe").is_fifo()


@pytest.fixture
def exported(db: Database, outdoor: Path, kdtui: Kdtui) -> str:
    list(import_dataset(db, outdoor, "d"))
    return str(kdtui("data", "export").out)


def in_a_shell(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    shell = ["bash", "-c", command.replace("kdtui", f"{sys.executable} -m kdtui")]
    return subprocess.run(shell, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command",
    [
        "kdtui data export -o >(gzip >out.gz); wait $!; zcat out.gz",
        "kdtui data export -o >(cat); wait $!",
        "kdtui data export --output /dev/stdout",
        "kdtui data export --output -",
        "kdtui data export --output /dev/fd/3 3>out; cat out",
        "kdtui data export --output /proc/self/fd/1",
    ],
)
def test_an_export_goes_to_the_shells_target(command: str, exported: str, tmp_path: Path) -> None:
    result = in_a_shell(command, tmp_path)
    assert result.stdout == exported
    assert "exported 36 sessions to " in result.stderr


def test_a_file_opened_by_the_shell_keeps_its_contents(exported: str, tmp_path: Path) -> None:
    in_a_shell("{ echo before; kdtui data export --output /dev/stdout; echo after; } >out", tmp_path)
    assert (tmp_path / "out").read_text() == f"before\n{exported}after\n"


def test_a_full_device_is_named(exported: str, kdtui: Kdtui) -> None:
    assert exported
    result = kdtui("data", "export", "-o", "/dev/full")
    assert (result.code, result.err) == (1, "kdtui: /dev/full: No space left on device\n")
    assert kdtui("data", "export", "-o", "/dev/null").code == 0


@pytest.mark.parametrize("name", ["", "missing/out.jsonl"], ids=["a folder", "a missing folder"])
def test_an_unwritable_path_is_named_as_typed(
    db: Database, outdoor: Path, tmp_path: Path, kdtui: Kdtui, name: str
) -> None:
    list(import_dataset(db, outdoor, "d"))
    before = sorted(tmp_path.iterdir())
    result = kdtui("data", "export", "-o", tmp_path / name)
    assert result.code == 1
    assert result.err.startswith(f"kdtui: {tmp_path / name}: ")
    assert sorted(tmp_path.iterdir()) == before
