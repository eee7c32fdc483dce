"""The layout of a GGUF file, and its vectors.

The package gguf reads these too. But it first reads the whole vocabulary, which takes seconds, and it trusts whatever
counts a file claims: a list of 2^60 values keeps it busy until the memory is full.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import ModelError

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value of each type, except texts and lists."""

_UINT32, _TEXT, _LIST = 4, 8, 9

_FLOAT32 = 0
"""The type of tensors with 32 bits per number."""

_VERSIONS = (2, 3)

_MAX_DIMENSIONS = 4

_LONGEST_HEADER = 2**20
"""Bytes of the header of an adapter: the package gguf uses 200 bytes for each value of a list."""

_ENDS_EARLY = "it ends before what its header says"

_DAMAGED = (OSError, ValueError, KeyError, OverflowError, RecursionError, struct.error)
"""What reading a damaged file raises."""


def gguf_vectors(path: Path) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield names and values of the tensors with one dimension and 32 bits per number.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield from _vectors(data)
    except _DAMAGED as error:
        raise ModelError(f"{path}: its weights cannot be read ({error})") from error


def gguf_sizes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the dimensions of each tensor in the order of GGUF, the last one first: (inputs, outputs).

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return {name.decode("utf-8"): shape for name, shape, *_ in _layout(data).tensors}
    except _DAMAGED as error:
        raise ModelError(f"{path}: its weights cannot be read ({error})") from error


def check_layout(path: Path, what: str) -> None:
    """Refuse a file that claims to hold more than it does, before the package gguf reads it.

    Args:
        what: what the file is, without an article: something with a short header, such as an adapter.

    Raises:
        ModelError: the file is damaged, or its header is too long.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if _layout(data).header > _LONGEST_HEADER:
                raise ValueError(f"its header is longer than {_LONGEST_HEADER:,} bytes; is it a whole model?")
    except _DAMAGED as error:
        raise ModelError(f"{path}: this {what} cannot be read ({error})") from error


def gguf_layout(path: Path, what: str) -> "GgufLayout":
    """Return the layout of a file that holds what its header claims.

    llama.cpp reserves memory for whatever a header claims.

    Args:
        what: what the file is, without an article.

    Raises:
        ModelError: the file is damaged.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _layout(data)
    except _DAMAGED as error:
        raise ModelError(f"{path}: this {what} cannot be read ({error})") from error


@dataclass(frozen=True, slots=True)
class GgufLayout:
    """What the header of a GGUF file says.

    Attributes:
        tensors: name, dimensions, type, and first byte of each.
        header: its size.
        size: of the file.
        kinds: the types of the values, by their keys.
    """

    tensors: list[tuple[bytes, tuple[int, ...], int, int]]
    header: int
    size: int
    kinds: dict[bytes, int]


def _vectors(data: mmap.mmap) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    for name, shape, kind, start in _layout(data).tensors:
        if len(shape) == 1 and kind == _FLOAT32:
            # A copy, because the file is closed after the last one.
            yield name.decode("utf-8"), np.frombuffer(data, "<f4", shape[0], start).copy()


def _layout(data: mmap.mmap) -> GgufLayout:
    try:
        return _read_layout(data)
    except struct.error as error:
        # A file that was not fetched whole.
        raise ValueError(_ENDS_EARLY) from error


def _read_layout(data: mmap.mmap) -> GgufLayout:
    if data[:4] != b"GGUF":
        raise ValueError("this is not a GGUF file")
    version, tensors, values = struct.unpack_from("<IQQ", data, 4)
    if version not in _VERSIONS:
        raise ValueError(f"of version {version}")
    at, alignment = 24, 32
    kinds = {}
    for _ in range(values):
        key, at = _text(data, at)
        (kinds[key],) = (kind,) = struct.unpack_from("<I", data, at)
        if key == b"general.alignment" and kind == _UINT32:
            (alignment,) = struct.unpack_from("<I", data, at + 4)
        at = _end(data, at + 4, kind)
    layouts = []
    for _ in range(tensors):
        name, at = _text(data, at)
        (dimensions,) = struct.unpack_from("<I", data, at)
        if dimensions > _MAX_DIMENSIONS:
            raise ValueError(f"a tensor has {dimensions:,} dimensions")
        *shape, kind, offset = struct.unpack_from(f"<{dimensions}QIQ", data, at + 4)
        at += 4 + 8 * dimensions + 12
        layouts.append((name, tuple(shape), kind, offset))
    if not alignment:
        raise ValueError("its tensors are aligned to 0 bytes")
    start = -(-at // alignment) * alignment
    if at > len(data) or any(start + offset > len(data) for *_, offset in layouts):
        raise ValueError(_ENDS_EARLY)
    placed = [(name, shape, kind, start + offset) for name, shape, kind, offset in layouts]
    return GgufLayout(placed, at, len(data), kinds)


def _text(data: mmap.mmap, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    return data[at + 8 : at + 8 + length], at + 8 + length


def _end(data: mmap.mmap, at: int, kind: int) -> int:
    """Return where a value ends."""
    if kind == _TEXT:
        (length,) = struct.unpack_from("<Q", data, at)
        return at + 8 + int(length)
    if kind != _LIST:
        return at + _SIZES[kind]
    kind, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if kind in _SIZES:
        return at + _SIZES[kind] * int(count)
    for _ in range(count):
        at = _end(data, at, kind)
    return at
