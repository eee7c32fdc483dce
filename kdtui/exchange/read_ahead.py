"""A reader thread for sources that block, such as a pipe."""

from collections.abc import Iterable, Iterator
from queue import Empty, Queue
from threading import Thread
from typing import Generic, TypeVar

_AHEAD = 256
"""Values to read in advance."""

READER = "read ahead"
"""Name of the threads that read."""

Value = TypeVar("Value")


class _End:
    pass


class ReadAhead(Generic[Value]):
    """Iterates over the values of a source; yields None while the next one is not available.

    An error in the source ends the iteration, so that the caller can process the values before it; `check` then raises
    it.
    """

    def __init__(self, source: Iterable[Value]) -> None:
        self._values: Queue[Value | _End] = Queue(_AHEAD)
        self._error: Exception | None = None
        # A daemon thread, so an endless source does not keep the program from exiting.
        Thread(target=self._read, args=[source], name=READER, daemon=True).start()

    def __iter__(self) -> Iterator[Value | None]:
        while True:
            try:
                value = self._values.get_nowait()
            except Empty:
                yield None
                continue
            if isinstance(value, _End):
                return
            yield value

    def check(self) -> None:
        """Raise the error of the source, if any."""
        if self._error is not None:
            raise self._error

    def _read(self, source: Iterable[Value]) -> None:
        try:
            for value in source:
                self._values.put(value)
        except Exception as error:
            self._error = error
        finally:
            self._values.put(_End())
