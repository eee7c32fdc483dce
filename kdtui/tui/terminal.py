"""The driver for the terminal: suspending, resuming, input, and the loss of the terminal."""

import os
import selectors
import signal
from contextlib import suppress
from typing import IO, Any

from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from kdtui.tui.terminal_input import TerminalInput

_READ = 64 * 1024
"""The maximum number of bytes that are read at once."""

_TICK = 0.1
"""Seconds without input after which an escape character counts as the escape key."""


class Terminal(LinuxDriver):
    """A driver that restores the terminal whenever the app does not run in it.

    `ctrl+z` stops the whole process group, as a shell expects. If the terminal goes away, the app ends.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._file = _Output(self._file, self._go_away)  # type: ignore[assignment]
        self._is_stopping = False

    # Stopping

    # Textual calls these two on SIGTSTP and SIGCONT, wherever the main thread is. That thread can hold the lock for
    # writing, so the event loop does the work.

    def _sigtstp_application(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop)

    def _sigcont_application(self, *_: object) -> None:
        if not self._is_stopping:
            # Another signal stopped the process, and the terminal was not restored.
            self._loop.call_soon_threadsafe(self._set_up_again)

    @property
    def can_suspend(self) -> bool:
        """Whether a shell can continue the app. The system stops no process group without one (an orphaned group)."""
        import psutil

        group, ancestor = os.getpgrp(), psutil.Process()
        with suppress(OSError, psutil.Error):
            # The nearest ancestor of another group. Farther ones can be hidden.
            while (parent := ancestor.parent()) is not None:
                if os.getpgid(parent.pid) != group:
                    return os.getsid(parent.pid) == os.getsid(0)
                ancestor = parent
        return False

    def _stop(self) -> None:
        """Restore the terminal and stop, until the shell continues the app in the foreground."""
        if not self.can_suspend:
            # Keys that were typed while the terminal is restored and set up again would be lost.
            return
        self._is_stopping = True
        try:
            self.suspend_application_mode()
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            # The whole process group: the shell also waits for a program that has started this one.
            os.kill(0, signal.SIGTSTP)
            signal.signal(signal.SIGTSTP, self._sigtstp_application)
            self._wait_for_foreground()
            self.resume_application_mode()
        finally:
            self._is_stopping = False
        self._app.refresh(layout=True)
        self._app._resume_signal()

    def _set_up_again(self) -> None:
        """Set up the terminal again: another program may have changed it."""
        self._is_stopping = True
        try:
            self._wait_for_foreground()
            self.suspend_application_mode()
            self.resume_application_mode()
        finally:
            self._is_stopping = False
        self._app.refresh(layout=True)

    def _wait_for_foreground(self) -> None:
        with suppress(OSError):
            while os.tcgetpgrp(self.fileno) != os.getpgrp():
                os.kill(0, signal.SIGSTOP)

    def stop_application_mode(self) -> None:
        """Restore the terminal."""
        super().stop_application_mode()
        if self._mouse_pixels:
            self.write("\x1b[?1016l")

    # Input

    def run_input_thread(self) -> None:
        """Read input until the app ends, or the terminal goes away."""
        terminal_input = TerminalInput()
        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(_TICK):
                    try:
                        data = os.read(self.fileno, _READ)
                    except OSError:
                        data = b""
                    if not data:
                        self._go_away()
                        return
                    for message in terminal_input.feed(data):
                        self.process_message(message)
                for message in terminal_input.tick():
                    self.process_message(message)

    def send_message(self, message: Message) -> None:
        """Send a message to the app, unless it has ended."""
        if not self._loop.is_closed():
            super().send_message(message)

    def _go_away(self) -> None:
        """End the app, as on SIGHUP."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._app.exit, None, 128 + signal.SIGHUP)


class _Output:
    """The output to a terminal. After the terminal has gone, output is dropped without waiting."""

    def __init__(self, file: IO[str] | None, when_gone: Any) -> None:
        self._file, self._when_gone = file, when_gone

    def write(self, text: str) -> None:
        self._try("write", text)

    def flush(self) -> None:
        self._try("flush")

    def fileno(self) -> int:
        assert self._file is not None
        return self._file.fileno()

    def _try(self, method: str, *arguments: str) -> None:
        if self._file is None:
            return
        try:
            getattr(self._file, method)(*arguments)
        except (OSError, ValueError):
            self._file = None
            self._when_gone()
