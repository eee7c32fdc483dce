"""Local trainings and trainings on hosts behind one interface."""

from pathlib import Path

import pytest

from kdtui.errors import KdtuiError
from kdtui.workflows.training.backend import HostTraining, LocalTraining, backend_of
from kdtui.workflows.training.jobs import LogGrew, StatusSeen
from models.sft.job_files import EXIT_CODE, LOG
from store.database import open_database
from store.hosts import Host, add_host
from store.jobs import add_job, get_job
from store.records import HostSettings, TrainingSettings
from store.sqlite import Database


@pytest.fixture
def store(tmp_path: Path) -> Database:
    return open_database(tmp_path / "kdtui.db")


def test_the_host_of_a_training_chooses_its_backend(store: Database, tmp_path: Path) -> None:
    add_host(store, Host("far", None, str(tmp_path / "far"), HostSettings()))
    add_job(store, "near", tmp_path / "near", TrainingSettings(("d",)), "near")
    add_job(store, "away", tmp_path / "away", TrainingSettings(("d",)), "away", host="far")
    assert isinstance(backend_of(store, get_job(store, "near")), LocalTraining)
    assert isinstance(backend_of(store, get_job(store, "away")), HostTraining)


def test_a_local_training_is_checked_and_followed_without_a_host(store: Database, tmp_path: Path) -> None:
    folder = tmp_path / "near"
    folder.mkdir()
    (folder / LOG).write_bytes(b"loss 1.0\n")
    (folder / EXIT_CODE).write_text("0\n")
    add_job(store, "near", folder, TrainingSettings(("d",)), "near")
    backend = backend_of(store, get_job(store, "near"))
    assert backend.check() is None
    assert b"".join(backend.log()) == b"loss 1.0\n"
    grown, seen = backend.follow()
    assert grown == LogGrew(b"loss 1.0\n")
    assert isinstance(seen, StatusSeen)
    assert seen.status.state == "done"


def test_there_is_nothing_to_fetch_of_a_local_training(store: Database, tmp_path: Path) -> None:
    add_job(store, "near", tmp_path / "near", TrainingSettings(("d",)), "near")
    with pytest.raises(KdtuiError, match="training 'near' is on this machine already"):
        backend_of(store, get_job(store, "near")).fetch(checkpoints=False)
