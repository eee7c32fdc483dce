"""Bundles that need no language model are shown before it is loaded; it writes their intents."""

import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from threading import Event
from typing import Any

import pytest

from kdtui.workflows.student import model
from kdtui.workflows.student.generate import BundleGrew, SessionAnswered, generate_bundles
from kdtui.workflows.student.open import open_student
from kdtui.workflows.student.settings import settings_for
from models.errors import ModelError
from store.records import Item, Session
from store.sessions import get_session
from store.sqlite import Database

pytestmark = pytest.mark.usefixtures("imported")

_NEVER_LOADS = """
import time
from kdtui.workflows.student import model
from models.llama import cancellation
from models.errors import Cancelled
def never(*_):
    while not cancellation.current().is_cancelled:
        time.sleep(0.01)
    raise Cancelled
model.load_model = never
from kdtui.__main__ import main
main()
"""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """The model is not loaded before this is set."""
    opened = Event()
    load = model.load_model

    def held(*arguments: Any) -> Any:
        opened.wait()
        return load(*arguments)

    monkeypatch.setattr(model, "load_model", held)
    yield opened
    opened.set()


def test_bundles_are_shown_before_the_model_is_loaded_and_intents_afterwards(db: Database, gate: Event) -> None:
    session = get_session(db, "outdoor", "o05")
    with open_student(db, "outdoor", settings_for("shipped")) as student:
        try:
            events = generate_bundles(student, [session])
            first = next(events)
            assert isinstance(first, BundleGrew)
            assert (first.bundle.intent, first.bundle.complete) == ("", False)
            gate.set()
            *grown, last = events
        finally:
            gate.set()
    assert isinstance(last, SessionAnswered)
    assert last.prediction.bundles is not None
    assert first.bundle.positions in [bundle.positions for bundle in last.prediction.bundles]
    assert all(bundle.intent for bundle in last.prediction.bundles)
    complete = [event.bundle.positions for event in grown if isinstance(event, BundleGrew) and event.bundle.complete]
    assert sorted(complete) == sorted(bundle.positions for bundle in last.prediction.bundles)


def test_a_session_without_bundles_needs_no_model(db: Database, gate: Event) -> None:
    alone = Session("alone", (Item("1", "Tent"),))
    with open_student(db, "outdoor", settings_for("shipped")) as student:
        try:
            [answered] = generate_bundles(student, [alone])
        finally:
            gate.set()
    assert isinstance(answered, SessionAnswered)
    assert answered.prediction.bundles == ()


def test_the_first_and_the_second_session_are_answered_alike(db: Database) -> None:
    """Of the first the bundles are found before the model is there, of the second when it is."""
    session = get_session(db, "outdoor", "o05")
    with open_student(db, "outdoor", settings_for("shipped")) as student:
        one, other = (list(generate_bundles(student, [session]))[-1] for _ in range(2))
    assert isinstance(one, SessionAnswered)
    assert isinstance(other, SessionAnswered)
    assert one.prediction.bundles == other.prediction.bundles


def test_a_model_that_cannot_be_loaded_is_reported_after_the_bundles(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise ModelError("there is no memory")

    monkeypatch.setattr(model, "load_model", fail)
    with open_student(db, "outdoor", settings_for("shipped")) as student:
        events = generate_bundles(student, [get_session(db, "outdoor", "o05")])
        assert isinstance(next(events), BundleGrew)
        with pytest.raises(ModelError, match="there is no memory"):
            list(events)


class _Shown:
    """A command in its own terminal, and everything that it has written."""

    def __init__(self, process: "subprocess.Popen[bytes]", leader: int) -> None:
        self.process = process
        self._leader = leader
        self.text = ""
        self._bytes = b""

    def read(self, until: str | None = None) -> str:
        """What it has written, once that has this text in it, or at its end."""
        while until is None or until not in self.text:
            try:
                more = os.read(self._leader, 65536)
            except OSError:
                break
            if not more:
                break
            self._bytes += more
            self.text = self._bytes.decode("utf-8", "replace").replace("\r\n", "\n")
        assert until is None or until in self.text, self.text
        return self.text


@contextmanager
def shown(*arguments: str, code: str = "", width: int = 100, height: int = 30, **variables: str) -> Iterator[_Shown]:
    """Run a command in a terminal of this size.

    Args:
        code: to run instead of the program as it is.
    """
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    command = [sys.executable, *(["-c", code] if code else ["-m", "kdtui"]), *arguments]
    # Other sources of a size can be left over from the environment.
    usual = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    environment = usual | {"TERM": "xterm-256color"} | variables
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        try:
            yield _Shown(process, leader)
        finally:
            process.kill()
            os.close(leader)


def on_screen(text: str, height: int = 30) -> list[str]:
    """Return the lines of a terminal after this text, as far as the program uses the terminal."""
    lines, row, column = [""], 0, 0
    for piece in re.split(r"(\x1b\[[0-9;?]*[a-zA-Z]|\n|\r)", text):
        if piece == "\n":
            row, column = row + 1, 0
        elif piece == "\r":
            column = 0
        elif piece.startswith("\x1b["):
            match piece[-1]:
                case "A":
                    row -= int(piece[2:-1] or 1)
                    assert row > len(lines) - 1 - height, "it cannot reach what has left the screen"
                case "K":
                    lines[row] = ""
        else:
            lines[row] = lines[row][:column].ljust(column) + piece + lines[row][column + len(piece) :]
            column += len(piece)
        lines += [""] * (row + 1 - len(lines))
    while lines and not lines[-1]:
        del lines[-1]
    return lines


SIZES = [(100, 30), (40, 30), (100, 8)]


@pytest.mark.parametrize(("width", "height"), SIZES, ids=["usual", "narrow", "low"])
@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}], ids=["colours", "no colours"])
@pytest.mark.slow
def test_in_a_terminal_bundles_come_first_and_the_final_screen_is_the_usual_one(
    width: int, height: int, variables: dict[str, str]
) -> None:
    wanted = ["generate", "o05", "o34", "--dataset", "outdoor"]
    with shown(*wanted, width=width, height=height, **variables) as growing:
        text = growing.read()
        assert growing.process.wait() == 0
    with shown(*wanted, width=width, TERM="dumb", COLUMNS=str(width), LINES=str(height)) as plain:
        expected = plain.read()
    assert "\x1b[2K" in text
    assert "%" in text.partition("\x1b[2K")[0], "bundles come first"
    assert "\x1b[2K" not in expected
    sessions = [block for block in re.split(r"(?=^session )", "\n".join(on_screen(expected)), flags=re.M) if block]
    found = [block for block in re.split(r"(?=^session )", "\n".join(on_screen(text, height)), flags=re.M) if block]
    # The order of completion can differ.
    assert sorted(block.strip() for block in found) == sorted(block.strip() for block in sessions)
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is there again"


def test_output_to_a_file_has_no_intermediate_lines() -> None:
    command = [sys.executable, "-m", "kdtui", "generate", "o05", "--dataset", "outdoor"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not _CONTROL.search(result.stdout)
    assert result.stdout.count("session o05") == 1


def test_an_interrupt_leaves_known_results_and_a_clean_screen() -> None:
    with shown("generate", "o05", "--dataset", "outdoor", code=_NEVER_LOADS) as growing:
        growing.read(until="…")
        growing.process.send_signal(signal.SIGINT)
        text = growing.read()
        assert growing.process.wait() == 130
    lines = on_screen(text)
    assert sum(line.startswith("session o05") for line in lines) == 1
    assert any("%" in line and "…" in line for line in lines)
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")


def test_a_message_does_not_disturb_the_shown_lines() -> None:
    """A product without a title is named on stderr, which goes to the same terminal."""
    wanted = ["generate", "--dataset", "outdoor", "--student", "shipped", "-"]
    products = [{"id": "1", "title": "Two-person tent"}, {"id": "2", "title": "Tent pegs"}, {"id": "3"}]
    lines = json.dumps({"session": "a", "items": products}).encode()
    code = (
        f"import io, sys\nsys.stdin = io.TextIOWrapper(io.BytesIO({lines!r}))\nfrom kdtui.__main__ import main\nmain()"
    )
    with shown(*wanted, code=code) as growing:
        text = growing.read()
        assert growing.process.wait() == 0, text
    found = on_screen(text)
    assert sum(line.startswith("session a:") for line in found) == 1
    assert sum(line == "session a" for line in found) == 1
