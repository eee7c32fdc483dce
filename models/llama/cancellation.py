"""Ending what llama.cpp computes before it is done."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import current_thread, main_thread
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

_LOOK = 0.05
"""Seconds between two looks for signals."""


class Cancellation:
    """A flag that llama.cpp looks at while it computes.

    Attributes:
        flag: two bytes, a C string that is empty until it is cancelled. llama.cpp reads it without Python: to ask
            Python would mean to wait, a thousand times per batch, for whatever else Python is at.
    """

    def __init__(self) -> None:
        self.flag = bytearray(2)

    def cancel(self) -> None:
        """End what is computed where this is in force; safe to call from any thread."""
        self.flag[0] = 1

    @property
    def is_cancelled(self) -> bool:
        """Whether it has been cancelled."""
        return bool(self.flag[0])

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """What this thread has computed meanwhile can be cancelled."""
        token = _IN_FORCE.set(self)
        try:
            yield
        finally:
            _IN_FORCE.reset(token)


_IN_FORCE: ContextVar[Cancellation | None] = ContextVar("cancellation", default=None)


def current() -> Cancellation:
    """The cancellation that is in force in this thread, or a new one."""
    return _IN_FORCE.get() or Cancellation()


def call(cancellation: Cancellation, function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function that llama.cpp computes in; an interrupt of the main thread cancels it and is raised behind it.

    Python handles a signal in the main thread, between two steps of its own. While that thread is in llama.cpp there
    is none, so another thread makes the call and the main thread waits. The signal is handled when the call has ended:
    nothing may free a model while a thread is in it.
    """
    if current_thread() is not main_thread():
        return function(*arguments)
    with _signals_deferred(cancellation):
        made = _caller().submit(function, *arguments)
        # A signal may reach any thread, and does not always wake this one.
        while not made.done():
            wait([made], _LOOK)
    return made.result()


@contextmanager
def _signals_deferred(cancellation: Cancellation) -> Iterator[None]:
    """Cancel on the signals that Python code handles, and have them handled behind this."""
    received: list[tuple[int, FrameType | None]] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append((number, frame))
        cancellation.cancel()

    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    handled = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in handled:
        signal.signal(number, receive)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        for number, frame in received[:1]:
            handled[signal.Signals(number)](number, frame)


@cache
def _caller() -> ThreadPoolExecutor:
    # One thread for all calls: those that llama.cpp computes with belong to the one that calls it.
    return ThreadPoolExecutor(1, "llama.cpp")
