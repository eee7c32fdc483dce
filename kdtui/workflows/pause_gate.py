"""Pause, resume and end work from another thread, between two of its steps."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock

CALL_PATIENCE = 60.0
"""Seconds to wait for running calls when the work is stopped: they are paid for."""


class PauseGate:
    """A gate that work passes before each step, and that any thread can hold, release and close.

    Attributes:
        closed: whether no new step may begin, ever.
    """

    def __init__(self) -> None:
        self.closed = False
        self._lock = Lock()
        self._waiting = 0
        self._branches: list[PauseGate] = []
        self._passage: Future[None] = Future()
        self._passage.set_result(None)
        self._closing: Future[None] = Future()

    @property
    def is_held(self) -> bool:
        """Whether work has to wait at the gate."""
        return not self._passage.done()

    @property
    def is_waited_at(self) -> bool:
        """Whether a thread waits at the gate: the work is paused."""
        return self._waiting > 0

    def hold(self) -> None:
        """Pause the work at its next step."""
        with self._lock:
            if not (self.closed or self.is_held):
                self._passage = Future()
            branches = list(self._branches)
        for branch in branches:
            branch.hold()

    def release(self) -> None:
        """Resume the work."""
        with self._lock:
            if self.is_held:
                self._passage.set_result(None)
            branches = list(self._branches)
        for branch in branches:
            branch.release()

    def close(self) -> None:
        """End the work: a waiting thread continues and finds the gate closed."""
        with self._lock:
            if not self.closed:
                self.closed = True
                self._closing.set_result(None)
            branches = list(self._branches)
        for branch in branches:
            branch.close()
        self.release()

    @contextmanager
    def branch(self) -> "Iterator[PauseGate]":
        """Provide a gate for a part of the work. It follows this gate, and can be closed by itself."""
        branch = PauseGate()
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
        """Wait, in a thread, until the gate is open."""
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
        """Wait, in an event loop, until the gate is open."""
        # A task that is cancelled while it waits must not cancel the others.
        await asyncio.shield(asyncio.wrap_future(self._passage))

    async def close_seen(self) -> None:
        """Wait until the gate is closed."""
        await asyncio.shield(asyncio.wrap_future(self._closing))
