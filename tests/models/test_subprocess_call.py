"""Work in another process, which interrupts end in silence."""

import io
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep

import pytest

from models.errors import ModelError
from models.subprocess_call import run_in_process


def fail() -> None:
    raise ValueError("too small")


def test_an_exception_of_the_other_process_is_raised_here() -> None:
    with pytest.raises(ModelError, match="too small"):
        run_in_process(fail)


def test_the_end_of_the_other_process_is_told() -> None:
    with pytest.raises(ModelError, match="ends by signal 9"):
        run_in_process(_kill_self)
    with pytest.raises(ModelError, match=r"takes longer than 0\.2 seconds"):
        run_in_process(sleep, 60, patience=0.2)


def test_stderr_is_the_same_after_processes_that_started_together(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    together = Barrier(4)

    def start() -> None:
        together.wait()
        run_in_process(os.getpid)

    with ThreadPoolExecutor(4) as pool:
        for started in [pool.submit(start) for _ in range(4)]:
            started.result()
    assert sys.stderr is screen


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_ctrl_c_ends_both_processes_in_silence(delay: float) -> None:
    program = (
        "import sys, time\n"
        "from models.subprocess_call import run_in_process\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        "        print('starts', flush=True)\n"
        "        run_in_process(time.sleep, 60)\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(130)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        sleep(delay)
        # As a terminal does: to all processes of the group.
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
