"""Small files travel together: one tar for many of them, because each command costs a start of Python on the host."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

SMALL = 1 << 20
"""Files up to this number of bytes travel together."""

_BATCH_BYTES = 1 << 25
"""Bytes of small files that travel at once."""

_BATCH_FILES = 1000
"""Small files that travel at once: each has headers, too."""

FileT = TypeVar("FileT", bound=tuple[object, ...])


def file_batches(files: Sequence[tuple[FileT, int]]) -> Iterator[list[FileT]]:
    """Divide files, each with its size in bytes, into batches that travel in turn."""
    batch: list[FileT] = []
    total = 0
    for file, size in files:
        if batch and (total + size > _BATCH_BYTES or len(batch) == _BATCH_FILES):
            yield batch
            batch, total = [], 0
        batch.append(file)
        total += size
    if batch:
        yield batch
