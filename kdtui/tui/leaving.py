"""The end of the process: running work gets some time to finish, and no thread is left in llama.cpp."""

import os
import sys
from asyncio import Task, to_thread, wait
from collections.abc import Collection, Iterable
from contextlib import suppress
from threading import Thread, enumerate, main_thread
from time import monotonic

_QUIET = 0.3
"""Seconds of waiting after which the user gets a message."""

_SHORT_TASK = 2.0
"""Seconds that short-lived threads can take."""


async def finish_work(
    changes: Collection[Task[None]], threads: Iterable[Thread], seconds: float, *, announce: bool
) -> int:
    """Wait until changes of the store are made and threads have ended, for this number of seconds at most in all.

    Args:
        announce: whether to print a message if that takes long.

    Returns:
        The number of changes that are not made.
    """
    deadline = monotonic() + seconds
    pending = set(changes)
    if pending:
        _, pending = await wait(pending, timeout=min(_QUIET, seconds))
    if pending:
        if announce:
            say_stopping()
            announce = False
        _, pending = await wait(pending, timeout=max(0.0, deadline - monotonic()))
    await to_thread(join_threads, threads, max(0.0, deadline - monotonic()), announce=announce)
    return len(pending)


def join_threads(threads: Iterable[Thread], seconds: float, *, announce: bool) -> None:
    """Wait until threads have ended, for this number of seconds at most.

    Args:
        announce: whether to print a message if that takes long.
    """
    started = monotonic()
    for thread in threads:
        thread.join(max(0.0, _QUIET - (monotonic() - started)))
        if announce and thread.is_alive():
            say_stopping()
            announce = False
        thread.join(max(0.0, started + seconds - monotonic()))


def say_stopping() -> None:
    """Say that the end waits for running work."""
    print("kdtui: stopping… (ctrl+c leaves at once)", file=sys.stderr, flush=True)


def end_process(code: int, threads: Iterable[Thread]) -> int:
    """Return the exit code after all threads have ended; if one still runs, end the process at once.

    Python would wait for the non-daemon threads, and would free objects that the daemon threads still use.

    Args:
        threads: daemon threads to check.
    """
    others = [each for each in enumerate() if not each.daemon and each is not main_thread()]
    join_threads(others, _SHORT_TASK, announce=False)
    if any(each.is_alive() for each in (*others, *threads)):
        end_at_once(code)
    return code


def end_at_once(code: int) -> None:
    """End the process while threads still run. SQLite keeps the store consistent."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
