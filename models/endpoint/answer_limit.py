"""A limit for the size of a server's answers: one that never ends must not fill the memory."""

import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

MOST_BYTES = 64 * 2**20
"""Of an answer, decompressed. The vectors of 64 long texts are a tenth of that."""

PIECE = 2**20
"""Bytes that are decompressed at a time."""

_ANY_HEADER = zlib.MAX_WBITS | 32
"""Makes zlib read both of its formats, that of gzip and that of deflate."""


class UnreadableAnswer(ValueError):
    """An answer is not read to its end."""


def limited_transport(library: Any, transport: Any) -> Any:
    """Return a transport whose answers end with `UnreadableAnswer` where they get longer than a limit.

    It asks for answers that are not compressed, and decompresses them itself: a kilobyte can become a gigabyte.

    Args:
        library: the HTTP library of the transport, which depends on the version of openai.
    """

    class Stream(library.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, stream: Any, decode: Callable[[bytes], Iterator[bytes]]) -> None:
            self._stream, self._decode = stream, decode

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for part in self._stream:
                for piece in self._decode(part):
                    size += len(piece)
                    if size > MOST_BYTES:
                        raise UnreadableAnswer(f"the answer is longer than {MOST_BYTES / 2**20:g} MB")
                    yield piece

        async def aclose(self) -> None:
            await self._stream.aclose()

    class Transport(library.AsyncBaseTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:
            request.headers["Accept-Encoding"] = "identity"
            response = await transport.handle_async_request(request)
            encoding = response.headers.pop("Content-Encoding", "").strip().lower()
            if encoding not in _DECODERS:
                await response.aclose()
                raise UnreadableAnswer(f"the answer is compressed by {encoding[:40]!r}, which was not asked for")
            response.stream = Stream(response.stream, _DECODERS[encoding]())
            return response

        async def aclose(self) -> None:
            await transport.aclose()

    return Transport()


def _plain() -> Callable[[bytes], Iterator[bytes]]:
    return lambda part: iter((part,))


def inflating() -> Callable[[bytes], Iterator[bytes]]:
    """Return a function that decompresses the parts of an answer in turn, in pieces.

    It raises `UnreadableAnswer` if they are not compressed.
    """
    decoder = zlib.decompressobj(_ANY_HEADER)

    def inflate(part: bytes) -> Iterator[bytes]:
        # A full piece leaves a tail: the checksum at the end is read after all output.
        while part:
            try:
                yield decoder.decompress(part, PIECE)
            except zlib.error as error:
                raise UnreadableAnswer(f"the answer cannot be decompressed: {error}") from error
            part = decoder.unconsumed_tail

    return inflate


_DECODERS: dict[str, Callable[[], Callable[[bytes], Iterator[bytes]]]] = {
    "": _plain,
    "identity": _plain,
    **dict.fromkeys(("gzip", "x-gzip", "deflate"), inflating),
}
"""By the encoding that a server names; each answer gets a decoder of its own."""
