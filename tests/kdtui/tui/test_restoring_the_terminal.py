"""The terminal is restored whenever the app ends or stops, and nothing keeps running without it."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.needs import needs_tmux
from tests.support.real_terminal import Terminal, opened
from tests.support.waiting import until

ENDINGS = [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]

ends = pytest.mark.parametrize(("number", "code"), ENDINGS, ids=["SIGTERM", "SIGHUP", "SIGINT"])


@pytest.fixture
def terminal(demo_store: Path) -> Iterator[Terminal]:
    with opened(demo_store, 80, 24) as terminal:
        yield terminal


@pytest.fixture
def shell(demo_store: Path) -> Iterator[Terminal]:
    """Start the app in a shell with job control."""
    with opened(demo_store, 80, 24, shell="sh -i") as terminal:
        yield terminal


def ask_student(terminal: Terminal) -> None:
    """Ask the student of the first session."""
    terminal.press("2")
    terminal.wait_for("o01")
    terminal.press("Enter")
    terminal.wait_for("True bundles")
    terminal.press("g")


def check_end(terminal: Terminal, code: int) -> None:
    screen = terminal.wait_for(f"ended with {code}")
    assert "Traceback" not in screen
    assert "Segmentation" not in screen
    assert terminal.is_given_back


def leave(shell: Terminal) -> None:
    """Quit an app that a shell has continued."""
    shell.press("q")
    shell.wait_until_given_back()
    shell.type("echo left with $?\n")
    shell.wait_for("left with 0")


@needs_tmux
@ends
def test_a_signal_ends_the_app(terminal: Terminal, number: int, code: int) -> None:
    assert not terminal.is_given_back
    terminal.process.send_signal(number)
    check_end(terminal, code)


@needs_tmux
def test_a_signal_ends_the_app_with_an_open_dialog(terminal: Terminal) -> None:
    terminal.press("?")
    terminal.wait_for("Keys on this screen")
    terminal.process.send_signal(signal.SIGTERM)
    check_end(terminal, 143)


@needs_tmux
@pytest.mark.parametrize("state", ["loading", "writing"])
@pytest.mark.parametrize(("number", "code"), [(None, 0), *ENDINGS[::2]], ids=["q", "SIGTERM", "SIGINT"])
@pytest.mark.slow
def test_the_app_ends_while_a_student_runs(terminal: Terminal, state: str, number: int | None, code: int) -> None:
    ask_student(terminal)
    terminal.wait_for(state)
    if number is None:
        terminal.press("q")
    else:
        terminal.process.send_signal(number)
    check_end(terminal, code)


@needs_tmux
def test_invalid_bytes_do_not_end_the_app(terminal: Terminal) -> None:
    terminal.press("/")
    terminal.send(b"te\xffnt\xc3")
    terminal.send(b"\x1b[1114112;1u\x1b[3:1A")
    terminal.wait_for("te\ufffdnt")
    terminal.send(b"\x1b[200~ x\x1b[31m\xff\x07q\x03\x1b[201~")
    terminal.wait_for("x[31m\ufffdq")
    terminal.press("Escape")
    terminal.wait_for("Statement")


@needs_tmux
def test_ctrl_z_suspends_the_app_and_fg_continues_it(shell: Terminal) -> None:
    process = shell.process
    shell.press("?")
    shell.wait_for("Keys on this screen")
    # In a text area, this key would undo; there is none here.
    shell.press("C-z")
    until(lambda: process.status() == psutil.STATUS_STOPPED)
    shell.wait_until_given_back()
    shell.type("echo a shell\n")
    shell.wait_for("a shell")
    shell.resize(100, 30)
    shell.type("fg\n")
    assert "a shell" not in shell.wait_for("Keys on this screen")
    assert not shell.is_given_back
    shell.press("Escape")
    shell.wait_for("39 pieces · by support")
    leave(shell)


@needs_tmux
def test_the_app_sets_up_the_terminal_again_after_an_outside_stop(shell: Terminal) -> None:
    process = shell.process
    process.send_signal(signal.SIGSTOP)
    until(lambda: process.status() == psutil.STATUS_STOPPED)
    shell.type("stty sane; printf '\\033[?1049l\\033[?1000l\\033[?1003l\\033[?1006l\\033[?25h\\033[?7h'\n")
    shell.wait_until_given_back()
    shell.type("fg\n")
    until(lambda: not shell.is_given_back)
    shell.wait_for("Statement")
    shell.press("j")
    # Keys are read once.
    shell.wait_for("Outdoor > Hiking + Outdoor > Hiking")
    leave(shell)


@needs_tmux
@pytest.mark.parametrize("shell", ["", "sh -c"], ids=["alone", "in a script"])
def test_the_app_is_not_suspended_without_a_shell(demo_store: Path, shell: str) -> None:
    with opened(demo_store, 80, 24, shell=shell) as terminal:
        terminal.press("C-z")
        terminal.wait_for("there is no shell to go back to")
        # Nothing happens on a signal either, and no key is lost.
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.press("?")
        terminal.wait_for("Keys on this screen")


def test_losing_the_terminal_ends_the_app(demo_store: Path) -> None:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    process = subprocess.Popen(
        # A session of its own, which gets no signal when this terminal closes.
        [sys.executable, "-m", "kdtui", "--db", str(demo_store)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(theirs)
    seen = b""

    def has_painted() -> bool:
        nonlocal seen
        try:
            seen += os.read(ours, 65536)
        except BlockingIOError:
            return False
        return b"Statement" in seen

    try:
        until(has_painted)
        os.close(ours)
        assert process.wait(timeout=60) == 129
    finally:
        process.kill()
        process.wait()
