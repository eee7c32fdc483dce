"""Vectors of titles and category names by the shipped encoder: read from the store, or made and stored."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import isfinite
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from kdtui.text import one_line
from models.embedded import ENCODER_DIMENSIONS, ENCODER_SHA256
from models.errors import ModelError
from models.unit_vectors import Vectors, scaled_to_one
from store.text_vectors import kept_text_vectors, save_text_vectors, try_to_save_text_vectors

if TYPE_CHECKING:
    from models.llama.embedding import LocalEmbedder
    from store.sqlite import Database

_REMEMBERED = 20_000
"""Vectors in memory, 32 MB: categories are repeated often."""

_AT_ONCE = 256
"""Texts whose vectors are made and stored together."""

_UNKEPT = 4 * _AT_ONCE
"""Vectors that wait to be stored while another process is writing; older ones are dropped."""

_PAUSE = 1.0
"""Seconds between two writes of fewer than `_AT_ONCE` vectors."""

_STORED = "<f2"


class TextVectors:
    """Gives the vectors of texts. Stored texts are quick: llama.cpp is not imported for them.

    Args:
        db: the store; it belongs to the calling thread.
        dataset: where the vectors are stored; None for texts of no dataset, whose vectors are not stored.
        warn: gets one sentence, once, if the encoder cannot be used.
        wait: whether to wait for other writers rather than store nothing; for callers whose purpose is to fill the
            store.
    """

    def __init__(
        self, db: "Database | None", dataset: str | None, warn: Callable[[str], object], *, wait: bool = False
    ) -> None:
        self._db = db
        self._dataset = dataset
        self._warn = warn
        self._wait = wait
        self._known: dict[bytes, Vectors] = {}
        self._unkept: dict[bytes, bytes] = {}
        self._tried = 0.0
        self._encoder: LocalEmbedder | None = None
        self._error: ModelError | None = None
        self._warned = False

    def __enter__(self) -> "TextVectors":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Store the remaining vectors, if no other process is writing, and free the encoder."""
        self._keep()
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None

    def __call__(self, texts: Sequence[str]) -> Vectors | None:
        """Like `required`; None if a text is not stored and the encoder cannot be used, the first time with a warning.

        Raises:
            Cancelled: the work was cancelled; vectors that were made before are stored.
            NotFound: the dataset no longer exists.
        """
        try:
            return self.required(texts)
        except ModelError as error:
            if not self._warned:
                self._warned = True
                self._warn(f"products are compared without what their titles mean: {error}")
            return None

    def required(self, texts: Sequence[str]) -> Vectors:
        """Return (texts, 384), each of length one.

        Texts that differ only in control characters and blanks have the same vector. A text without words has a
        meaningless vector too. For many sessions, ask for the texts of all at once.

        Raises:
            Cancelled: the work was cancelled; vectors that were made before are stored.
            ModelError: a text is not stored, and the encoder cannot be used.
            NotFound: the dataset no longer exists.
        """
        lines = [one_line(text) for text in texts]
        hashes = [text_hash(line) for line in lines]
        wanted = dict(zip(hashes, lines, strict=True))
        vectors = {hash: self._known[hash] for hash in wanted if hash in self._known}
        if lacking := [hash for hash in wanted if hash not in vectors]:
            vectors.update(self._from_store(lacking))
        if lacking := [hash for hash in wanted if hash not in vectors]:
            vectors.update(self._made(lacking, [wanted[hash] for hash in lacking]))
        self._remember(vectors)
        if not hashes:
            return np.empty((0, ENCODER_DIMENSIONS), np.float32)
        return np.stack([vectors[hash] for hash in hashes])

    def _remember(self, vectors: dict[bytes, Vectors]) -> None:
        self._known.update(vectors)
        for oldest in list(self._known)[: max(0, len(self._known) - _REMEMBERED)]:
            del self._known[oldest]

    def _from_store(self, hashes: list[bytes]) -> dict[bytes, Vectors]:
        if self._db is None or self._dataset is None:
            return {}
        stored = kept_text_vectors(self._db, self._dataset, ENCODER_SHA256, hashes)
        # Damaged vectors are made again.
        size = ENCODER_DIMENSIONS * np.dtype(_STORED).itemsize
        usable = {hash: blob for hash, blob in stored.items() if isinstance(blob, bytes) and len(blob) == size}
        if not usable:
            return {}
        rows = np.frombuffer(b"".join(usable.values()), _STORED).reshape(-1, ENCODER_DIMENSIONS).astype(np.float32)
        with np.errstate(invalid="ignore"):
            # A sum is not finite if one of its terms is not. This is faster than checking each number.
            sums: list[float] = rows.sum(axis=1).tolist()
            known = zip(usable, scaled_to_one(rows), sums, strict=True)
        return {hash: row for hash, row, total in known if isfinite(total)}

    def _made(self, hashes: list[bytes], lines: list[str]) -> dict[bytes, Vectors]:
        vectors: dict[bytes, Vectors] = {}
        for first in range(0, len(hashes), _AT_ONCE):
            # As rounded as stored ones, so that an answer does not depend on whether its vectors were stored.
            stored = self._opened().embed(lines[first : first + _AT_ONCE]).astype(_STORED)
            part = hashes[first : first + _AT_ONCE]
            vectors.update(zip(part, scaled_to_one(stored.astype(np.float32)), strict=True))
            if self._dataset is not None:
                self._unkept.update((hash, row.tobytes()) for hash, row in zip(part, stored, strict=True))
                if self._wait or len(self._unkept) >= _AT_ONCE or monotonic() - self._tried >= _PAUSE:
                    self._keep()
        return vectors

    def _opened(self) -> "LocalEmbedder":
        if self._error is not None:
            raise self._error
        if self._encoder is None:
            # Imported here: llama.cpp takes a third of a second.
            from models.llama.embedding import shipped_embedder

            try:
                self._encoder = shipped_embedder()
            except ModelError as error:
                # Do not try to load it again for each session.
                self._error = error
                raise
        return self._encoder

    def _keep(self) -> None:
        if self._db is None or self._dataset is None or not self._unkept:
            return
        self._tried = monotonic()
        if self._wait:
            save_text_vectors(self._db, self._dataset, ENCODER_SHA256, self._unkept)
        elif not try_to_save_text_vectors(self._db, self._dataset, ENCODER_SHA256, self._unkept):
            for oldest in list(self._unkept)[: max(0, len(self._unkept) - _UNKEPT)]:
                del self._unkept[oldest]
            return
        self._unkept.clear()


def text_hash(line: str) -> bytes:
    """Return the key of a text of one line in the store, 16 bytes."""
    return blake2b(line.encode("utf-8", "surrogatepass"), digest_size=16).digest()
