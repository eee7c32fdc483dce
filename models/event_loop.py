"""Event loops for synchronous code.

An interrupt waits until a loop is complete: asyncio prints a traceback when it deletes half of one.
"""

import asyncio

from models.interrupts import delayed_interrupts


def new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop, to be closed by the caller."""
    with delayed_interrupts():
        return asyncio.new_event_loop()


def new_runner() -> asyncio.Runner:
    """Return a runner with an event loop, to be closed by the caller."""
    runner = asyncio.Runner()
    try:
        with delayed_interrupts():
            runner.get_loop()
    except BaseException:
        runner.close()
        raise
    return runner
