"""`kdtui data export`: a file that is whole, or what was there before."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdtui.errors import BadFile
from kdtui.exchange.output import write_whole
from kdtui.workflows.import_dataset import import_dataset
from store.sqlite import Database

Kdtui = Callable[..., Any]


def broken() -> Any:
    yield b"one"
    raise OSError(28, "No space left on device")


def test_a_failed_export_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    with pytest.raises(BadFile, match=r"out.jsonl: No space left on device; nothing was written"):
        write_whole(path, broken())
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("out.jsonl", "old")]


def test_a_link_is_followed_and_a_pipe_stays_one(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert write_whole(tmp_path / "link", [b"new"]) == 1
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    subprocess.run(["mkfifo", str(tmp_path / "pipe")], check=True)
    with subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE) as reader:
        write_whole(tmp_path / "pipe", [b"a", b"b"])
        assert reader.communicate()[0] == b"ab"
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("name", ["", "missing/out.jsonl"], ids=["a folder", "a missing folder"])
def test_what_cannot_be_written_is_named_as_it_was_typed(
    db: Database, outdoor: Path, tmp_path: Path, kdtui: Kdtui, name: str
) -> None:
    list(import_dataset(db, outdoor, "d"))
    before = sorted(tmp_path.iterdir())
    result = kdtui("data", "export", "-o", tmp_path / name)
    assert result.code == 1
    assert result.err.startswith(f"kdtui: {tmp_path / name}: ")
    assert sorted(tmp_path.iterdir()) == before
