"""Work in a process of its own: llama.cpp may end the process that it runs in, and cannot be stopped half-way."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import closing, redirect_stderr
from multiprocessing.connection import Connection

from models.errors import ModelError


def run_apart(work: Callable[..., object], *arguments: object, patience: float | None = None) -> None:
    """Call a function in a new process; an interrupt ends that process at once.

    Args:
        work: a function of a module, since the process finds it by its name.
        patience: seconds that it may take; None for as long as it needs.

    Raises:
        ModelError: the function raises something, the process ends before the function does, or it takes too long.
    """
    with closing(steps_apart(work, *arguments, every=patience)) as steps:
        for _ in steps:
            raise ModelError(f"takes longer than {patience:g} seconds")


def steps_apart(
    work: Callable[..., object], *arguments: object, every: float | None = None
) -> Generator[None, None, None]:
    """The same, for who wants to look at it meanwhile: closing the generator ends the process at once.

    Args:
        every: seconds after which it yields, again and again; None for not before the end.

    Raises:
        ModelError: the function raises something, or the process ends before the function does.
    """
    # Spawned, not forked: the threads of llama.cpp and of a screen do not survive a fork. The new process imports from
    # where this one does, which `python -m` would not: a `models.py` in the user's folder would come first.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, work, arguments), daemon=True)
    # A terminal app has something in place of stderr that is no file, and no process can be started with that.
    with redirect_stderr(sys.__stderr__):
        process.start()
    theirs.close()
    try:
        while not ours.poll(every):
            yield
        problem = ours.recv()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        problem = f"ends by signal {-code}" if code < 0 else f"ends with code {code}"
    finally:
        process.kill()
        process.join()
        ours.close()
    if problem is not None:
        raise ModelError(problem)


def _child(answer: Connection, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    # A terminal interrupts both processes; the other one ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What llama.cpp writes when it gives up would tear up a screen.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        work(*arguments)
    except Exception as error:
        answer.send(str(error) or type(error).__name__)
    else:
        answer.send(None)
