"""Separate processors for parallel tests: threads that share a processor can wait for each other forever."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_ALL = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()


def share() -> None:
    """Restrict this process and its children to its share of the processors; without pytest-xdist, that is all of them.

    With more workers than processors, some workers share one.
    """
    worker, count = os.environ.get("PYTEST_XDIST_WORKER", ""), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if _ALL:
        shares = min(count, len(_ALL))
        number = int(worker.removeprefix("gw") or 0) % shares
        os.sched_setaffinity(0, sorted(_ALL)[number::shares])


def workers() -> int:
    """Return the number of workers for pytest-xdist: two extra, because many tests wait for other programs."""
    return len(_ALL or range(os.cpu_count() or 1)) + 2


@contextmanager
def all_of_them() -> Iterator[None]:
    """Use all processors, for a test of how they are shared."""
    if not _ALL:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _ALL)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
