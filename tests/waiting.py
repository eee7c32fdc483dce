"""Waiting for what other processes do."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 150.0
"""Seconds after which what has not come will not: so long that a busy machine does not take it for that."""


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something is so; it is an error if it never is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


@contextmanager
def held_still(process: int | None) -> Iterator[None]:
    """Have a process wait: what is done meanwhile takes longer than its work, which is to be under way still."""
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)
