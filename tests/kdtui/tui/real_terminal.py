"""A real terminal that the app runs in, driven by tmux."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from time import monotonic, sleep

import psutil

from tests.waiting import PATIENCE, until

_numbers = count()


class Terminal:
    """A tmux server of its own, with one window that runs the app, in a shell that says how it ended.

    Args:
        shell: one that takes a command, or commands; none for the app alone.
    """

    def __init__(self, database: Path, width: int, height: int, variables: str = "", *, shell: str = "sh -c") -> None:
        # The server of the last one may still be ending.
        self._socket = f"kdtui-test-{os.getpid()}-{next(_numbers)}"
        command = f"{variables} {sys.executable} -m kdtui --db {database}; echo ended with $?"
        takes_commands = shell.endswith("-i")
        if takes_commands:
            arguments = shell.split()
        elif shell:
            # It stays until the test has read what it says.
            arguments = [*shell.split(), f"{command}; sleep 60"]
        else:
            arguments = [sys.executable, "-m", "kdtui", "--db", str(database)]
        self._tmux("new-session", "-d", "-x", str(width), "-y", str(height), *arguments)
        # What a program copies is kept.
        self._tmux("set-option", "-g", "set-clipboard", "on")
        if takes_commands:
            self.type(f"{command}\n")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def send(self, data: bytes) -> None:
        """Send these bytes, whatever they are."""
        self._tmux("send-keys", "-H", *(f"{byte:02x}" for byte in data))

    def click(self, column: int, row: int) -> None:
        """Press and release the button of a mouse; the first column and row are 0."""
        for end in "Mm":
            self.type(f"\x1b[<0;{column + 1};{row + 1}{end}")

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def wait_for(self, text: str, seconds: float = PATIENCE) -> str:
        """The screen once it shows the text."""
        deadline = monotonic() + seconds
        while text not in (screen := self.screen()):
            assert monotonic() < deadline, screen
            sleep(0.05)
        return screen

    def screen(self, *options: str) -> str:
        return self._tmux("capture-pane", "-p", *options)

    @property
    def process(self) -> psutil.Process:
        """The app."""
        [shell] = self._tmux("display-message", "-p", "#{pane_pid}").split()
        return next(each for each in psutil.Process(int(shell)).children() if "kdtui" in each.cmdline())

    @property
    def is_given_back(self) -> bool:
        """Whether it is as a shell expects it: one screen, a cursor, lines that wrap, no mouse that reports."""
        names = ("alternate_on", "mouse_any_flag", "mouse_sgr_flag", "cursor_flag", "wrap_flag")
        return self._tmux("display-message", "-p", " ".join(f"#{{{name}}}" for name in names)).split() == list("00011")

    def wait_until_given_back(self) -> None:
        until(lambda: self.is_given_back)

    def copied(self) -> str:
        """What was copied last."""
        return self._tmux("show-buffer")

    def close(self) -> None:
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._socket, "-f", "/dev/null", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextmanager
def opened(database: Path, width: int, height: int, variables: str = "", *, shell: str = "sh -c") -> Iterator[Terminal]:
    terminal = Terminal(database, width, height, variables, shell=shell)
    try:
        terminal.wait_for("Statement")
        yield terminal
    finally:
        terminal.close()
