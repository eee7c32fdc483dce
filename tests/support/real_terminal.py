"""The app in a real terminal, driven by tmux."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from time import monotonic, sleep

import psutil

from tests.support.waiting import PATIENCE, until

_numbers = count()


class Terminal:
    """A tmux server with one window, which runs the app in a shell that reports its exit code.

    Args:
        shell: a shell that gets a command, or commands; none to run only the app.
    """

    def __init__(self, database: Path, width: int, height: int, variables: str = "", *, shell: str = "sh -c") -> None:
        # The last server can still be ending.
        self._socket = f"kdtui-test-{os.getpid()}-{next(_numbers)}"
        command = f"{variables} {sys.executable} -m kdtui --db {database}; echo ended with $?"
        takes_commands = shell.endswith("-i")
        if takes_commands:
            arguments = shell.split()
        elif shell:
            # The window stays until the test has read it.
            arguments = [*shell.split(), f"{command}; sleep 60"]
        else:
            arguments = [sys.executable, "-m", "kdtui", "--db", str(database)]
        self._tmux("new-session", "-d", "-x", str(width), "-y", str(height), *arguments)
        # tmux keeps what a program copies.
        self._tmux("set-option", "-g", "set-clipboard", "on")
        if takes_commands:
            self.type(f"{command}\n")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self._tmux("send-keys", "-H", *(f"{byte:02x}" for byte in data))

    def click(self, column: int, row: int) -> None:
        """Click; the first column and row are 0."""
        for end in "Mm":
            self.type(f"\x1b[<0;{column + 1};{row + 1}{end}")

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def wait_for(self, text: str, seconds: float = PATIENCE) -> str:
        """Wait until the screen shows the text; return the screen."""
        deadline = monotonic() + seconds
        while text not in (screen := self.screen()):
            assert monotonic() < deadline, screen
            sleep(0.05)
        return screen

    def screen(self, *options: str) -> str:
        return self._tmux("capture-pane", "-p", *options)

    @property
    def process(self) -> psutil.Process:
        """The process of the app."""
        [number] = self._tmux("display-message", "-p", "#{pane_pid}").split()
        window = psutil.Process(int(number))
        return next(each for each in (window, *window.children()) if "kdtui" in each.cmdline())

    @property
    def is_given_back(self) -> bool:
        """Whether the terminal is in the state of a shell: main screen, cursor, line wrap, no mouse reports."""
        names = ("alternate_on", "mouse_any_flag", "mouse_sgr_flag", "cursor_flag", "wrap_flag")
        return self._tmux("display-message", "-p", " ".join(f"#{{{name}}}" for name in names)).split() == list("00011")

    def wait_until_given_back(self) -> None:
        until(lambda: self.is_given_back)

    def copied(self) -> str:
        """The clipboard."""
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
