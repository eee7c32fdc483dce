"""A watch on the event loop: what keeps it from looking at keys for longer than a person notices is a fault."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from time import perf_counter, thread_time

import pytest

LIMIT = 0.05
"""Seconds that one step may take."""

_WAITING = 0.5
"""Seconds that a step may take in which the thread does not compute: a busy machine takes some, a lock more."""


@contextmanager
def watched() -> Iterator[list[str]]:
    """Steps of event loops that took too long, each in words.

    Computing is measured in time of the thread, which other programs do not lengthen; waiting by the clock.
    """
    slow: list[str] = []
    really_run = asyncio.events.Handle._run

    def run(handle: asyncio.Handle) -> None:
        before, computed_before = perf_counter(), thread_time()
        really_run(handle)
        computed, passed = thread_time() - computed_before, perf_counter() - before
        # Other threads have loops of their own, which no key waits for.
        if current_thread() is main_thread() and (computed > LIMIT or passed - computed > _WAITING):
            slow.append(f"{computed * 1000:.0f} ms of computing in {passed * 1000:.0f} ms: {_what(handle)}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.events.Handle, "_run", run)
        yield slow


def _what(handle: asyncio.Handle) -> str:
    task = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
    if isinstance(task, asyncio.Task):
        frames = task.get_stack(limit=1)
        where = f" at {frames[0].f_code.co_qualname}:{frames[0].f_lineno}" if frames else ""
        return f"{task.get_name()}{where}"
    return repr(handle)
