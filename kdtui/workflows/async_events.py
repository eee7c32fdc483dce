"""Events that come asynchronously, for those who take them one after the other: a terminal, a thread, a test."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import TypeVar

Event = TypeVar("Event")


def iterate(events: AsyncGenerator[Event]) -> Iterator[Event]:
    """Events as they come, in a loop of their own that ends with the iterator."""
    with asyncio.Runner() as runner:
        try:
            while True:
                try:
                    event = runner.run(_next(events))
                except StopAsyncIteration:
                    return
                yield event
        finally:
            runner.run(_close(events))


async def _next(events: AsyncGenerator[Event]) -> Event:
    return await anext(events)


async def _close(events: AsyncGenerator[object]) -> None:
    await events.aclose()
