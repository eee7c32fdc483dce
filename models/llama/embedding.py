"""Texts become vectors by a GGUF model here."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

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
        from models.llama.model import LlamaModel
        from models.llama.pooled import PooledContext

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
        return checked_vectors(found, str(self._model.path), no_numbers(str(self._model.path)))

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


def checked_vectors(rows: Sequence[Sequence[float]] | Vectors, where: str, otherwise: str) -> Vectors:
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
