"""The app as it is, which tells when it is left what happened in it: keys, statements, and what was painted.

python -m benchmarks.watched_app STORE TOLD [--busy]
python -m benchmarks.watched_app STORE "" --make-logs
"""

import argparse
import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.measure import resident_memory_mb

_GB = 10**9

_AT_WORK: list[asyncio.Future[None]] = []
"""What goes on beside the app: asyncio itself keeps no hold of it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("told", type=Path)
    parser.add_argument("--busy", action="store_true", help="a student generates, and a log grows and is followed")
    parser.add_argument("--make-logs", action="store_true", help="make a store of two trainings with logs instead")
    options = parser.parse_args()
    if options.make_logs:
        _make_logs(options.store)
        return
    from kdtui.tui import garbage
    from kdtui.tui.app import KdtuiApp

    told: list[list[object]] = []
    _watch(told)
    app = KdtuiApp(options.store)
    app.call_later(garbage.collect_at_rest, app)
    if options.busy:
        app.call_later(_begin, _keep_busy(app, options.store))
    app.run()
    told.append(["memory", monotonic(), resident_memory_mb()])
    told.sort(key=lambda event: float(str(event[1])))
    options.told.write_text(json.dumps(told))


def _watch(told: list[list[object]]) -> None:
    """Note down keys as they are read, statements as they are executed, and what was painted."""
    from textual.app import App
    from textual.driver import Driver
    from textual.events import Key
    from textual.widgets import Input
    from textual.worker import get_current_worker

    from kdtui.tui import background, hits
    from kdtui.tui.screens import base, piece
    from kdtui.tui.widgets.log_view import LogView
    from kdtui.tui.widgets.row_table import RowTable

    painted: set[str] = set()
    really_read, really_ask, really_display = Driver.process_message, background.ask_store, App._display

    def read(driver: Driver, message: Any) -> None:
        if isinstance(message, Key):
            told.append(["key", monotonic(), message.key])
        really_read(driver, message)

    def ask(path: Path, question: Callable[[Any], Any]) -> Any:
        is_shown = get_current_worker().group not in ("facets", "store")

        def traced(db: Any) -> Any:
            if is_shown:
                db.conn.set_trace_callback(lambda statement: told.append(["sql", monotonic(), statement]))
            return question(db)

        found = really_ask(path, traced)
        if is_shown:
            told.append(["answer", monotonic()])
        return found

    def display(app: Any, screen: Any, renderable: Any) -> None:
        really_display(app, screen, renderable)
        if painted & {"rows", "input", "piece"}:
            told.append(["paint", monotonic()])
        if "log" in painted:
            told.append(["log", monotonic()])
        painted.clear()

    def noted(kind: type, method: str, name: str, is_it: Callable[[Any], bool] = lambda _: True) -> None:
        really_render = getattr(kind, method)

        def render(widget: Any, *arguments: Any) -> Any:
            if is_it(widget):
                painted.add(name)
            return really_render(widget, *arguments)

        setattr(kind, method, render)

    noted(RowTable, "render_line", "rows")
    noted(Input, "render_line", "input")
    noted(LogView, "render_line", "log", lambda log: any(log.text.split()))
    noted(piece.PieceDialog, "render_lines", "piece")
    Driver.process_message = read  # type: ignore[method-assign, assignment]
    App._display = display  # type: ignore[method-assign, assignment]
    for module in (hits, base, piece):
        module.ask_store = ask  # type: ignore[attr-defined]


def _begin(work: Coroutine[Any, Any, None]) -> None:
    """Let something go on beside; the app would wait for what a callback of its own returns."""
    _AT_WORK.append(asyncio.ensure_future(work))


async def _keep_busy(app: Any, store: Path) -> None:
    """One session after the other for the shipped student, and a log that grows and is followed."""
    from kdtui.tui.generation import Request
    from store.database import open_database
    from store.datasets import dataset_names, iter_sessions

    db = open_database(store)
    name = dataset_names(db)[0]
    sessions = list(iter_sessions(db, name, limit=1000))
    db.close()
    loop = asyncio.get_running_loop()
    _begin(_follow_a_log(app, store))
    for session in sessions:
        answered = asyncio.Event()

        def post(message: Any, answered: asyncio.Event = answered) -> bool:
            if type(message).__name__ in ("Answered", "Stopped"):
                loop.call_soon_threadsafe(answered.set)
            return True

        app.generation.ask(Request(name, session, app.choice, post))
        await answered.wait()


async def _follow_a_log(app: Any, store: Path) -> None:
    """A log that gets ten lines a second, followed as the screen of a training follows it."""
    from kdtui.tui.screens.trainings import Asking
    from kdtui.workflows.watch import Watch
    from store.database import open_database

    folder = store.with_name(f"{store.stem}-followed")
    db = open_database(store)
    _job(db, "followed", folder, 1000)
    db.close()
    watch = Watch("followed")
    app.begin(Asking("following", store, watch.events, lambda _: True))
    while True:
        with (folder / "log").open("a") as log:
            log.write("step 1 of 1000: loss 1.0000\n")
        await asyncio.sleep(0.1)


def _make_logs(store: Path) -> None:
    from store.database import open_database

    db = open_database(store)
    for name, size in (("small", 1000), ("large", _GB)):
        _job(db, name, store.parent / "jobs" / name, size)
    db.close()


def _job(db: Any, name: str, folder: Path, size: int) -> None:
    """A training that looks as if it ran, with a log of so many bytes."""
    import os

    from models.sft.job_files import LOG, identity
    from store.errors import NotFound
    from store.jobs import add_job, get_job
    from store.records import TrainingSettings

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text("{}")
    (folder / "pid").write_text(json.dumps(identity(os.getppid())))
    lines = "".join(f"step {number} of 1000000: loss {1 / (number + 1):.4f}\n" for number in range(1000)).encode()
    with (folder / LOG).open("wb") as log:
        for _ in range(size // len(lines)):
            log.write(lines)
        log.write(lines[-(size % len(lines)) :])
    try:
        get_job(db, name)
    except NotFound:
        add_job(db, name, folder, TrainingSettings(("made",)), name)


if __name__ == "__main__":
    main()
