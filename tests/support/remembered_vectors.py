"""The shipped sentence encoder for tests: it is opened once, and computes the vectors of each text once."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock

import numpy as np

from models.embedded import ENCODER_DIMENSIONS
from models.llama import embedding
from models.llama.embedding import LocalEmbedder, shipped_embedder
from models.unit_vectors import Vectors

_real_encoder: list[LocalEmbedder] = []
_known: dict[str, Vectors] = {}
_lock = Lock()


class RememberingEmbedder(AbstractContextManager["RememberingEmbedder"]):
    """Returns the vectors that the shipped encoder computed for a text before, or has it compute them."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return an array (texts, dimensions) with rows of length one."""
        with _lock:
            if new := list(dict.fromkeys(text for text in texts if text not in _known)):
                if not _real_encoder:
                    _real_encoder.append(shipped_embedder())
                _known.update(zip(new, _real_encoder[0].embed(new), strict=True))
            return np.array([_known[text] for text in texts], np.float32).reshape(-1, ENCODER_DIMENSIONS)

    def close(self) -> None:
        """Keep the encoder open, for the next test."""

    def __exit__(self, *error: object) -> None:
        self.close()


def save_known(path: Path) -> None:
    """Write the vectors that are known now, for another process."""
    np.savez(path, texts=json.dumps(list(_known)), vectors=np.array(list(_known.values()), np.float32))


def load_known(path: Path) -> None:
    """Read the vectors that another process knew."""
    with np.load(path) as found:
        _known.update(zip(json.loads(str(found["texts"])), found["vectors"], strict=True))


def remembering_embedder() -> RememberingEmbedder:
    """Return what stands in for `shipped_embedder`.

    Raises:
        ModelError: the file of the encoder is missing or damaged.
    """
    embedding.checked_encoder()  # type: ignore[attr-defined]  # Tests replace it there.
    return RememberingEmbedder()
