"""Handle interrupts between two steps of an event loop."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any

from models.interrupts import INTERRUPTS


@contextmanager
def interrupts_between_steps(loop: asyncio.AbstractEventLoop, tell: Callable[[], None]) -> Iterator[None]:
    """Deliver interrupts as a call between two steps of a loop. One within a step would end the task that is running.

    The usual handler gets the first interrupt when the block ends.
    """
    received: list[int] = []

    def receive(number: int) -> None:
        received.append(number)
        tell()

    handlers: dict[int, Any] = {}
    if current_thread() is main_thread():
        handlers = {number: handler for number in INTERRUPTS if callable(handler := signal.getsignal(number))}
    try:
        for number in handlers:
            loop.add_signal_handler(number, receive, number)
    except NotImplementedError:
        # Windows: the loop handles interrupts in its own way.
        handlers = {}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])
