"""The app in a real terminal, driven by tmux."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.needs import needs_tmux

pytestmark = needs_tmux


class Terminal:
    """A tmux server of its own, with one window that runs the app."""

    def __init__(self, database: Path, width: int, height: int) -> None:
        self._socket = f"kdtui-test-{os.getpid()}-{width}"
        # The shell says how the program ended, and stays until the test has read it.
        command = f"{sys.executable} -m kdtui --db {database}; echo ended with $?; sleep 60"
        self._tmux("new-session", "-d", "-x", str(width), "-y", str(height), "sh", "-c", command)

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def wait_for(self, text: str) -> str:
        """The screen once it shows the text."""
        deadline = monotonic() + 30
        while text not in (screen := self._tmux("capture-pane", "-p")):
            assert monotonic() < deadline, screen
            sleep(0.05)
        return screen

    def close(self) -> None:
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._socket, "-f", "/dev/null", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(params=[(80, 24), (200, 50)], ids=["80x24", "200x50"])
def terminal(request: pytest.FixtureRequest, demo_store: Path) -> Iterator[Terminal]:
    opened = Terminal(demo_store, *request.param)
    yield opened
    opened.close()


def test_a_session_is_opened_and_answered_and_the_app_is_left(terminal: Terminal) -> None:
    terminal.wait_for("Statement")
    terminal.press("2")
    terminal.wait_for("o01")
    terminal.press("Enter")
    terminal.wait_for("True bundles")
    terminal.press("g")
    assert "%" in terminal.wait_for("done in")
    terminal.press("1")
    terminal.wait_for("Statement")
    terminal.press("q")
    assert "Traceback" not in terminal.wait_for("ended with 0")
