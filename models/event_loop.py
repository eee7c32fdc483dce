"""Event loops for synchronous code."""

import asyncio

from models.interrupts import delayed_interrupts


def new_event_loop() -> asyncio.Runner:
    """Return a runner with an event loop, to be closed by the caller.

    An interrupt waits until the loop is complete: asyncio prints a traceback when it deletes an incomplete one.
    """
    with delayed_interrupts():
        runner = asyncio.Runner()
        runner.get_loop()
    return runner
