"""Iterate over asynchronous events, and wait for coroutines, from synchronous code."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import CORO_CREATED, getcoroutinestate
from threading import Lock
from typing import Any, TypeVar

from kdtui.errors import KdtuiError
from models.event_loop import new_runner

Event = TypeVar("Event")
Answer = TypeVar("Answer")


class Interrupted(KdtuiError):
    """The wait was interrupted."""


class Interrupt:
    """Ends what a thread waits for, such as a machine that does not answer, from another thread.

    Whatever `iterate` and `run_async` wait for within `in_force` ends at once and cleans up.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self.is_set = False

    def set(self) -> None:
        """End the wait; safe to call from any thread."""
        with self._lock:
            self.is_set = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._cancel)

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Let this interrupt end what the current thread waits for in the block."""
        token = _INTERRUPT.set(self)
        try:
            yield
        finally:
            _INTERRUPT.reset(token)

    async def guard(self, waiting: Coroutine[Any, Any, Answer]) -> Answer:
        """Wait unless or until it is set.

        Raises:
            Interrupted: it is set.
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
    """Yield events as they come, in an event loop that ends with the iterator."""
    waiting: Coroutine[Any, Any, Event] | None = None
    with new_runner() as runner:
        try:
            while True:
                waiting = _guarded(_next(events))
                try:
                    event = runner.run(waiting)
                except StopAsyncIteration:
                    return
                yield event
        finally:
            runner.run(_close(events, waiting))


def run_async(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a coroutine, and return its result.

    Raises:
        Interrupted: an interrupt in force was set.
    """
    try:
        with new_runner() as runner:
            return runner.run(_guarded(work))
    finally:
        if getcoroutinestate(work) == CORO_CREATED:
            # An interrupt came before its first step: Python would print that nobody awaited it.
            work.close()


async def _guarded(waiting: Coroutine[Any, Any, Answer]) -> Answer:
    interrupt = _INTERRUPT.get()
    return await (waiting if interrupt is None else interrupt.guard(waiting))


async def _next(events: AsyncGenerator[Event]) -> Event:
    return await anext(events)


async def _close(events: AsyncGenerator[object], waiting: Coroutine[Any, Any, object] | None) -> None:
    """Close a generator, after the end of what waits for its next event.

    An interrupt in the moment before the first step of that task leaves the task behind, and it begins now.
    """
    for task in asyncio.all_tasks():
        if task.get_coro() is waiting:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await events.aclose()
