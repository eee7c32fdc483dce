"""Event loops that interrupts cannot break."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from models.event_loop import new_loop, new_runner


@pytest.fixture
def interrupted_making(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt comes in the middle of making a loop."""
    really_make = asyncio.SelectorEventLoop._make_self_pipe  # type: ignore[attr-defined]

    def make(self: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        really_make(self)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "_make_self_pipe", make)


@pytest.mark.usefixtures("interrupted_making")
@pytest.mark.parametrize("make", [new_loop, new_runner])
def test_an_interrupt_waits_until_a_loop_is_complete(
    make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    with pytest.raises(KeyboardInterrupt):
        make()
    assert not ignored


def test_a_runner_runs_coroutines() -> None:
    with new_runner() as runner:
        assert runner.run(asyncio.sleep(0, "done")) == "done"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_cancels_the_task_of_a_running_loop(number: signal.Signals, code: int) -> None:
    program = (
        "import asyncio, signal, sys\n"
        "from kdtui.cli.signals import signals_as_interrupts\n"
        "from models.event_loop import new_runner\n"
        "async def wait():\n"
        "    try:\n"
        f"        asyncio.get_running_loop().call_soon(signal.raise_signal, {int(number)})\n"
        "        await asyncio.sleep(60)\n"
        "    except asyncio.CancelledError:\n"
        "        print('cancelled')\n"
        "        raise\n"
        "try:\n"
        "    with signals_as_interrupts(), new_runner() as runner:\n"
        "        runner.run(wait())\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.stdout, ended.returncode, ended.stderr) == ("cancelled\n", code, "")
