"""What kdtui stores can be read by no other user, also where new files are open to all by default."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import Kdtui
from tests.support.launching import launch


@pytest.fixture
def loose_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def is_private(path: Path, below: Path) -> bool:
    """Return whether others can access neither a file nor a folder above it, up to `below`."""
    parts = [path, *path.parents]
    return any(not stat.S_IMODE(part.stat().st_mode) & 0o077 for part in parts[: parts.index(below)])


@pytest.mark.usefixtures("loose_umask", "here")
def test_the_store_the_trainings_and_the_caches_are_private(
    kdtui: Kdtui, few: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert kdtui("data", "import", few, "--dataset", "outdoor").code == 0
    assert kdtui("data", "embed", "--with", base).code == 0
    assert launch(kdtui, base, "camping", "--dataset", "outdoor", "--epochs", 1).code == 0
    kept = [tmp_path / name for name in ("store", "cache", "state")]
    files = [path for folder in kept for path in folder.rglob("*") if path.is_file()]
    assert {"kdtui.db", "job.json", "train.jsonl"} <= {path.name for path in files}
    assert [str(path) for path in files if not is_private(path, tmp_path)] == []


@pytest.mark.usefixtures("loose_umask")
def test_a_database_in_a_shared_folder_is_private(kdtui: Kdtui, few: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    assert kdtui("data", "import", few, "--dataset", "outdoor", "--db", shared / "k.db").code == 0
    assert all(is_private(path, shared) for path in shared.iterdir())


@pytest.mark.usefixtures("loose_umask", "imported")
def test_an_export_is_for_others_too(kdtui: Kdtui, tmp_path: Path) -> None:
    assert kdtui("data", "export", "--dataset", "outdoor", "--output", tmp_path / "out.jsonl").code == 0
    assert stat.S_IMODE((tmp_path / "out.jsonl").stat().st_mode) == 0o666
