"""Local trainings and trainings on hosts behind one interface."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdtui.cli.trainings import print_log
from kdtui.errors import KdtuiError
from kdtui.workflows.training.backend import HostTraining, LocalTraining, backend_of
from kdtui.workflows.training.on_this_machine import LogGrew, StatusSeen, follow_locally
from models.sft.job_files import EXIT_CODE, LOG, PID, identity
from models.sft.state import JobStatus
from store.database import open_database
from store.hosts import Host, add_host
from store.jobs import add_job, get_job
from store.records import HostSettings, TrainingSettings
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.jobs_place import make_job


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


@pytest.mark.parametrize("new", ["1\n", "a longer one\n" * 3], ids=["shorter", "longer"])
@pytest.mark.parametrize("is_replaced", [False, True], ids=["shortened", "replaced"])
def test_a_followed_log_that_restarts_is_yielded_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: str, is_replaced: bool
) -> None:
    monkeypatch.setattr("kdtui.workflows.training.on_this_machine._LOOK", 0.0)
    running = {PID: json.dumps(identity(os.getpid())), LOG: "one\ntwo\n"}
    folder = make_job(tmp_path / "kdtui.db", "busy", running)
    found, restarts = "", 0
    for event in follow_locally(folder):
        if not isinstance(event, LogGrew):
            continue
        found, restarts = found + event.text.decode(), restarts + event.restarts
        if found == "one\ntwo\n":
            if is_replaced:
                (folder / LOG).rename(folder / "log.1")
            (folder / LOG).write_text(new)
        elif found.endswith(new):
            with (folder / LOG).open("a") as log:
                log.write("more\n")
        else:
            (folder / EXIT_CODE).write_text("1")
    assert (found, restarts) == (f"one\ntwo\n{new}more\n", 1)


def test_half_a_line_of_a_log_that_restarts_is_not_joined_with_the_new_one(
    database_of_the_test: Path, kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_job(database_of_the_test, "busy", {EXIT_CODE: "143"})
    events = [LogGrew(b"one\nhalf \xe2"), LogGrew(b"new\n", restarts=True), StatusSeen(JobStatus("stopped"))]
    monkeypatch.setattr("kdtui.workflows.training.on_this_machine.follow_locally", lambda _: iter(events))
    lines = kdtui("sft", "logs", "busy", "--follow").err.splitlines()
    assert [line for line in lines if line in ("one", "half", "new")] == ["one", "half", "new"]


def test_a_line_of_a_log_that_never_ends_is_not_collected(capfd: pytest.CaptureFixture[str]) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while not capfd.readouterr().out:
            assert sent < 100_000_000
            sent += 100_000
            yield b"x" * 100_000

    print_log(endless())
    assert sent <= 2_000_000


def test_there_is_nothing_to_fetch_of_a_local_training(store: Database, tmp_path: Path) -> None:
    add_job(store, "near", tmp_path / "near", TrainingSettings(("d",)), "near")
    with pytest.raises(KdtuiError, match="training 'near' is on this machine already"):
        backend_of(store, get_job(store, "near")).fetch(checkpoints=False)
