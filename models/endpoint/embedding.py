"""Embeddings of texts by an OpenAI-compatible endpoint."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import numpy as np

from models.endpoint.chat_server import ChatServer, Endpoint
from models.errors import ModelError
from models.event_loop import new_runner
from models.llama.embedding import checked_vectors
from models.unit_vectors import Vectors

_TEXTS_PER_REQUEST = 64
_CONCURRENCY = 4
_TIMEOUT = 60.0
_RETRIES = 4


class RemoteEmbedder(AbstractContextManager["RemoteEmbedder"]):
    """An embedding model behind an endpoint.

    Raises:
        ModelError: the key cannot be sent; or the model is not named, and the server cannot be reached or has several.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._runner = new_runner()
        try:
            self._server = ChatServer(endpoint, concurrency=_CONCURRENCY, timeout=_TIMEOUT, retries=_RETRIES)
            self._model = endpoint.model or self._runner.run(self._server.only_model())
        except BaseException:
            self._runner.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._server.client.close())
        self._runner.close()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts as `Embedder` says."""
        return self._runner.run(self._all(texts))

    async def _all(self, texts: Sequence[str]) -> Vectors:
        limit = asyncio.Semaphore(_CONCURRENCY)

        async def embed_part(part: Sequence[str]) -> Vectors:
            async with limit:
                return await self._embed(part)

        starts = range(0, len(texts), _TEXTS_PER_REQUEST)
        requests = [embed_part(texts[first : first + _TEXTS_PER_REQUEST]) for first in starts]
        # All are awaited: asyncio would print an error that nobody receives.
        parts = []
        for result in await asyncio.gather(*requests, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
            parts.append(result)
        if len({part.shape[1] for part in parts}) > 1:
            raise ModelError(f"{self._server.url} makes vectors of different lengths")
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    async def _embed(self, texts: Sequence[str]) -> Vectors:
        try:
            answer: Any = await self._server.client.embeddings.create(
                model=self._model, input=list(texts), encoding_format="float"
            )
        except self._server.errors as error:
            raise self._server.explained(error) from error
        self._server.heard()
        try:
            # The library passes on whatever JSON the server sends.
            rows = [each.embedding for each in sorted(answer.data, key=lambda each: int(each.index))]
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError(f"{self._server.url} answers in an unknown format; does it make embeddings?") from error
        if len(rows) != len(texts):
            raise ModelError(f"{self._server.url} got {len(texts)} texts, and returned {len(rows)} vectors")
        return checked_vectors(rows, self._server.url, f"{self._server.url} makes vectors whose values are not numbers")
