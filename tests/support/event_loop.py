"""A watch on the event loop: a step that delays keys for longer than a person notices is a fault."""

import asyncio
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import current_thread, main_thread
from time import perf_counter, thread_time
from typing import Any

import pytest
from textual._compositor import Compositor
from textual.app import App
from textual.css.stylesheet import Stylesheet
from textual.screen import Screen

from tests.support.repository import ROOT

_TESTS = ROOT / "tests"

_IS_ALONE = "PYTEST_XDIST_WORKER" not in os.environ

LIMIT, SHARED_LIMIT = 0.05, 0.15
"""Seconds that a step can take; the second number while other processes use the processors."""

_WAITING, _SHARED_WAITING = 0.5, 10.0
"""Seconds that a step can wait without computing: for other threads, or for a lock."""

_PRESSURE = Path("/proc/pressure/cpu")
"""Where Linux reports the total time in which a process waited for a processor."""

_OLD = 0.1
"""Seconds between two checks of the pressure: not before each of thousands of steps."""

_WHOLE_SCREENS = (
    (App, "_register"),
    (Screen, "_refresh_layout"),
    (Compositor, "render_full_update"),
    (Stylesheet, "parse"),
    (Stylesheet, "update_nodes"),
)
"""The methods with which Textual builds, lays out and paints a screen. On a slow processor each takes longer than a
step can take, for any screen. Their time is left out; the rest is the time of the program."""


class _ExcludedTime:
    """Seconds of computing that are left out; nested calls count once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth, self._began = 0, 0.0

    def begin(self) -> None:
        if current_thread() is main_thread():
            self._depth += 1
            if self._depth == 1:
                self._began = thread_time()

    def end(self) -> None:
        if current_thread() is main_thread():
            self._depth -= 1
            if self._depth == 0:
                self.seconds += thread_time() - self._began

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def apart(*arguments: Any, **options: Any) -> Any:
            self.begin()
            try:
                return function(*arguments, **options)
            finally:
                self.end()

        return apart

    def collecting(self, phase: str, _: object) -> None:
        """Garbage collection: a run of tests has much more garbage than the program."""
        (self.begin if phase == "start" else self.end)()


class _OtherProcesses:
    """Whether other processes use the processors, which makes steps slower."""

    def __init__(self) -> None:
        self._seen = self._look()

    def look(self) -> None:
        """Check before a step, if the last check was long ago."""
        if perf_counter() - self._seen[0] > _OLD:
            self._seen = self._look()

    @property
    def are_computing(self) -> bool:
        """Whether they used a quarter of the time since the last check; always true with several test workers, or
        if the system does not report it."""
        if not _IS_ALONE:
            return True
        (then, waited_before), (now, waited) = self._seen, self._look()
        if waited is None or waited_before is None:
            return True
        return waited - waited_before > (now - then) / 4

    @staticmethod
    def _look() -> tuple[float, float | None]:
        """Return the time, and the total seconds in which a process waited for a processor."""
        try:
            some = _PRESSURE.read_text().splitlines()[0]
            return perf_counter(), int(some.rpartition("total=")[2]) / 1e6
        except (OSError, ValueError, IndexError):
            return perf_counter(), None


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collect the steps of the event loop that take too long, in words.

    Computing is measured in thread time, waiting in wall time. The limits are higher while other processes compute.
    """
    slow: list[str] = []
    apart, others = _ExcludedTime(), _OtherProcesses()
    real_run = asyncio.events.Handle._run

    def run(handle: asyncio.Handle) -> None:
        # Other threads have their own loops, which delay no key; and the test itself can take its time.
        if current_thread() is not main_thread() or _is_of_test(handle):
            return real_run(handle)
        others.look()
        before, computed_before, apart_before = perf_counter(), thread_time(), apart.seconds
        real_run(handle)
        computed = thread_time() - computed_before
        waited = perf_counter() - before - computed
        own = computed - (apart.seconds - apart_before)
        if (own > LIMIT or waited > _WAITING) and (
            own > SHARED_LIMIT or waited > _SHARED_WAITING or not others.are_computing
        ):
            slow.append(f"{own * 1000:.0f} ms of computing, {waited * 1000:.0f} ms of waiting: {_what(handle)}")
        return None

    gc.callbacks.append(apart.collecting)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.events.Handle, "_run", run)
            for kind, name in _WHOLE_SCREENS:
                patch.setattr(kind, name, apart.around(getattr(kind, name)))
            yield slow
    finally:
        gc.callbacks.remove(apart.collecting)


def _task(handle: asyncio.Handle) -> "asyncio.Task[Any] | None":
    task = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
    return task if isinstance(task, asyncio.Task) else None


def _is_of_test(handle: asyncio.Handle) -> bool:
    task = _task(handle)
    frame = getattr(task.get_coro(), "cr_frame", None) if task is not None else None
    if frame is None:
        return False
    match frame.f_code.co_name:
        case "run_app":  # The messages of the app, with its keys, come between its first and its last message.
            app = frame.f_locals.get("app") or frame.f_locals["self"]
            return not (app._is_mounted and app._running)
        case "run_auto_pilot":  # The pilot presses the keys.
            return True
    return _is_in_tests(frame.f_code.co_filename)


@cache
def _is_in_tests(path: str) -> bool:
    return Path(path).is_relative_to(_TESTS)


def _what(handle: asyncio.Handle) -> str:
    if (task := _task(handle)) is not None:
        frames = task.get_stack(limit=1)
        where = f" at {frames[0].f_code.co_qualname}:{frames[0].f_lineno}" if frames else ""
        return f"{task.get_name()}{where}"
    return repr(handle)
