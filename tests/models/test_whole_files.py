"""Files and folders that are written are there whole, or not at all."""

import os
from pathlib import Path

import pytest

from models.files.whole_files import put_in_place, replacing, write_whole


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    path.write_text("before")
    write_whole(path, "größer")
    assert path.read_bytes() == "größer".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_may_be_read_by_whom_the_user_lets_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_what_has_the_name_has_reached_the_disk_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    really_sync = os.fsync

    def sync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        assert not (tmp_path / "target").exists()
        really_sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    (tmp_path / "part" / "below").mkdir(parents=True)
    for name in ("one", "below/other"):
        (tmp_path / "part" / name).write_text("content")
    put_in_place(tmp_path / "part", tmp_path / "target")
    assert sorted(synced) == ["one", "other"]
    assert (tmp_path / "target" / "below" / "other").read_text() == "content"
