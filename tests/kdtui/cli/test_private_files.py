"""What kdtui stores can be read by no other user, also where new files are open to all by default."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdtui.tui.core.crash_report import write_crash_report
from kdtui.tui.memory import Memory
from kdtui.workflows.calls.unsaved_calls import PaidCall, set_aside
from kdtui.workflows.claims import claims_of
from models.files.file_cache import compute_cached
from models.sft.job_files import EXIT_CODE
from store.database import open_database
from tests.support import sshd, stand_in
from tests.support.commands import Kdtui
from tests.support.launching import launch
from tests.support.needs import needs_sshd
from tests.support.waiting import until


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
def test_what_is_written_to_folders_that_are_open_to_others_is_private(kdtui: Kdtui, few: Path, tmp_path: Path) -> None:
    state = tmp_path / "state" / "kdtui"
    state.mkdir(parents=True, mode=0o755)
    database = tmp_path / "store" / "kdtui.db"
    database.parent.mkdir(mode=0o755)
    assert kdtui("data", "import", few, "--dataset", "outdoor").code == 0
    Memory(state / "tui.json", database).save()
    assert "the details are in" in write_crash_report(ValueError("a fault"))
    set_aside(
        database, PaidCall(key="key", teacher="t", step="rules", request="{}", response="yes", seconds=1.0, attempts=1)
    )
    assert compute_cached(few, lambda _: "value", state / "cache") == "value"
    claims_of(open_database(database))
    written = [path for folder in (state, database.parent) for path in folder.rglob("*") if path.is_file()]
    assert {"tui.json", "key.json", "kdtui.db", "kdtui.db.claims"} <= {path.name for path in written}
    assert any(path.name.startswith("fault-") for path in written)
    assert [str(path) for path in written if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


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


@needs_sshd
@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("umask", ["000", "002", "022"])
def test_all_below_the_workdir_of_a_host_is_private(
    kdtui: Kdtui, base: Path, server: sshd.Sshd, tmp_path: Path, umask: str
) -> None:
    server.stop()
    with (server.folder / "sshd_config").open("a") as file:
        # sshd itself takes the right to write from others, but a start-up file on a host can give it.
        file.write(f'ForceCommand umask {umask}; eval "$SSH_ORIGINAL_COMMAND"\n')
    server.start()
    workdir = tmp_path / "far"
    stand_in.set_up(workdir, f'umask >"$3/umask"\n{stand_in.STOPS}')
    made_by_the_test = {workdir, *workdir.rglob("*")}
    # An earlier version left it open.
    (workdir / "code").mkdir(mode=0o777)
    (workdir / "code").chmod(0o777)
    assert kdtui("host", "add", "far", "--ssh", "gpu", "--workdir", workdir, "--python", sys.executable).code == 0
    result = launch(kdtui, base, "one", "--host", "far", "--dataset", "outdoor")
    assert result.code == 0, result.err
    until(lambda: (workdir / "jobs" / "one" / EXIT_CODE).exists())
    made = set(workdir.rglob("*")) - made_by_the_test
    assert {"code", "blobs", "jobs", "log", "state.json", "tiny.gguf"} <= {path.name for path in made}
    assert any(path.suffix == ".zip" for path in made)
    assert [str(path) for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    # What the training makes later is private too.
    assert (workdir / "jobs" / "one" / "umask").read_text().strip().endswith("77")


@needs_sshd
@pytest.mark.usefixtures("imported")
def test_a_new_workdir_of_a_host_is_private(kdtui: Kdtui, server: sshd.Sshd, tmp_path: Path) -> None:
    assert server.process is not None
    workdir = tmp_path / "deep" / "far"
    assert kdtui("host", "add", "far", "--ssh", "gpu", "--workdir", workdir, "--python", sys.executable).code == 0
    assert kdtui("sft", "adopt", "far").code == 0
    assert [path for path in (workdir, workdir / "code") if not is_private(path, workdir.parent)] == []
