"""Waiting for another process that is writing to the store, and telling the person so."""

from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from kdtui.text import counted
from store.errors import Busy
from store.sqlite import Database

Answer = TypeVar("Answer")

WAITING = "waiting for another process that is writing to the database"

_LOOK = 0.25
"""Seconds between two tries in an event loop."""

_AGAIN = 60.0
"""Seconds after which it is said again."""


class Waiting:
    """What the store tells that it waits, once a second; a person is told of it once a minute.

    Args:
        say: takes the sentence.
        check: called each time; what it raises ends the waiting.
    """

    def __init__(self, say: Callable[[str], object], check: Callable[[], object] = lambda: None) -> None:
        self._say, self._check = say, check
        self._said: float | None = None

    def __call__(self, seconds: float) -> None:
        """It has waited for so many seconds."""
        self._check()
        is_new = self._said is None or seconds < self._said
        if is_new or seconds >= (self._said or 0.0) + _AGAIN:
            self._said = seconds
            self._say(WAITING if is_new else f"{WAITING}, for {counted(round(seconds / 60), 'minute')} now")


async def when_free(db: Database, write: Callable[[], Answer], held_up: Callable[[], object] = lambda: None) -> Answer:
    """Write as soon as no other process does, however long that takes. The event loop goes on meanwhile.

    Args:
        held_up: called after the first second.
    """
    # Imported here: commands that write without an event loop need none of it.
    import asyncio

    began, told = monotonic(), False
    while True:
        try:
            with db.waiting(0.0):
                return write()
        except Busy:
            waited = monotonic() - began
        if waited >= 1.0:
            db.on_wait(waited)
            if not told:
                told = True
                held_up()
        await asyncio.sleep(_LOOK)
