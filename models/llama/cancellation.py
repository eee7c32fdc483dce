"""Cancellation of what llama.cpp computes."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import current_thread, main_thread
from typing import TypeVar

from models.interrupts import delayed_interrupts

Result = TypeVar("Result")

_LOOK = 0.05
"""Seconds between two checks for signals."""


class Cancellation:
    """A flag that llama.cpp checks while it computes.

    Attributes:
        flag: two bytes, a C string that is empty until it is cancelled. llama.cpp reads it without Python. A callback
            in Python would wait for the interpreter lock a thousand times per batch.
    """

    def __init__(self) -> None:
        self.flag = bytearray(2)

    def cancel(self) -> None:
        """Cancel the computations of the thread in which this is in force; safe to call from any thread."""
        self.flag[0] = 1

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return bool(self.flag[0])

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Make the computations of this thread cancellable by this object."""
        token = _IN_FORCE.set(self)
        try:
            yield
        finally:
            _IN_FORCE.reset(token)


_IN_FORCE: ContextVar[Cancellation | None] = ContextVar("cancellation", default=None)


def current() -> Cancellation:
    """Return the cancellation that is in force in this thread, or a new one."""
    return _IN_FORCE.get() or Cancellation()


def call(cancellation: Cancellation, function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function of llama.cpp; an interrupt of the main thread cancels it and is raised afterwards.

    Python handles a signal in the main thread, between two of its own instructions. While that thread is in llama.cpp
    there are none, so another thread makes the call and the main thread waits. The signal is handled when the call has
    ended, because nothing may free a model while a thread uses it.
    """
    if current_thread() is not main_thread():
        return function(*arguments)
    with delayed_interrupts(cancellation.cancel):
        made = _caller().submit(function, *arguments)
        # A signal can arrive in any thread, and does not always wake this one.
        while not made.done():
            wait([made], _LOOK)
    return made.result()


def call_briefly(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function of llama.cpp that takes no time but can log; an interrupt waits for it.

    Python would handle the interrupt in the callback that gets the log, and lose it there.
    """
    with delayed_interrupts():
        return function(*arguments)


@cache
def _caller() -> ThreadPoolExecutor:
    # One thread for all calls: the worker threads of llama.cpp belong to the thread that calls it.
    return ThreadPoolExecutor(1, "llama.cpp")
