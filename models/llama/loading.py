"""Loading a model while something else is done."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Generic, Protocol, TypeVar

from models.errors import Cancelled
from models.llama import cancellation
from models.llama.cancellation import Cancellation

_LOOK = 0.05
"""Seconds between two looks whether it is still wanted."""


class Closable(Protocol):
    """What holds memory until it is closed."""

    def close(self) -> None:
        """Free it."""


Loaded = TypeVar("Loaded", bound=Closable)


class Loading(Generic[Loaded]):
    """What a function loads in a thread of its own, from now on. To be closed, whether it has been used or not."""

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
        """Whether nobody would wait for it; loading may have failed."""
        return self._loading.done()

    def result(self) -> Loaded:
        """What has been loaded, waited for.

        Raises:
            Cancelled: the cancellation that is in force was cancelled; loading goes on.
            ModelError: it could not be loaded.
        """
        wish = cancellation.current()
        while not self._loading.done():
            wait([self._loading], _LOOK)
            if wish.is_cancelled:
                raise Cancelled
        return self._loading.result()

    def close(self) -> None:
        """End the loading, or free what has been loaded."""
        self._wish.cancel()
        wait([self._loading])
        if self._loading.exception() is None:
            self._loading.result().close()
