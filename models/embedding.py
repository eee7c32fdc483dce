"""Texts become vectors: by a GGUF model here, or by an OpenAI-compatible endpoint."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from models.chat_server import ChatServer, Endpoint
from models.embedded import ENCODER_TOKENS, checked_encoder
from models.errors import ModelError, no_numbers
from models.unit_vectors import Vectors, of_length_one
from models.vocabulary import Token

_TOKENS = 512
"""Of a text: what the common embedding models were trained on."""

_BATCH = 256
"""Tokens that are computed together: with more, texts look at each other for nothing."""

_LETTERS = 32
"""Of a text that are read for each token that counts."""

_TEXTS_PER_REQUEST = 64
_CONCURRENCY = 4
_TIMEOUT = 60.0
_RETRIES = 4


class Embedder(Protocol):
    """Makes a vector of each text."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """(texts, dimensions), each row of length one.

        Raises:
            ModelError: there are none.
        """


class LocalEmbedder(AbstractContextManager["LocalEmbedder"]):
    """A GGUF model. One that was not made for embeddings gives the mean of its last hidden states.

    Args:
        tokens: of a text that count.

    Raises:
        ModelError: the file is missing, is no GGUF file, or cannot be loaded.
    """

    def __init__(self, path: Path, *, tokens: int = _TOKENS) -> None:
        # Imported here: llama.cpp takes a third of a second.
        from models.llama import LlamaModel
        from models.pooled import PooledContext

        self._tokens = tokens
        self._model = LlamaModel(path)
        try:
            self._context = PooledContext(self._model, batch=max(tokens, _BATCH))
        except BaseException:
            self._model.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the model; no vectors can be made afterwards."""
        self._context.close()
        self._model.close()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """As `Embedder` says; what a text has beyond its first tokens does not count."""
        if not texts:
            return np.empty((0, self._context.width), np.float32)
        found = self._context.vectors([self._tokens_of(text) for text in texts])
        return _vectors(found, str(self._model.path), no_numbers(str(self._model.path)))

    def _tokens_of(self, text: str) -> list[Token]:
        # A token has a letter at least, and none that matters has this many: a novel is not read to its end.
        tokens = self._model.tokenize(text[: self._tokens * _LETTERS] or " ", start=True)
        if len(tokens) <= self._tokens:
            return tokens
        # What closes every text, such as [SEP], closes those that are cut, too.
        closing = tokens[-1:] if self._model.is_control(tokens[-1]) else []
        return tokens[: self._tokens - len(closing)] + closing


def shipped_embedder() -> LocalEmbedder:
    """The sentence encoder that comes with the program, loaded.

    Raises:
        ModelError: its file is missing, or damaged.
    """
    return LocalEmbedder(checked_encoder(), tokens=ENCODER_TOKENS)


class RemoteEmbedder(AbstractContextManager["RemoteEmbedder"]):
    """A model behind an endpoint.

    Raises:
        ModelError: the key cannot be sent, or the model is not named and the server is not there or has several.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._runner = asyncio.Runner()
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
        """As `Embedder` says."""
        return self._runner.run(self._all(texts))

    async def _all(self, texts: Sequence[str]) -> Vectors:
        few = asyncio.Semaphore(_CONCURRENCY)

        async def some(part: Sequence[str]) -> Vectors:
            async with few:
                return await self._some(part)

        starts = range(0, len(texts), _TEXTS_PER_REQUEST)
        requests = [some(texts[first : first + _TEXTS_PER_REQUEST]) for first in starts]
        # All are waited for: an error that nobody takes would be printed.
        parts = []
        for result in await asyncio.gather(*requests, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
            parts.append(result)
        if len({part.shape[1] for part in parts}) > 1:
            raise ModelError(f"{self._server.url} makes vectors of different lengths")
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    async def _some(self, texts: Sequence[str]) -> Vectors:
        try:
            answer: Any = await self._server.client.embeddings.create(
                model=self._model, input=list(texts), encoding_format="float"
            )
        except self._server.errors as error:
            raise self._server.explained(error) from error
        self._server.heard()
        try:
            # The library hands on whatever JSON the server sends.
            rows = [each.embedding for each in sorted(answer.data, key=lambda each: int(each.index))]
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError(f"{self._server.url} answers in a form of its own; does it make embeddings?") from error
        if len(rows) != len(texts):
            raise ModelError(f"{self._server.url} was sent {len(texts)} texts, and answers {len(rows)} vectors")
        return _vectors(rows, self._server.url, f"{self._server.url} makes vectors whose values are no numbers")


def _vectors(rows: Sequence[Sequence[float]] | Vectors, where: str, otherwise: str) -> Vectors:
    """What a model makes, checked.

    Args:
        otherwise: what to say of values that are no numbers.

    Raises:
        ModelError: it makes something else.
    """
    try:
        # One that 32 bits cannot hold becomes infinite, which is looked for below.
        with np.errstate(over="ignore"):
            vectors = np.array(rows, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{where} makes something else than vectors of one length") from error
    if vectors.ndim != 2 or not vectors.size:
        raise ModelError(f"{where} makes something else than vectors of one length")
    if not np.isfinite(vectors).all():
        raise ModelError(otherwise)
    return of_length_one(vectors)
