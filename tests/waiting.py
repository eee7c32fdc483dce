"""Waiting for what other processes do."""

import time
from collections.abc import Callable


def until(condition: Callable[[], object], seconds: float = 90) -> None:
    """Wait until something is so; it is an error if it never is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)
