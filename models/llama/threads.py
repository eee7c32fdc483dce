"""The number of threads to decode with: as many as there are processors that other programs leave free.

Threads of llama.cpp wait for each other many times per token. A thread that shares its processor with another program
delays all of them: two threads on two busy processors are ten times as slow as one thread.
"""

import os
from pathlib import Path
from time import monotonic, process_time

import psutil

_PERIOD = 0.25
"""Seconds over which the use of the processors is measured."""

_SPARE = 0.4
"""A processor counts as free if other programs use less than this share of it."""

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def processors() -> int:
    """Return the number of cores that this process can use, by its affinity and by the quota of its container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Two threads of one core share its arithmetic units, which decoding keeps busy.
    cores = min(allowed, psutil.cpu_count(logical=False) or allowed)
    try:
        quota, period = _QUOTA.read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        # No such file, or "max": no quota.
        pass
    return cores


class FreeProcessors:
    """Returns, when called between batches, the number of threads to use; it measures from time to time.

    Args:
        first: threads to begin with, before the load of other programs is known; all by default.
    """

    def __init__(self, first: int | None = None) -> None:
        self._most = processors()
        self._threads = self._most if first is None else first
        self._measured = monotonic()
        self._busy = _busy_seconds()
        self._own = process_time()

    def __call__(self) -> int:
        """Return the number of threads for the next batch."""
        elapsed = monotonic() - self._measured
        if elapsed >= _PERIOD:
            busy, own = _busy_seconds(), process_time()
            others = max(0.0, (busy - self._busy) - (own - self._own)) / elapsed
            self._threads = threads_next_to(others, self._most)
            self._measured, self._busy, self._own = monotonic(), busy, own
        return self._threads


def threads_next_to(others: float, cores: int) -> int:
    """Return the threads to use of `cores` while other programs keep `others` of them busy (a fraction counts)."""
    return max(1, min(cores, int(cores - others + _SPARE)))


def _busy_seconds() -> float:
    """Return the seconds that all programs used the processors of this process, since the machine started."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    return sum(
        sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        for number, times in enumerate(psutil.cpu_times(percpu=True))
        if allowed is None or number in allowed
    )
