"""Waiting for other processes."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 150.0
"""Timeout in seconds, long enough for a busy machine."""


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until a condition is true; fail after a timeout."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never became true"
        time.sleep(0.02)


@contextmanager
def held_still(process: int | None) -> Iterator[None]:
    """Stop a process during the context, so that its work is still unfinished afterwards."""
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)
