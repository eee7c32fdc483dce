"""How commands react to signals that ask them to end."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Timer, current_thread, main_thread
from types import FrameType

from models.interrupts import INTERRUPTS

_MOMENT = 0.01
"""Seconds until an interrupt is repeated that came in a callback, which is over by then."""


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
        with _repeated_if_ignored(received):
            yield
    except (KeyboardInterrupt, SystemExit):
        if not received:
            raise
        sys.exit(128 + received[0])
    except RuntimeError as error:
        # Up to Python 3.11, what is raised while a class is made comes wrapped, for example during an import.
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        sys.exit(128 + (received[0] if received else signal.SIGINT))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _repeated_if_ignored(received: Sequence[int]) -> Iterator[None]:
    """Send an interrupt again that Python ignored, a moment later.

    Python can run the handler of a signal anywhere. In a callback, such as one of a weak reference, Python ignores the
    exception that the handler raises, and only prints it.

    Args:
        received: the signals that have been handled; without any it was ctrl+c.
    """
    report = sys.unraisablehook
    repeats: list[Timer] = []

    def repeat(ignored: "sys.UnraisableHookArgs") -> None:
        if not issubclass(ignored.exc_type, KeyboardInterrupt):
            report(ignored)
            return
        timer = Timer(_MOMENT, _interrupt_main_thread, [received[-1] if received else signal.SIGINT])
        timer.daemon = True
        timer.start()
        repeats.append(timer)

    sys.unraisablehook = repeat
    try:
        yield
    finally:
        sys.unraisablehook = report
        for each in repeats:
            each.cancel()


def _interrupt_main_thread(number: int) -> None:
    main = main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        # To that thread: only then does it stop waiting.
        signal.pthread_kill(main, number)
    else:  # Windows
        signal.raise_signal(number)
