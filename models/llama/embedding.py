"""Embeddings of texts by a GGUF model in this process."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from models.embedded import ENCODER_TOKENS, checked_encoder
from models.errors import ModelError, not_finite
from models.files.gguf_magic import check_magic
from models.unit_vectors import Vectors, scaled_to_one
from models.vocabulary import Token

_MAX_TOKENS = 512
"""Tokens of a text that count; common embedding models were trained on that number."""

_BATCH = 256
"""Tokens that are computed together. In larger batches, texts attend to each other without use."""

_LETTERS_PER_TOKEN = 32
"""Letters of a text that are read for each token that counts."""


class Embedder(Protocol):
    """Makes a vector of each text."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return an array (texts, dimensions) with rows of length one.

        Raises:
            ModelError: the model computes no vectors, or NaN.
        """


class LocalEmbedder(AbstractContextManager["LocalEmbedder"]):
    """A GGUF model. A model that was not made for embeddings gives the mean of its last hidden states.

    Args:
        tokens: number of first tokens of a text that count.
        trusted: as for `LlamaModel`.

    Raises:
        ModelError: the file is missing, is no GGUF file, or cannot be loaded.
    """

    def __init__(self, path: Path, *, tokens: int = _MAX_TOKENS, trusted: bool = False) -> None:
        # Imported here: llama.cpp takes a third of a second.
        from models.llama.first_load import load_elsewhere_first
        from models.llama.model import LlamaModel
        from models.llama.pooled import PooledContext

        self._tokens = tokens
        check_magic(path, "a model")
        if not trusted:
            load_elsewhere_first(path, "vectors")
        self._model = LlamaModel(path, trusted=True)
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
        """Free the model."""
        self._context.close()
        self._model.close()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts as `Embedder` says; what a text has after its first tokens does not count."""
        if not texts:
            return np.empty((0, self._context.width), np.float32)
        vectors = self._context.vectors([self._tokens_of(text) for text in texts])
        return checked_vectors(vectors, str(self._model.path), not_finite(str(self._model.path)))

    def _tokens_of(self, text: str) -> list[Token]:
        # A token has at least one letter, and no relevant token has this many: a novel is not read to its end.
        tokens = self._model.tokenize(text[: self._tokens * _LETTERS_PER_TOKEN] or " ", start=True)
        if len(tokens) <= self._tokens:
            return tokens
        # A token that closes every text, such as [SEP], also closes a shortened one.
        closing = tokens[-1:] if self._model.is_control(tokens[-1]) else []
        return tokens[: self._tokens - len(closing)] + closing


def shipped_embedder() -> LocalEmbedder:
    """Load the sentence encoder that is shipped with the program.

    Raises:
        ModelError: its file is missing or damaged.
    """
    return LocalEmbedder(checked_encoder(), tokens=ENCODER_TOKENS)


def checked_vectors(rows: Sequence[Sequence[float]] | Vectors, where: str, otherwise: str) -> Vectors:
    """Check the vectors that a model computed, and scale them to length one.

    Args:
        otherwise: the message for values that are not finite.

    Raises:
        ModelError: these are not vectors of one length, or not finite.
    """
    try:
        # A number that 32 bits cannot hold becomes infinite, which is checked below.
        with np.errstate(over="ignore"):
            vectors = np.array(rows, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{where} returns something other than vectors of equal length") from error
    if vectors.ndim != 2 or not vectors.size:
        raise ModelError(f"{where} returns something other than vectors of equal length")
    if not np.isfinite(vectors).all():
        raise ModelError(otherwise)
    return scaled_to_one(vectors)
