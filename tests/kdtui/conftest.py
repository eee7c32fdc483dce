"""Fixtures for tests of trainings, hosts and studies. A study is run to its end only once."""

import json
import shutil
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.studies.run import run_study
from kdtui.workflows.studies.spec_files import to_toml
from store.database import open_database
from store.hosts import Host
from store.records import HostSettings
from store.sqlite import Database
from store.studies import save_study
from tests.support import sshd
from tests.support.once_per_run import folder_made_once
from tests.support.tiny import make_model, remember_model
from tests.support.tiny_studies import small, train_here


@pytest.fixture
def imported(db: Database, few: Path) -> None:
    """A few of the demo sessions, as the dataset `outdoor`."""
    list(import_dataset(db, few, "outdoor"))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tiny model to train."""
    return make_model(tmp_path / "tiny.gguf")


@pytest.fixture
def host(server: sshd.Sshd, tmp_path: Path) -> Host:
    """A host behind it, with a folder whose name asks for quotes."""
    assert server.config.exists()
    return Host("far", "gpu", str(tmp_path / 'it\'s a "work" dir'), HostSettings(python=sys.executable))


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """A Python with all packages, whose torch reports at once that there is no GPU: the real one takes seconds."""
    torch = tmp_path / "quick" / "torch"
    torch.mkdir(parents=True)
    (torch / "__init__.py").write_text("class cuda:\n    is_available = staticmethod(lambda: False)\n")
    python = tmp_path / "quick" / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{torch.parent}:$PYTHONPATH" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


@pytest.fixture(scope="session")
def study_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model to study."""
    folder = folder_made_once(tmp_path_factory, "study-base", lambda folder: make_model(folder / "tiny.gguf"))
    remember_model(folder / "tiny.gguf")
    return folder / "tiny.gguf"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few of the demo sessions as JSON Lines; some of them give the same rules."""
    path = tmp_path_factory.mktemp("data") / "outdoor.jsonl"
    wanted = {f"o{number:02}" for number in (1, 2, 9, 12, 13, 23, 27, 30)}
    with (files("kdtui") / "demo_data" / "outdoor.jsonl").open(encoding="utf-8") as lines:
        path.write_text("".join(line for line in lines if json.loads(line)["session"] in wanted), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def run_before(tmp_path_factory: pytest.TempPathFactory, study_base: Path, data: Path) -> Path:
    """A store in which the study rq3 was run to its end; tests copy it. They share its trainings, and change none."""

    def run(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            train_here(monkeypatch)
            monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
            db = open_database(folder / "kdtui.db")
            list(import_dataset(db, data, "outdoor"))
            spec = small("rq3", study_base)
            save_study(db, spec.name, to_toml(spec), "rq3")
            list(run_study(db, spec, folder / "jobs"))
            db.close()

    return folder_made_once(tmp_path_factory, "finished-study", run) / "kdtui.db"


@pytest.fixture
def finished(run_before: Path, database_of_the_test: Path) -> Iterator[Database]:
    """A copy of the store with the finished study."""
    database_of_the_test.parent.mkdir(parents=True)
    shutil.copy(run_before, database_of_the_test)
    store = open_database(database_of_the_test)
    yield store
    store.close()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `train_here`."""
    train_here(monkeypatch)
