"""The app over a large store: first screen and memory against an empty one, and keys against the bare queries.

python -m benchmarks.large_store STORE
python -m benchmarks.app STORE [--keys 500] [--runs 7]
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any

from textual.pilot import Pilot

from benchmarks.measure import alternate, report, resident_memory_mb
from kdtui.tui.app import KdtuiApp
from kdtui.tui.background import ask_store
from kdtui.tui.generation import Request
from kdtui.tui.widgets.row_table import RowTable

_FIRST_SCREEN = """
import os, sys
from pathlib import Path
from kdtui.tui.app import KdtuiApp

def look(app):
    if not [each for each in app.workers if not each.is_finished]:
        os._exit(0)

KdtuiApp.on_ready = lambda self: self.call_after_refresh(lambda: self.set_interval(0.005, lambda: look(self)))
KdtuiApp(Path(sys.argv[1])).run(headless=True, size=(200, 60))
"""

_WORDS = ("wireless", "shoe", "usb", "sleeping", "bag", "format:rule", "support:>0.02", "travel")
_QUIET = 0.15
"""Seconds without a repaint after which a key has had all of its effect."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--keys", type=int, default=500)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.db"
        commands = [[sys.executable, "-c", _FIRST_SCREEN, str(path)] for path in (options.store, empty)]
        alternate(commands, 1)
        large, small = alternate(commands, options.runs)
        report("first screen, against an empty store", large, small, "s ", "at most 1.5")
        before = asyncio.run(_memory_after_moving(empty))
    after = asyncio.run(_memory_after_moving(options.store))
    print(f"memory: {after - before:+.0f} MB against an empty store (at most +120)")
    for busy in (False, True):
        asyncio.run(_keys(options.store, options.keys, busy=busy))


async def _memory_after_moving(store: Path) -> float:
    """MB that this process has, once the table has been gone through."""
    app = KdtuiApp(store)
    async with app.run_test(size=(200, 60)) as pilot:
        await _rest(pilot)
        for key in ("end", "pageup", "home", "pagedown", "end"):
            await pilot.press(key)
            await _rest(pilot)
        return resident_memory_mb()


async def _rest(pilot: Pilot[Any]) -> None:
    await pilot.pause(0.05)
    while [each for each in pilot.app.workers if not each.is_finished]:
        await pilot.pause(0.02)
    await pilot.pause(0.05)


@contextmanager
def _watched() -> Iterator[tuple[list[float], list[Callable[[Any], Any]]]]:
    """When rows were drawn, and what was asked of the store."""
    drawn: list[float] = []
    asked: list[Callable[[Any], Any]] = []
    really_draw, really_ask = RowTable.render_line, ask_store

    def draw(table: RowTable, y: int) -> Any:
        strip = really_draw(table, y)
        drawn.append(perf_counter())
        return strip

    def ask(path: Path, question: Callable[[Any], Any]) -> Any:
        asked.append(question)
        return really_ask(path, question)

    modules = [
        module for name, module in sys.modules.items() if name.startswith("kdtui.tui") and hasattr(module, "ask_store")
    ]
    RowTable.render_line = draw  # type: ignore[method-assign, assignment]
    for module in modules:
        module.ask_store = ask  # type: ignore[attr-defined]
    try:
        yield drawn, asked
    finally:
        RowTable.render_line = really_draw  # type: ignore[method-assign]
        for module in modules:
            module.ask_store = really_ask  # type: ignore[attr-defined]


def _random_keys(count: int) -> Iterator[tuple[str, ...]]:
    """What a person does: look through pages, sort, open, and search, letter by letter."""
    chance = random.Random(0)
    while count > 0:
        what = chance.random()
        if what < 0.25:
            # Typing, then back to the list with what was found, then everything again.
            word = chance.choice(_WORDS)
            keys = ["slash", *word, "enter", "pagedown", "end", "slash", *["backspace"] * len(word), "enter"]
        elif what < 0.5:
            keys = ["pagedown"] * chance.randint(1, 5)
        elif what < 0.65:
            keys = [chance.choice(("end", "home"))]
        elif what < 0.8:
            keys = ["s"]
        else:
            keys = ["enter", "escape"]
        for key in keys[:count]:
            yield (key,)
        count -= len(keys)


async def _keys(store: Path, count: int, *, busy: bool) -> None:
    app = KdtuiApp(store)
    with _watched() as (drawn, asked):
        async with app.run_test(size=(200, 60)) as pilot:
            await _rest(pilot)
            stop = asyncio.create_task(_keep_busy(app, store)) if busy else None
            waits: list[tuple[float, str]] = []
            for keys in _random_keys(count):
                drawn.clear()
                begun = perf_counter()
                await pilot.press(*keys)
                while perf_counter() - max(drawn[-1] if drawn else begun, begun) < _QUIET:
                    await asyncio.sleep(0.005)
                waits.append(((drawn[-1] - begun) if drawn else 0.0, keys[0]))
            if stop is not None:
                stop.cancel()
    bare = [_bare(store, question) for question in asked]
    name = "while a student generates" if busy else "at rest"
    shown, asked_alone = sorted(wait for wait, _ in waits), sorted(bare)
    p95, bare_p95 = quantiles(shown, n=20)[-1], quantiles(asked_alone, n=20)[-1]
    print(
        f"key to repaint {name}, {len(waits)} keys: p50 {quantiles(shown, n=2)[0] * 1e3:.0f} ms, "
        f"p95 {p95 * 1e3:.0f} ms, longest {shown[-1] * 1e3:.0f} ms ({max(waits)[1]}); "
        f"the same questions alone: p95 {bare_p95 * 1e3:.0f} ms, "
        f"longest {asked_alone[-1] * 1e3:.0f} ms; ratio {p95 / bare_p95:.1f} (at most 2, never over 100 ms)"
    )


def _bare(store: Path, question: Callable[[Any], Any]) -> float:
    """Seconds that a question takes with nothing else at work."""
    from store.database import open_database

    db = open_database(store)
    try:
        begun = perf_counter()
        found = question(db)
        if isinstance(found, Iterator):
            next(found, None)
        return perf_counter() - begun
    finally:
        db.close()


async def _keep_busy(app: KdtuiApp, store: Path) -> None:
    """One session after the other for the shipped student."""
    from store.database import open_database
    from store.datasets import dataset_names, iter_sessions

    db = open_database(store)
    name = dataset_names(db)[0]
    sessions = list(iter_sessions(db, name, limit=200))
    db.close()
    for session in sessions:
        answered = asyncio.Event()
        loop = asyncio.get_running_loop()

        def post(message: Any, answered: asyncio.Event = answered, loop: asyncio.AbstractEventLoop = loop) -> None:
            if type(message).__name__ in ("Answered", "Stopped"):
                loop.call_soon_threadsafe(answered.set)

        app.generation.ask(Request(name, session, app.choice, post))
        await answered.wait()


if __name__ == "__main__":
    main()
