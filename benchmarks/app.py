"""The app over a large store, in its own terminal: first screen and memory against an empty store, and the time from
key to repaint against the bare SQL.

python -m benchmarks.large_store STORE
python -m benchmarks.app STORE [--keys 500] [--runs 7]

The time of a key begins when the app reads it from the terminal. It ends when everything visible has been written to
the terminal and belongs to the last request. Keys that change nothing are left out and counted. The bare SQL of a key
is all statements until then, run in turn by a process that does nothing else. Facet counts and the preview of the row
under the cursor appear later; the benchmark does not wait for them.
"""

import argparse
import fcntl
import json
import os
import pty
import random
import select
import sqlite3
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median, quantiles
from time import monotonic, sleep
from typing import Any

from benchmarks.measure import alternate, report

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
"""Search words. Those with filters are only typed in lists that have filters."""

_BYTES = {
    "enter": "\r",
    "escape": "\x1b",
    "backspace": "\x7f",
    "pagedown": "\x1b[6~",
    "pageup": "\x1b[5~",
    "end": "\x1b[F",
    "home": "\x1b[H",
    "slash": "/",
}
"""The bytes that a terminal sends for named keys."""

_QUIET = 0.25
"""Seconds without a repaint after which the effect of a key is complete."""

_PATIENCE = 10.0
"""Timeout for the effect of a key, in seconds."""

_SIZE = 60, 200
"""Rows and columns of the terminal."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--keys", type=int, default=500)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        empty = folder / "empty.db"
        commands = [[sys.executable, "-c", _FIRST_SCREEN, str(path)] for path in (options.store, empty)]
        large, small = alternate(commands, options.runs)
        report("first screen, against an empty store", large, small, "s ", "at most 1.5")
        keys = ["end", "pageup", "home", "pagedown", "end"]
        after, before = (_memory_mb(path, keys, folder) for path in (options.store, empty))
        print(f"memory: {after - before:+.0f} MB against an empty store (at most +120)", flush=True)
        for place in ("knowledge", "workbench"):
            for busy in (False, True):
                _keys(options.store, place, options.keys, folder, busy=busy)
        _logs(folder)


class _Watched:
    """The app in its own terminal. At the end it reports what happened, and when."""

    def __init__(self, store: Path, folder: Path, *arguments: str) -> None:
        self._told = folder / "told.json"
        self._told.unlink(missing_ok=True)
        self._terminal, inside = pty.openpty()
        self._letters, pipe = os.pipe()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", *_SIZE, 0, 0))
        home = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "STATE")}
        environment = os.environ | home | {"TERM": "xterm-256color", "KDTUI_DB": str(store)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.watched_app", str(store), str(self._told), str(pipe), *arguments],
            stdin=inside,
            stdout=inside,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            pass_fds=[pipe],
        )
        os.close(inside)
        os.close(pipe)
        self.rest(2)

    def press(self, key: str) -> None:
        """Type a key and wait for its effect: the result is shown, and nothing more is painted."""
        os.write(self._terminal, _BYTES.get(key, key).encode())
        self.rest()

    def rest(self, quiet: float = _QUIET) -> None:
        """Wait until nothing relevant has been painted for some time and nothing is pending."""
        is_whole, end = True, monotonic() + _PATIENCE
        quiet_at = monotonic() + quiet
        while (now := monotonic()) < end and (now < quiet_at or not is_whole):
            ready, _, _ = select.select([self._terminal, self._letters], [], [], min(quiet, end - now))
            if self._terminal in ready:
                os.read(self._terminal, 1 << 16)
            if self._letters in ready:
                letters = os.read(self._letters, 1 << 16)
                quiet_at = monotonic() + quiet
                changes = letters.translate(None, b"k")
                is_whole = changes.endswith(b"w") if changes else is_whole

    def leave(self) -> list[list[Any]]:
        """Quit the app and return its events: kind, seconds, and details."""
        os.write(self._terminal, b"\x11")
        while self.process.poll() is None:
            if select.select([self._terminal], [], [], 0.05)[0]:
                try:
                    os.read(self._terminal, 1 << 16)
                except OSError:
                    break
        self.process.wait()
        os.close(self._terminal)
        told: list[list[Any]] = json.loads(self._told.read_text())
        return told


def _memory_mb(store: Path, keys: Sequence[str], folder: Path) -> float:
    """Return the memory of the app in MB after the keys have been typed."""
    app = _Watched(store, folder)
    for key in keys:
        app.press(key)
    told = app.leave()
    return float(next(event[2] for event in told if event[0] == "memory"))


def _random_keys(count: int, place: str) -> Iterator[str]:
    """Yield keys as a user types them: page, sort, open, and search letter by letter."""
    chance = random.Random(0)
    while count > 0:
        what = chance.random()
        if what < 0.3:
            # Type a search, go to the list of matches, then clear the search.
            word = chance.choice([each for each in _WORDS if place == "knowledge" or ":" not in each])
            keys = ["slash", *word, "enter", "pagedown", "end", "slash", *["backspace"] * len(word), "enter"]
        elif what < 0.6:
            keys = ["pagedown"] * chance.randint(1, 5)
        elif what < 0.75:
            keys = [chance.choice(("end", "home"))]
        elif what < 0.9 and place == "knowledge":
            keys = ["s"]
        else:
            keys = ["enter", "escape"]
        yield from keys[:count]
        count -= len(keys)


def _keys(store: Path, place: str, count: int, folder: Path, *, busy: bool) -> None:
    app = _Watched(store, folder, *(["--busy"] if busy else []))
    app.press({"knowledge": "1", "workbench": "2"}[place])
    app.rest(2)
    for key in _random_keys(count, place):
        app.press(key)
    told = app.leave()
    begins = [number for number, event in enumerate(told) if event[0] == "key"][1:]
    waits, bare = list[tuple[float, str]](), list[float]()
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as db:
        for begin, end in zip(begins, [*begins[1:], len(told)], strict=True):
            _, pressed, key = told[begin]
            asked = max((event[1] for event in told[begin:end] if event[0] == "asked"), default=pressed)
            whole = [event[1] for event in told[begin:end] if event[0] == "paint" and event[2] and event[1] >= asked]
            if whole:
                waits.append((whole[0] - pressed, key))
                bare.append(_bare(db, _statements(told[begin:end], asked, whole[0])))
            elif asked > pressed:
                waits.append((_PATIENCE, key))
                bare.append(0)
    shown = sorted(wait for wait, _ in waits)
    p95, bare_p95 = quantiles(shown, n=20)[-1], quantiles(sorted(bare), n=20)[-1]
    longest, key = max(waits)
    print(
        f"{place}, {'while a student generates and a log is followed' if busy else 'at rest'}: key to repaint, "
        f"{len(waits)} of {len(begins)} keys: p50 {median(shown) * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms, "
        f"longest {longest * 1e3:.0f} ms ({key}), {sum(wait > 0.1 for wait in shown)} over 100 ms; bare SQL: "
        f"p50 {median(bare) * 1e3:.0f} ms, p95 {bare_p95 * 1e3:.0f} ms; ratio {p95 / bare_p95:.1f} "
        "(at most 2, never over 100 ms)",
        flush=True,
    )


def _statements(events: Sequence[Sequence[Any]], asked: float, whole: float) -> list[str]:
    """Return the statements that the store ran for the shown result."""
    found = next((event[1] for event in events if event[0] == "found" and event[1] >= asked), asked)
    until = {"rows": whole, "session": whole, "open": whole, "hits": found}
    return [event[2] for event in events if event[0] == "sql" and asked <= event[1] < until.get(event[3], 0)]


def _bare(db: sqlite3.Connection, statements: Sequence[str]) -> float:
    """Return the seconds that the statements take by themselves."""
    begun = monotonic()
    for statement in statements:
        db.execute(statement).fetchall()
    return monotonic() - begun


def _logs(folder: Path) -> None:
    """Measure the time from the key that opens a training to the first rows of its log, for 1 KB and 1 GB."""
    opened: dict[str, list[float]] = {"small": [], "large": []}
    store = folder / "logs.db"
    subprocess.run([sys.executable, "-m", "benchmarks.watched_app", str(store), "", "0", "--make-logs"], check=True)
    app = _Watched(store, folder)
    app.press("5")
    names = []
    for _ in range(7):
        # The newest training is first in the list.
        for name, way in (("large", "home"), ("small", "end")):
            for key in (way, "enter"):
                app.press(key)
            names.append(name)
            sleep(0.5)
            app.press("escape")
    told = app.leave()
    enters = [number for number, event in enumerate(told) if event[0] == "key" and event[2] == "enter"]
    for name, begin in zip(names, enters, strict=True):
        shown = next((event[1] for event in told[begin:] if event[0] == "log"), None)
        assert shown is not None, f"the {name} log was never shown"
        opened[name].append(shown - told[begin][1])
    # The first run of each fills the caches.
    large, small = (median(opened[name][1:]) for name in ("large", "small"))
    report("opening a followed log of 1 GB, against 1 KB", large, small, "s ", "as fast")


if __name__ == "__main__":
    main()
