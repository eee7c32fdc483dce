"""Where work can be held, let go on, and ended from another thread, between two steps of it."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock


class PauseControl:
    """What is at work comes by here before each step; others open and close it, from any thread.

    Attributes:
        closed: whether nothing more is to be begun, ever.
    """

    def __init__(self) -> None:
        self.closed = False
        self._lock = Lock()
        self._waiting = 0
        self._branches: list[PauseControl] = []
        self._passage: Future[None] = Future()
        self._passage.set_result(None)
        self._closing: Future[None] = Future()

    @property
    def is_held(self) -> bool:
        """Whether what comes by has to wait."""
        return not self._passage.done()

    @property
    def is_waited_at(self) -> bool:
        """Whether a thread waits here: what it was to hold stands still."""
        return self._waiting > 0

    def hold(self) -> None:
        """Let nothing pass for now."""
        with self._lock:
            if not (self.closed or self.is_held):
                self._passage = Future()
            branches = list(self._branches)
        for branch in branches:
            branch.hold()

    def release(self) -> None:
        """Let pass again."""
        with self._lock:
            if self.is_held:
                self._passage.set_result(None)
            branches = list(self._branches)
        for branch in branches:
            branch.release()

    def close(self) -> None:
        """Have the work end: what waits here goes on and finds it closed."""
        with self._lock:
            if not self.closed:
                self.closed = True
                self._closing.set_result(None)
            branches = list(self._branches)
        for branch in branches:
            branch.close()
        self.release()

    @contextmanager
    def branch(self) -> "Iterator[PauseControl]":
        """A gate for a part of the work: what is done to this one is done to it too, and it can close by itself."""
        branch = PauseControl()
        with self._lock:
            self._branches.append(branch)
            is_held, is_closed = self.is_held, self.closed
        if is_held:
            branch.hold()
        if is_closed:
            branch.close()
        try:
            yield branch
        finally:
            with self._lock:
                self._branches.remove(branch)

    def wait(self) -> None:
        """Wait, in a thread, until it may go on."""
        passage = self._passage
        if passage.done():
            return
        with self._lock:
            self._waiting += 1
        try:
            passage.result()
        finally:
            with self._lock:
                self._waiting -= 1

    async def passed(self) -> None:
        """Wait, in an event loop, until it may go on."""
        # A task that is cancelled while it waits must not cancel the others.
        await asyncio.shield(asyncio.wrap_future(self._passage))

    async def close_seen(self) -> None:
        """Wait until it is closed."""
        await asyncio.shield(asyncio.wrap_future(self._closing))
