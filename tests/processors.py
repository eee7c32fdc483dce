"""Tests that run side by side have processors of their own: threads that share one wait for each other for ever."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_ALL = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()


def share() -> None:
    """Keep this process, and all that it starts, to its share of the processors; without pytest-xdist it has all.

    Where there are more workers than processors, some workers have one together.
    """
    worker, count = os.environ.get("PYTEST_XDIST_WORKER", ""), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if _ALL:
        shares = min(count, len(_ALL))
        number = int(worker.removeprefix("gw") or 0) % shares
        os.sched_setaffinity(0, sorted(_ALL)[number::shares])


def workers() -> int:
    """How many workers pytest-xdist is to start: many tests wait for other programs, and leave time to the others."""
    return len(_ALL or range(os.cpu_count() or 1)) + 2


@contextmanager
def all_of_them() -> Iterator[None]:
    """All processors, for a test of how they are shared."""
    if not _ALL:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _ALL)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
