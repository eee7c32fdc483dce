"""The signals that interrupt a program, and how to delay them until a step is complete."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

INTERRUPTS = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__
)
"""The signals that ask a program to end, as far as this system has them."""


@contextmanager
def delayed_interrupts(notice: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Delay interrupts until the end of the block. Python handles them in the main thread only.

    Of several, only the first is delivered: the others ask for the same.

    Args:
        notice: is called at once when an interrupt comes.
    """
    if current_thread() is not main_thread():
        yield
        return
    received: list[tuple[int, FrameType | None]] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append((number, frame))
        notice()

    before = {number: handler for number in INTERRUPTS if callable(handler := signal.getsignal(number))}
    for number in before:
        signal.signal(number, receive)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for first, frame in received[:1]:
            before[signal.Signals(first)](first, frame)


@contextmanager
def children_without_interrupts() -> Iterator[None]:
    """Delay interrupts, and keep ctrl+c in the terminal from the processes that are started in the block.

    A process inherits which signals are blocked. One that is interrupted while Python starts prints a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    with delayed_interrupts():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
