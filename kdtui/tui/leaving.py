"""Leaving the app: what is at work is waited for, but not for ever, and no thread is left in llama.cpp."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from threading import Thread, enumerate, main_thread
from time import monotonic

_QUIET = 0.3
"""Seconds after which somebody wonders what is going on."""

_REST = 2.0
"""Seconds that threads may take which only look something up."""


def wait_for(threads: Iterable[Thread], seconds: float, *, tell: bool) -> None:
    """Wait until threads have ended, but no longer than so many seconds.

    Args:
        tell: say that it is waited for, where that takes a while.
    """
    began = monotonic()
    for thread in threads:
        thread.join(max(0.0, _QUIET - (monotonic() - began)))
        if tell and thread.is_alive():
            print("kdtui: stopping… (ctrl+c leaves at once)", file=sys.stderr, flush=True)
            tell = False
        thread.join(max(0.0, began + seconds - monotonic()))


def end(code: int, threads: Iterable[Thread]) -> int:
    """The exit code, once no thread is at work; where one is, the process ends here.

    Python would wait for some of them, and pull what they compute with from under the others.

    Args:
        threads: those that nobody waits for by themselves.
    """
    others = [each for each in enumerate() if not each.daemon and each is not main_thread()]
    wait_for(others, _REST, tell=False)
    if any(each.is_alive() for each in (*others, *threads)):
        end_at_once(code)
    return code


def end_at_once(code: int) -> None:
    """End the process, whatever its threads are at. What they have stored is whole: SQLite sees to that."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
