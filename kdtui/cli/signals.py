"""How commands react to signals that ask them to end."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

from models.interrupts import INTERRUPTS


@contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command like ctrl+c: finished work is kept, half-done work is rolled back.

    The exit code is 128 plus the number of the signal, as in shells.
    """
    if current_thread() is not main_thread():
        yield
        return
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        # While an event loop runs, asyncio handles ctrl+c: it cancels the task instead of breaking the loop.
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(signal.SIGINT, frame)
        else:
            # The parent let ctrl+c be ignored, as shells do for programs in the background.
            raise KeyboardInterrupt

    # The parent may have set a signal to be ignored, as nohup does. SIGINT has a handler of Python.
    before = {number: signal.SIG_DFL for number in INTERRUPTS if signal.getsignal(number) is signal.SIG_DFL}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if not received:
            raise
        sys.exit(128 + received[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
