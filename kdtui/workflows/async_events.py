"""Events that come asynchronously, for those who take them one after the other: a terminal, a thread, a test."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, TypeVar

from kdtui.errors import KdtuiError

Event = TypeVar("Event")
Answer = TypeVar("Answer")


class Interrupted(KdtuiError):
    """Somebody has ended what was waited for."""


class Interrupt:
    """Ends, from another thread, what a thread waits for: a machine that does not answer, say.

    What `iterate` and `finish` wait for within `in_force` ends at once, and cleans up behind itself.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self.is_set = False

    def set(self) -> None:
        """End it; safe to call from any thread."""
        with self._lock:
            self.is_set = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._cancel)

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """What this thread waits for meanwhile can be ended."""
        token = _INTERRUPT.set(self)
        try:
            yield
        finally:
            _INTERRUPT.reset(token)

    async def guard(self, waiting: Coroutine[Any, Any, Answer]) -> Answer:
        """Wait, unless or until it is set.

        Raises:
            Interrupted: it is.
        """
        with self._lock:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            if self.is_set:
                waiting.close()
                raise Interrupted("it was interrupted")
            return await waiting
        except asyncio.CancelledError:
            if not self.is_set:
                raise
            raise Interrupted("it was interrupted") from None
        finally:
            with self._lock:
                self._loop = self._task = None

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


_INTERRUPT: ContextVar[Interrupt | None] = ContextVar("interrupt", default=None)


def iterate(events: AsyncGenerator[Event]) -> Iterator[Event]:
    """Events as they come, in a loop of their own that ends with the iterator."""
    with asyncio.Runner() as runner:
        try:
            while True:
                try:
                    event = runner.run(_guarded(_next(events)))
                except StopAsyncIteration:
                    return
                yield event
        finally:
            runner.run(_close(events))


def finish(work: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer of something that is waited for.

    Raises:
        Interrupted: an interrupt that is in force was set.
    """
    return asyncio.run(_guarded(work))


async def _guarded(waiting: Coroutine[Any, Any, Answer]) -> Answer:
    interrupt = _INTERRUPT.get()
    return await (waiting if interrupt is None else interrupt.guard(waiting))


async def _next(events: AsyncGenerator[Event]) -> Event:
    return await anext(events)


async def _close(events: AsyncGenerator[object]) -> None:
    await events.aclose()
