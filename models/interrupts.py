"""Delay interrupts until a step is complete."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def delayed_interrupts(notice: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Delay ctrl+c, SIGTERM and SIGHUP until the end of the block. Python handles them in the main thread only.

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

    before = {number: handler for number in _SIGNALS if callable(handler := signal.getsignal(number))}
    for number in before:
        signal.signal(number, receive)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, frame in received[:1]:
            before[signal.Signals(number)](number, frame)
