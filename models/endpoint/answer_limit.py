"""A limit for the size of a server's answers: one that never ends must not fill the memory."""

from collections.abc import AsyncIterator
from typing import Any

MOST_BYTES = 64 * 2**20
"""Of an answer; vectors of 256 long texts are a tenth of that."""

_LARGEST_RATIO = 1_000
"""How much longer text can be than its compressed form (deflate, as in gzip)."""


class OversizedAnswer(ValueError):
    """An answer is longer than the limit."""


def limited_transport(library: Any, transport: Any) -> Any:
    """Return a transport whose answers end with `OversizedAnswer` where they get longer than a limit.

    Args:
        library: the HTTP library of the transport, which depends on the version of openai.
    """

    class Stream(library.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, stream: Any, most: int) -> None:
            self._stream, self._most = stream, most

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for part in self._stream:
                size += len(part)
                if size > self._most:
                    raise OversizedAnswer(f"the answer is longer than {MOST_BYTES / 2**20:g} MB")
                yield part

        async def aclose(self) -> None:
            await self._stream.aclose()

    class Transport(library.AsyncBaseTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:
            # Answers are a few kilobytes. A compressed one could hide gigabytes.
            request.headers["Accept-Encoding"] = "identity"
            response = await transport.handle_async_request(request)
            is_plain = response.headers.get("Content-Encoding", "identity") == "identity"
            response.stream = Stream(response.stream, MOST_BYTES if is_plain else MOST_BYTES // _LARGEST_RATIO)
            return response

        async def aclose(self) -> None:
            await transport.aclose()

    return Transport()
