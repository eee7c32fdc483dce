"""The terminal: what Textual's driver does with it, and what is to become of it when it is stopped or goes away."""

import os
import selectors
import signal
from contextlib import suppress
from typing import IO, Any

from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from kdtui.tui.terminal_input import TerminalInput

_READ = 64 * 1024
"""Bytes that are read at once."""

_TICK = 0.1
"""Seconds without input after which an escape character is a key of its own."""


class Terminal(LinuxDriver):
    """A terminal that is given back whenever the app does not run in it.

    `ctrl+z` stops the whole job, as a shell expects. A terminal that goes away ends the app.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._file = _Output(self._file, self._go_away)  # type: ignore[assignment]
        self._is_stopping = False

    # Stopping

    # Textual has the following two called on SIGTSTP and SIGCONT, wherever the main thread is just then. It may hold
    # the lock that writing needs; so they leave the work to the loop.

    def _sigtstp_application(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop)

    def _sigcont_application(self, *_: object) -> None:
        if not self._is_stopping:
            # Something else than this has stopped the process, and has left the terminal as it was.
            self._loop.call_soon_threadsafe(self._return)

    def _stop(self) -> None:
        """Give the terminal back and stop, until the shell has the app go on in the foreground."""
        self._is_stopping = True
        try:
            self.suspend_application_mode()
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            # All of the job: the shell waits for whatever has started this program, too. Where there is no shell that
            # could have it go on, the system does not stop it.
            os.kill(0, signal.SIGTSTP)
            signal.signal(signal.SIGTSTP, self._sigtstp_application)
            self._wait_for_foreground()
            self.resume_application_mode()
        finally:
            self._is_stopping = False
        self._app.refresh(layout=True)
        self._app._resume_signal()

    def _return(self) -> None:
        """Take the terminal again: whoever had it meanwhile has left it as they like it."""
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
        """Give the terminal back as it was."""
        super().stop_application_mode()
        if self._mouse_pixels:
            self.write("\x1b[?1016l")

    # Input

    def run_input_thread(self) -> None:
        """Read what is typed until the app is left, or the terminal goes away."""
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
        """Hand a message to the app, unless it has ended."""
        if not self._loop.is_closed():
            super().send_message(message)

    def _go_away(self) -> None:
        """Leave the app, as when the terminal sends a hang-up."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._app.exit, None, 128 + signal.SIGHUP)


class _Output:
    """What is written to a terminal, until there is none any more: then it is lost, and nobody waits for it."""

    def __init__(self, file: IO[str] | None, when_gone: Any) -> None:
        self._file, self._when_gone = file, when_gone

    def write(self, text: str) -> None:
        """Write a text."""
        self._try("write", text)

    def flush(self) -> None:
        """Have the terminal show it."""
        self._try("flush")

    def fileno(self) -> int:
        """The number of the file."""
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
