"""Work in a process of its own: llama.cpp can end the process that it runs in, and cannot be stopped halfway."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import closing, redirect_stderr
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from threading import Lock

from models.errors import Crashed, ModelError
from models.interrupts import children_without_interrupts

_LONGEST = 1000
"""Characters of an error message that is passed on."""


_STARTING = Lock()
"""Held while a process starts: two threads that replace stderr together can leave it replaced."""


def run_in_process(work: Callable[..., object], *arguments: object, patience: float | None = None) -> None:
    """Call a function in a new process; an interrupt ends that process at once.

    Args:
        work: a function of a module, because the process finds it by its name.
        patience: seconds that it can take; None for no limit.

    Raises:
        ModelError: the function raises an exception, or it takes too long.
        Crashed: the process ends before it returns.
    """
    with closing(steps_in_process(work, *arguments, every=patience)) as steps:
        for _ in steps:
            raise ModelError(f"takes longer than {patience:g} seconds")


def steps_in_process(
    work: Callable[..., object], *arguments: object, every: float | None = None
) -> Generator[None, None, None]:
    """Do the same as `run_in_process`, and yield from time to time. Closing the generator ends the process at once.

    Args:
        every: seconds between two yields; None to yield never.

    Raises:
        ModelError: the function raises an exception.
        Crashed: the process ends before it returns.
    """
    # Spawned, not forked: the threads of llama.cpp and of a screen do not survive a fork. The new process imports from
    # the same paths as this one. With `python -m` a `models.py` in the user's folder would come first.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, work, arguments), daemon=True)
    # A terminal app replaces stderr by an object that is not a file, and no process can be started with that.
    with _STARTING, redirect_stderr(sys.__stderr__):
        if sys.platform != "win32":
            # It starts with the first process, and would end the delay of interrupts.
            resource_tracker.ensure_running()
        # An interrupt ends this process, which ends the other one.
        with children_without_interrupts():
            process.start()
    theirs.close()
    try:
        while not ours.poll(every):
            yield
        problem = ours.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        raise Crashed(f"ends by signal {-code}" if code < 0 else f"ends with code {code}") from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if problem is not None:
        raise ModelError(problem)


def _child(answer: Connection, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    # On Windows, the parent cannot keep ctrl+c from it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What llama.cpp writes when it aborts would tear up a screen.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    # It would start a debugger to write more.
    os.environ["GGML_NO_BACKTRACE"] = "1"
    try:
        work(*arguments)
    except MemoryError:
        answer.send("there is not enough memory for this model; use a smaller one, or close other programs")
    except Exception as error:
        answer.send(str(error)[:_LONGEST] or type(error).__name__)
    else:
        answer.send(None)
