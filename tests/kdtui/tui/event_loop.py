"""A watch on the event loop: what keeps it from looking at keys for longer than a person notices is a fault."""

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

_TESTS = Path(__file__).parents[2]

_IS_ALONE = "PYTEST_XDIST_WORKER" not in os.environ

LIMIT, SHARED_LIMIT = 0.05, 0.15
"""Seconds that one step may take; the second where others compute on the same processors, which makes each slower."""

_WAITING, _SHARED_WAITING = 0.5, 10.0
"""Seconds that a step may take in which the thread does not compute: others take some of them, a lock more."""

_PRESSURE = Path("/proc/pressure/cpu")
"""Where Linux says how long there was somebody who waited for a processor, in all."""

_OLD = 0.1
"""Seconds after which the pressure is looked at again: not before each step, of which there are thousands."""

_WHOLE_SCREENS = (
    (App, "_register"),
    (Screen, "_refresh_layout"),
    (Compositor, "render_full_update"),
    (Stylesheet, "parse"),
    (Stylesheet, "update_nodes"),
)
"""How Textual makes a screen, lays it out anew, and paints it whole. On a slow processor one of these takes longer than
a step may, whatever is on the screen; their time is left out, and what is left is that of the program."""


class _Apart:
    """Seconds of computing that are left out: each counted once, however they are nested."""

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
        """Looking for garbage: there is much in a run of tests that the program does not have."""
        (self.begin if phase == "start" else self.end)()


class _Others:
    """Whether others compute on the processors: then a step takes longer, through no fault of its own."""

    def __init__(self) -> None:
        self._seen = self._look()

    def look(self) -> None:
        """Look before a step, where the last look was long ago."""
        if perf_counter() - self._seen[0] > _OLD:
            self._seen = self._look()

    @property
    def are_computing(self) -> bool:
        """Since the last look, for a quarter of the time or more; they always may, where this is one of several workers
        or the system does not say."""
        if not _IS_ALONE:
            return True
        (then, waited_before), (now, waited) = self._seen, self._look()
        if waited is None or waited_before is None:
            return True
        return waited - waited_before > (now - then) / 4

    @staticmethod
    def _look() -> tuple[float, float | None]:
        """The time, and the seconds until now in which somebody waited for a processor."""
        try:
            some = _PRESSURE.read_text().splitlines()[0]
            return perf_counter(), int(some.rpartition("total=")[2]) / 1e6
        except (OSError, ValueError, IndexError):
            return perf_counter(), None


@contextmanager
def watched() -> Iterator[list[str]]:
    """Steps of the event loop that took too long, each in words.

    Computing is measured in time of the thread, waiting by the clock; where others compute too, more is allowed.
    """
    slow: list[str] = []
    apart, others = _Apart(), _Others()
    really_run = asyncio.events.Handle._run

    def run(handle: asyncio.Handle) -> None:
        # Other threads have loops of their own, which no key waits for; and what a test does itself is its affair.
        if current_thread() is not main_thread() or _is_of_test(handle):
            return really_run(handle)
        others.look()
        before, computed_before, apart_before = perf_counter(), thread_time(), apart.seconds
        really_run(handle)
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
        case "run_app":  # The app's own messages, the keys among them, come between those that begin and end it.
            app = frame.f_locals.get("app") or frame.f_locals["self"]
            return not (app._is_mounted and app._running)
        case "run_auto_pilot":  # It presses the keys.
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
