"""Loading a model in the background."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Generic, Protocol, TypeVar

from models.errors import Cancelled
from models.llama import cancellation
from models.llama.cancellation import Cancellation

_LOOK = 0.05
"""Seconds between two checks for a cancellation."""


class Closable(Protocol):
    """An object that holds memory until it is closed."""

    def close(self) -> None:
        """Free the memory."""


Loaded = TypeVar("Loaded", bound=Closable)


class Loading(Generic[Loaded]):
    """A function that loads something in a thread of its own, from now on. Close it, whether it was used or not."""

    def __init__(self, load: Callable[[], Loaded]) -> None:
        self._wish = Cancellation()
        executor = ThreadPoolExecutor(1, "loading")

        def cancellable() -> Loaded:
            with self._wish.in_force():
                return load()

        self._loading = executor.submit(cancellable)
        executor.shutdown(wait=False)

    @property
    def done(self) -> bool:
        """Whether loading has ended; it can have failed."""
        return self._loading.done()

    def result(self) -> Loaded:
        """Wait for the loaded object, and return it.

        Raises:
            Cancelled: the cancellation in force was cancelled; loading continues.
            ModelError: it could not be loaded.
        """
        wish = cancellation.current()
        while not self._loading.done():
            wait([self._loading], _LOOK)
            if wish.is_cancelled:
                raise Cancelled
        return self._loading.result()

    def close(self) -> None:
        """Stop loading, or free the loaded object."""
        self._wish.cancel()
        wait([self._loading])
        if self._loading.exception() is None:
            self._loading.result().close()
