"""Shared parts of the benchmarks: each prints one line with name, ours, the other, ratio."""

import resource
import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from time import perf_counter

import psutil


def report(name: str, ours: float, other: float, unit: str, bound: str) -> None:
    """Print one line; the ratio is ours divided by the other."""
    print(
        f"{name:<44} ours {ours:8.3f} {unit}   other {other:8.3f} {unit}   ratio {ours / other:5.2f}   ({bound})",
        flush=True,
    )


def alternate(commands: Sequence[Sequence[str]], runs: int) -> list[float]:
    """Return the median wall seconds of each command, run in turn so that a busy machine slows all of them."""
    times: list[list[float]] = [[] for _ in commands]
    for run in range(runs + 1):
        for command, seconds in zip(commands, times, strict=True):
            started = perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            # The first round fills the caches.
            if run:
                seconds.append(perf_counter() - started)
    return [median(each) for each in times]


def peak_memory_mb() -> float:
    """Return the peak memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def resident_memory_mb() -> float:
    """Return the current memory of this process, in MB."""
    return int(psutil.Process().memory_info().rss) / 1e6
