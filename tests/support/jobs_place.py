"""Helpers for tests of the place Jobs: trainings and hosts, and the contents of their screens."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from textual.pilot import Pilot

from kdtui.tui.app import KdtuiApp
from kdtui.tui.memory import Memory
from kdtui.tui.places.jobs.log_view import LogView
from models.sft.state import JobStatus
from store.database import open_database
from store.hosts import Host, add_host
from store.jobs import add_job, remember_status
from store.records import HostSettings, TrainingSettings
from tests.support.screens import messages, rows

SIZES = [(80, 24), (200, 60)]
HOSTILE = "[red]x[/] \x1b[31mred\x1b[0m \u202ertl\u202c 日本語 e\u0301"
LONG = f"{HOSTILE} {'long ' * 2000}"


def make_job(
    store: Path,
    name: str,
    files: dict[str, str],
    settings: TrainingSettings | None = None,
    *,
    host: str | None = None,
    status: JobStatus | None = None,
) -> Path:
    """Make the directory of a training, with files as a trainer leaves them."""
    folder = store.parent / "jobs" / name
    folder.mkdir(parents=True)
    for file, content in {"job.json": '{"base": "x"}', **files}.items():
        (folder / file).write_text(content)
    db = open_database(store)
    add_job(db, name, folder, settings or TrainingSettings(("demo-outdoor",)), name, host=host)
    if status is not None:
        remember_status(db, name, json.dumps(asdict(status)))
    db.close()
    return folder


def register_host(
    store: Path, name: str, ssh: str | None = None, workdir: Path | None = None, python: Path | None = None
) -> None:
    db = open_database(store)
    place = workdir or store.parent / "there"
    add_host(db, Host(name, ssh, str(place), HostSettings(python=str(python or sys.executable))))
    db.close()


def metrics(steps: int) -> str:
    lines: list[dict[str, Any]] = [
        {"step": step, "steps": 40, "loss": 2 / step, "tokens_per_second": 350.0, "eta_seconds": 61.0}
        for step in range(1, steps + 1)
    ]
    lines.append({"step": steps, "valid_loss": 1.0, "pair_f1": 0.625})
    return "".join(json.dumps(line) + "\n" for line in lines)


def job_rows(app: KdtuiApp) -> list[list[str]]:
    return rows(app, "#jobs")


def log(app: KdtuiApp) -> LogView:
    return app.screen.query_one(LogView)


async def wait_for(pilot: Pilot[None], condition: Callable[[], bool], seconds: float = 180) -> None:
    """Wait for a condition that a real training fulfils."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"it never came true; {messages(pilot.app)}"  # type: ignore[arg-type]
        await pilot.pause(0.05)


def app_at_jobs(store: Path) -> KdtuiApp:
    """Return the app at the place Jobs."""
    memory = Memory(None, store)
    memory.place = "jobs"
    return KdtuiApp(store, memory=memory)


def is_idle(app: KdtuiApp) -> bool:
    """Return whether no work runs in the background."""
    return not any(activity.is_running for activity in app.activities)
