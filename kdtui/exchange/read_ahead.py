"""A source that makes its reader wait, such as a pipe, read in a thread of its own."""

from collections.abc import Iterable, Iterator
from queue import Empty, Queue
from threading import Thread
from typing import Generic, TypeVar

_AHEAD = 256
"""Values that are read before they are asked for."""

Value = TypeVar("Value")


class _End:
    pass


class ReadAhead(Generic[Value]):
    """Iterates over what a source has to give, or None where there is nothing at the moment.

    An error of the source ends the iteration, so that what came before it can be dealt with; `check` raises it then.
    """

    def __init__(self, source: Iterable[Value]) -> None:
        self._values: Queue[Value | _End] = Queue(_AHEAD)
        self._error: Exception | None = None
        # A daemon: a source that never ends does not keep the program from ending.
        Thread(target=self._read, args=[source], name="read ahead", daemon=True).start()

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
        """Raise what the source has raised."""
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
