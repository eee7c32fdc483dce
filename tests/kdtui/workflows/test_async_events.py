"""Asynchronous events in synchronous code."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from kdtui.workflows.async_events import iterate


def test_an_interrupt_before_the_first_step_of_a_wait_closes_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    async def events() -> AsyncGenerator[int]:
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    iterator = iterate(events())
    assert next(iterator) == 1
    run = asyncio.BaseEventLoop.run_until_complete
    interrupts = [KeyboardInterrupt()]

    def interrupted(loop: asyncio.BaseEventLoop, future: Any) -> Any:
        # The task exists, and has not begun.
        if interrupts:
            raise interrupts.pop()
        return run(loop, future)

    monkeypatch.setattr(asyncio.BaseEventLoop, "run_until_complete", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(iterator)
    assert closed == [True]
