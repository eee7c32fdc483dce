"""Files and folders are written completely or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.files.whole_files import new_folder, put_in_place, replacing, write_whole


def test_a_file_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    path.write_text("before")
    write_whole(path, "größer")
    assert path.read_bytes() == "größer".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_the_old_file_is_unchanged(tmp_path: Path) -> None:
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


def test_a_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_content_is_on_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_new_folder_that_a_killed_process_left_is_deleted_by_the_next_one(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom models.files.whole_files import new_folder\n"
        "with new_folder(Path(sys.argv[1])) as part:\n"
        "    (part / 'half').touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "target")], check=False)
    [left] = tmp_path.glob(".*.part")
    os.utime(left, (0, 0))
    (tmp_path / ".notes.part").mkdir()
    # One that is still being written stays.
    with new_folder(tmp_path / "one") as one, new_folder(tmp_path / "other"):
        assert one.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".notes.part", "one", "other"]


def test_a_new_file_that_a_killed_process_left_is_deleted_by_the_next_one(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom models.files.whole_files import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "target")], check=False)
    [left] = tmp_path.glob(".*.part")
    os.utime(left, (0, 0))
    # One that is still being written stays, however old it is.
    with replacing(tmp_path / "one") as one:
        [part] = {*tmp_path.glob(".*.part")} - {left}
        os.utime(part, (0, 0))
        write_whole(tmp_path / "other", "whole")
        one.write(b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]
    assert (tmp_path / "one").read_text() == "whole"


def test_a_folder_that_a_killed_process_was_replacing_is_restored(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom models.files import whole_files\n"
        "whole_files.put_in_place = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with whole_files.new_folder(Path(sys.argv[1]), replace=True) as part:\n"
        "    (part / 'new').touch()\n"
    )
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert not target.exists()
    with new_folder(target, replace=True) as part:
        assert [path.name for path in target.iterdir()] == ["old"]
        (part / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert not list(tmp_path.glob(".*.old"))


def test_a_folder_that_another_process_is_replacing_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom models.files.whole_files import new_folder\n"
        "with new_folder(Path(sys.argv[1]), replace=True) as part:\n"
        "    (part / 'other').touch()\n"
    )
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()

    def put_after_another_process(part: Path, target: Path) -> None:
        if not target.exists():
            subprocess.run([sys.executable, "-c", code, str(target)], check=True)
        put_in_place(part, target)

    monkeypatch.setattr("models.files.whole_files.put_in_place", put_after_another_process)
    with pytest.raises(OSError, match="not empty"), new_folder(target, replace=True) as part:
        (part / "new").touch()
    assert [path.name for path in target.iterdir()] == ["other"]


def test_a_link_to_a_folder_is_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    target = tmp_path / "target"
    target.symlink_to(tmp_path / "elsewhere")
    with new_folder(target, replace=True) as part:
        (part / "new").touch()
    assert not target.is_symlink()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert (tmp_path / "elsewhere" / "kept").exists()
