"""The unchanged app, which records keys, statements and paints, and writes them to a file at the end.

python -m benchmarks.watched_app STORE TOLD PIPE [--busy]
python -m benchmarks.watched_app STORE "" 0 --make-logs
"""

import argparse
import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.measure import resident_memory_mb

_GB = 10**9

_AT_WORK: list[asyncio.Future[None]] = []
"""Background tasks; asyncio itself keeps only weak references to them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("told", type=Path)
    parser.add_argument("pipe", type=int, help="a descriptor to write to")
    parser.add_argument("--busy", action="store_true", help="a student generates, and a log grows and is followed")
    parser.add_argument("--make-logs", action="store_true", help="make a store of two trainings with logs instead")
    options = parser.parse_args()
    if options.make_logs:
        _make_logs(options.store)
        return
    from kdtui.tui.app import KdtuiApp
    from kdtui.tui.core import idle_gc

    told: list[list[object]] = []
    _watch(told, options.pipe)
    app = KdtuiApp(options.store)
    app.call_later(idle_gc.collect_at_rest, app)
    if options.busy:
        app.call_later(_begin, _keep_busy(app, options.store))
    app.run()
    told.append(["memory", monotonic(), resident_memory_mb()])
    told.sort(key=lambda event: float(str(event[1])))
    options.told.write_text(json.dumps(told))


def _watch(told: list[list[object]], pipe: int) -> None:
    """Record keys as they are read, requests, statements as they are executed, and paints.

    A paint is whole when everything visible is loaded and belongs to the last request. Each event is also written to
    the pipe as a letter: a key, a request, a whole paint.
    """
    from textual.app import App
    from textual.driver import Driver
    from textual.events import Key
    from textual.widgets import Input, Static
    from textual.worker import get_current_worker

    from kdtui.tui.core import hits_table, screen, store_worker
    from kdtui.tui.places.jobs.log_view import LogView
    from kdtui.tui.places.knowledge import piece
    from kdtui.tui.places.workbench.session_screen import SessionScreen
    from kdtui.tui.widgets.row_table import RowTable

    painted: set[str] = set()
    inputs: dict[int, str] = {}
    left: list[Any] = []
    seen: list[Any] = [None]

    def note(letter: bytes, kind: str, *more: object) -> None:
        told.append([kind, monotonic(), *more])
        os.write(pipe, letter)

    def is_whole(screen: Any) -> bool:
        if left and screen is left[0]:
            return False
        left.clear()
        if isinstance(screen, SessionScreen) and screen._session is None:
            return False
        for table in screen.query(RowTable):
            if isinstance(table, hits_table.HitsTable) and table._requested is not table._shown:
                return False
            top = round(table.scroll_y)
            in_sight = range(top, min(top + table._visible, table.row_count))
            if table.display and any(table.row_at(number) is None for number in in_sight):
                return False
        return True

    painted_by = {
        (RowTable, "render_line"): lambda _: "rows",
        # A blinking cursor is not the effect of a key.
        (Input, "render_line"): lambda input: "input" if inputs.get(id(input)) != input.value else "",
        (Static, "render"): lambda notice: "notice" if notice.id == "notice" else "",
        (LogView, "render_line"): lambda log: "log" if any(log.text.split()) else "",
        (piece.PieceDialog, "render_lines"): lambda _: "piece",
    }
    for (kind, method), what in painted_by.items():
        _before(kind, method, lambda widget, *_, what=what: painted.add(what(widget)))
    _before(hits_table.HitsTable, "search", lambda *_: note(b"a", "asked"))

    def post(_: object, message: Any) -> None:
        if isinstance(message, hits_table._HitsFound) and message.page is not None:
            told.append(["found", monotonic()])

    _before(hits_table.HitsTable, "post_message", post)

    def select(table: Any) -> None:
        if table.cursor_key is not None:
            left[:] = [table.screen]
            note(b"a", "asked")

    def read(_: Driver, message: Any) -> None:
        if isinstance(message, Key):
            note(b"k", "key", message.key)

    _before(RowTable, "action_select", select)
    _before(Driver, "process_message", read)
    really_ask, really_display = store_worker.ask_store, App._display

    def ask(path: Path, question: Callable[[Any], Any]) -> Any:
        group = get_current_worker().group

        def traced(db: Any) -> Any:
            db.conn.set_trace_callback(lambda statement: told.append(["sql", monotonic(), statement, group]))
            return question(db)

        return really_ask(path, traced)

    def display(app: Any, screen: Any, renderable: Any) -> None:
        really_display(app, screen, renderable)
        for input in screen.query(Input):
            inputs[id(input)] = input.value
        if seen[-1] is not screen:
            seen[:] = [screen]
            painted.add("screen")
        if painted & {"rows", "input", "notice", "piece", "screen"}:
            whole = is_whole(screen)
            note(b"w" if whole else b"p", "paint", whole)
        if "log" in painted:
            told.append(["log", monotonic()])
        painted.clear()

    App._display = display  # type: ignore[method-assign, assignment]
    for module in (hits_table, screen, piece):
        module.ask_store = ask  # type: ignore[attr-defined]


def _before(kind: type, method: str, notice: Callable[..., object]) -> None:
    """Call another function before a method of a class."""
    really = getattr(kind, method)

    def noticed(self: Any, *arguments: Any, **named: Any) -> Any:
        notice(self, *arguments)
        return really(self, *arguments, **named)

    setattr(kind, method, noticed)


def _begin(work: Coroutine[Any, Any, None]) -> None:
    """Start a background task. The app would wait for a coroutine that its own callback returns."""
    _AT_WORK.append(asyncio.ensure_future(work))


async def _keep_busy(app: Any, store: Path) -> None:
    """Let the shipped student answer sessions in turn, and follow a growing log."""
    from kdtui.tui.core.generation import GenerationRequest
    from store.database import open_database
    from store.datasets import dataset_names
    from store.sessions import iter_sessions

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

        app.generation.ask(GenerationRequest(name, session, app.choice, post))
        await answered.wait()


async def _follow_a_log(app: Any, store: Path) -> None:
    """Follow a log that gets ten lines a second, like the screen of a training."""
    from kdtui.tui.places.jobs.training_work import HostActivity
    from kdtui.workflows.training.watch import Watch
    from store.database import open_database

    folder = store.with_name(f"{store.stem}-followed")
    db = open_database(store)
    _job(db, "followed", folder, 1000)
    db.close()
    watch = Watch("followed")
    app.begin(HostActivity("following", store, watch.events, lambda _: True))
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
    """Add a training that seems to run, with a log of `size` bytes."""
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
