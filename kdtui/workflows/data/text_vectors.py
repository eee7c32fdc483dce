"""Vectors of titles and category names by the shipped encoder: found in the store, or made and kept there."""

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
"""Vectors that are held in memory, 32 MB: categories come again and again."""

_AT_ONCE = 256
"""Texts whose vectors are made, and kept, together."""

_UNKEPT = 4 * _AT_ONCE
"""Vectors that wait to be kept, while others are writing; older ones are given up."""

_PAUSE = 1.0
"""Seconds between two writes of fewer than that."""

_STORED = "<f2"


class TextVectors:
    """Gives the vectors of texts. It is quick for texts that are kept: nothing of llama.cpp is imported for them.

    Args:
        db: the store; it belongs to the thread that calls.
        dataset: where the vectors are kept; None for texts of no dataset, whose vectors are not kept.
        warn: gets one sentence, once, if the encoder cannot be used.
        wait: whether to wait for other writers instead of keeping nothing; for who has come to fill the store.
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
        """Keep what is not kept yet, if nobody has to wait for it, and free the encoder."""
        self._keep()
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None

    def __call__(self, texts: Sequence[str]) -> Vectors | None:
        """As `required`; None where a text is not kept and the encoder cannot be used, the first time with a warning.

        Raises:
            Cancelled: the cancellation that is in force was cancelled; what was made before is kept.
            NotFound: there is no such dataset any more.
        """
        try:
            return self.required(texts)
        except ModelError as error:
            if not self._warned:
                self._warned = True
                self._warn(f"products are compared without what their titles mean: {error}")
            return None

    def required(self, texts: Sequence[str]) -> Vectors:
        """(texts, 384), each of length one.

        Texts that differ in control characters and blanks alone have the same vector; one without any word has a vector
        too, which says nothing. For many sessions, ask for the texts of all at once.

        Raises:
            Cancelled: the cancellation that is in force was cancelled; what was made before is kept.
            ModelError: a text is not kept, and the encoder cannot be used.
            NotFound: there is no such dataset any more.
        """
        lines = [one_line(text) for text in texts]
        hashes = [text_hash(line) for line in lines]
        wanted = dict(zip(hashes, lines, strict=True))
        found = {hash: self._known[hash] for hash in wanted if hash in self._known}
        if lacking := [hash for hash in wanted if hash not in found]:
            found.update(self._from_store(lacking))
        if lacking := [hash for hash in wanted if hash not in found]:
            found.update(self._made(lacking, [wanted[hash] for hash in lacking]))
        self._remember(found)
        if not hashes:
            return np.empty((0, ENCODER_DIMENSIONS), np.float32)
        return np.stack([found[hash] for hash in hashes])

    def _remember(self, found: dict[bytes, Vectors]) -> None:
        self._known.update(found)
        for oldest in list(self._known)[: max(0, len(self._known) - _REMEMBERED)]:
            del self._known[oldest]

    def _from_store(self, hashes: list[bytes]) -> dict[bytes, Vectors]:
        if self._db is None or self._dataset is None:
            return {}
        stored = kept_text_vectors(self._db, self._dataset, ENCODER_SHA256, hashes)
        # What is damaged is made again.
        size = ENCODER_DIMENSIONS * np.dtype(_STORED).itemsize
        usable = {hash: blob for hash, blob in stored.items() if isinstance(blob, bytes) and len(blob) == size}
        if not usable:
            return {}
        rows = np.frombuffer(b"".join(usable.values()), _STORED).reshape(-1, ENCODER_DIMENSIONS).astype(np.float32)
        with np.errstate(invalid="ignore"):
            # A sum is no number where one of its terms is none, and takes less time than to look at each.
            sums: list[float] = rows.sum(axis=1).tolist()
            known = zip(usable, scaled_to_one(rows), sums, strict=True)
        return {hash: row for hash, row, total in known if isfinite(total)}

    def _made(self, hashes: list[bytes], lines: list[str]) -> dict[bytes, Vectors]:
        found: dict[bytes, Vectors] = {}
        for first in range(0, len(hashes), _AT_ONCE):
            # As they are read again: an answer does not depend on whether its vectors were kept.
            stored = self._opened().embed(lines[first : first + _AT_ONCE]).astype(_STORED)
            part = hashes[first : first + _AT_ONCE]
            found.update(zip(part, scaled_to_one(stored.astype(np.float32)), strict=True))
            if self._dataset is not None:
                self._unkept.update((hash, row.tobytes()) for hash, row in zip(part, stored, strict=True))
                if self._wait or len(self._unkept) >= _AT_ONCE or monotonic() - self._tried >= _PAUSE:
                    self._keep()
        return found

    def _opened(self) -> "LocalEmbedder":
        if self._error is not None:
            raise self._error
        if self._encoder is None:
            # Imported here: llama.cpp takes a third of a second.
            from models.llama.embedding import shipped_embedder

            try:
                self._encoder = shipped_embedder()
            except ModelError as error:
                # It is not read again for each session.
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
    """What a text of one line is kept under, 16 bytes."""
    return blake2b(line.encode("utf-8", "surrogatepass"), digest_size=16).digest()
