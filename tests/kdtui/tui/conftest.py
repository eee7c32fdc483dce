"""Fixtures for tests of the app: stores, a process that stands in for a trainer, and ways to wait for threads."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from textual.css.stylesheet import Stylesheet
from textual.notifications import Notification
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from kdtui.tui.core import store_worker
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from models.sft.job_files import identity
from store.database import open_database
from store.dataset_writer import write_dataset
from store.records import Session
from tests.support.acting import rest
from tests.support.event_loop import watched
from tests.support.once_per_run import folder_made_once
from tests.support.runs_place import add_run
from tests.support.screens import MakeStore, Settle, Until
from tests.support.stores import OUTDOOR, copy_store
from tests.support.waiting import PATIENCE


@pytest.fixture(autouse=True)
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect faults in threads, which the app survives, and fail the test."""
    faults_in_threads: list[str] = []
    real_fault = store_worker.fault

    def collect(error: BaseException) -> tuple[str, str]:
        sentence, details = real_fault(error)
        faults_in_threads.append(details)
        return sentence, details

    monkeypatch.setattr(store_worker, "fault", collect)
    yield faults_in_threads
    assert not faults_in_threads, "\n".join(faults_in_threads)


@pytest.fixture(autouse=True)
def lasting_notifications(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep notifications, so that a test on a busy machine finds them."""
    monkeypatch.setattr(Notification, "has_expired", False)


@pytest.fixture(autouse=True)
def quick_steps() -> Iterator[None]:
    """Fail a test if a step of the event loop delays keys for longer than a person notices."""
    with watched() as slow:
        yield
    assert not slow, "\n".join(slow)


@pytest.fixture(scope="session", autouse=True)
def styles_parsed_once() -> Iterator[None]:
    """Parse the styles once for all apps of a run, which saves a tenth of the time of the tests."""
    parsed: dict[object, Any] = {}
    real_parse = Stylesheet._parse_rules

    def parse(self: Stylesheet, css: str, *what: object, **named: object) -> Any:
        key = css, what, tuple(named.items()), tuple(self._variables.items())
        if key not in parsed:
            parsed[key] = real_parse(self, css, *what, **named)  # type: ignore[arg-type]
        return parsed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_naps() -> Iterator[None]:
    """Skip the sleep after each key, in which Textual waits until no thread computes: half of the time of the tests."""

    async def idle(*arguments: float) -> None:  # noqa: ARG001
        loop: Any = asyncio.get_running_loop()
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0)
            quiet = 0 if loop._ready else quiet + 1

    with pytest.MonkeyPatch.context() as patch:
        for module in ("app", "pilot"):
            patch.setattr(f"textual.{module}.wait_for_idle", idle)
        yield


@pytest.fixture(scope="session")
def mined_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the outdoor demo and its patterns, for copies."""
    path = tmp_path_factory.mktemp("mined") / "kdtui.db"
    db = open_database(path)
    list(import_dataset(db, OUTDOOR, "demo-outdoor"))
    mine_patterns(db, "demo-outdoor")
    db.close()
    return path


@pytest.fixture
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the default store, so that commands need no --db. There is no store yet."""
    path = tmp_path / "kdtui.db"
    monkeypatch.setenv("KDTUI_DB", str(path))
    return path


@pytest.fixture
def demo_store(empty_store: Path, mined_store: Path) -> Path:
    """A copy of the store with the outdoor demo and its patterns."""
    copy_store(mined_store, empty_store)
    return empty_store


@pytest.fixture(scope="session")
def evaluated_store(mined_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for copies. Run 1 is complete. Run 2 has three wrong answers, one of them an error. Run 3 is on another
    split."""

    def evaluate(folder: Path) -> None:
        path = folder / "kdtui.db"
        copy_store(mined_store, path)
        add_run(path)
        add_run(path, name="quick + rule", keep=3)
        add_run(path, split="valid")
        db = open_database(path)
        db.execute("UPDATE predictions SET bundles = '[]' WHERE run_id = 2")
        db.execute("UPDATE run_stretches SET seconds = 2 * sessions WHERE run_id = 2")
        db.execute(
            "UPDATE predictions SET bundles = NULL, error = 'too long' WHERE run_id = 2 AND rowid = "
            "(SELECT max(rowid) FROM predictions WHERE run_id = 2)"
        )
        assert db.conn is not None
        db.conn.commit()
        db.close()

    return folder_made_once(tmp_path_factory, "evaluated", evaluate) / "kdtui.db"


@pytest.fixture
def store(evaluated_store: Path, empty_store: Path) -> Path:
    """A copy of the store with these runs."""
    copy_store(evaluated_store, empty_store)
    return empty_store


@pytest.fixture
def sleeper() -> Iterator[str]:
    """Start a process that stands in for a trainer; return its identity."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield json.dumps(identity(process.pid))
        process.kill()


@pytest.fixture
def make_store(empty_store: Path) -> MakeStore:
    """Make a store with these sessions as dataset "made"."""

    def make(sessions: Sequence[Session]) -> Path:
        db = open_database(empty_store)
        list(write_dataset(db, "made", "a test", sessions))
        db.close()
        return empty_store

    return make


@pytest.fixture
def settle() -> Settle:
    """Wait until the app asks the store nothing more."""

    async def wait(pilot: Pilot[None]) -> None:
        deadline = monotonic() + PATIENCE
        quiet = 0
        while quiet < 2:
            await rest(pilot)
            running = [worker for worker in pilot.app.workers if not worker.is_finished]
            changes = set(getattr(pilot.app, "changes", ()))
            quiet = 0 if running or changes else quiet + 1
            if changes:
                await asyncio.wait(changes)
            with suppress(WorkerCancelled):
                await pilot.app.workers.wait_for_complete(running or None)
            assert monotonic() < deadline, "the app does not come to rest"

    return wait


@pytest.fixture
def until() -> Until:
    """Wait for an effect of the generation thread."""

    async def wait(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
        deadline = monotonic() + PATIENCE
        while not condition():
            assert monotonic() < deadline, "it never came true"
            await pilot.pause(0.01)
        # A new screen is not composed yet.
        await rest(pilot)

    return wait
