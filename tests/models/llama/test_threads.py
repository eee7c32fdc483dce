"""The number of threads follows the processors that other programs leave free."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic, sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.llama.threads import FreeProcessors, processors, threads_next_to
from tests.support.processors import all_of_them
from tests.support.waiting import PATIENCE


@pytest.fixture
def busy() -> Iterator[None]:
    """Run as many other programs as there are processors."""
    with ExitStack() as stack:
        stack.enter_context(all_of_them())
        for _ in range(processors()):
            program = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(program.wait)
            stack.callback(program.kill)
        yield


@given(st.floats(0, 64), st.integers(1, 64))
def test_there_is_always_a_thread_and_never_more_than_cores(others: float, cores: int) -> None:
    assert 1 <= threads_next_to(others, cores) <= cores


def test_busy_processors_are_left_to_other_programs() -> None:
    assert threads_next_to(0.0, 8) == 8
    assert threads_next_to(0.2, 8) == 8
    assert threads_next_to(2.0, 8) == 6
    # With two threads and another program on two processors, the other program gets two thirds of one.
    assert threads_next_to(0.67, 2) == 1


@pytest.mark.usefixtures("busy")
def test_fewer_threads_are_used_when_the_machine_becomes_busy() -> None:
    free = FreeProcessors()
    end = monotonic() + PATIENCE
    while free() > 1 and monotonic() < end:
        sleep(0.05)
    assert free() == 1
