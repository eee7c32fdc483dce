"""The vectors of GGUF files equal those of the package gguf, without reading the vocabulary."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from gguf import GGUFReader

from models.embedded import embedded_student
from models.errors import ModelError
from models.files.gguf_vectors import check_layout, gguf_sizes, gguf_vectors
from tests.support.tiny import Vocabulary, make_model

LIST = b"\x09\0\0\0"
"""The type of a value."""


def check(path: Path) -> None:
    expected = {
        tensor.name: tensor.data
        for tensor in GGUFReader(path).tensors
        if len(tensor.shape) == 1 and tensor.data.dtype == np.float32
    }
    found = dict(gguf_vectors(path))
    assert found.keys() == expected.keys()
    assert found
    for name, values in found.items():
        assert values.dtype == np.float32
        assert np.array_equal(values, expected[name])


@pytest.mark.parametrize("vocabulary", get_args(Vocabulary))
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_vectors_equal_those_of_gguf(tmp_path: Path, vocabulary: Vocabulary, architecture: str) -> None:
    check(make_model(tmp_path / "tiny.gguf", vocabulary, architecture=architecture))


@pytest.mark.slow
def test_vectors_of_the_embedded_student_equal_those_of_gguf() -> None:
    check(embedded_student())


def test_a_truncated_header_gives_one_sentence(tmp_path: Path) -> None:
    content = make_model(tmp_path / "whole.gguf").read_bytes()
    header = content.index(b"token_embd.weight")
    path = tmp_path / "cut.gguf"
    for size in range(0, header, 97):
        path.write_bytes(content[:size])
        with pytest.raises(ModelError, match=r"cut\.gguf: its weights cannot be read"):
            list(gguf_vectors(path))


@pytest.mark.parametrize(
    "spoiled",
    [
        b"",
        b"GGML" + bytes(40),
        b"GGUF\x09" + bytes(40),
        b"GGUF\x03\0\0\0" + b"\xff" * 60,
        b"GGUF\x03\0\0\0\x01" + bytes(23) + b"\xff" * 60,
        b"GGUF\x03"
        + bytes(11)
        + b"\x01"
        + bytes(7)
        + b"\x01"
        + bytes(7)
        + b"k"
        + LIST
        + (LIST + b"\x01" + bytes(7)) * 9999,
    ],
    ids=["nothing", "another kind", "another version", "too many values", "too many dimensions", "lists in lists"],
)
def test_a_malformed_file_gives_one_sentence(tmp_path: Path, spoiled: bytes) -> None:
    path = tmp_path / "none.gguf"
    path.write_bytes(spoiled)
    with pytest.raises(ModelError, match=r"none\.gguf: its weights cannot be read"):
        list(gguf_vectors(path))


HEADER = b"GGUF\x03\0\0\0" + bytes(8) + b"\x01" + bytes(7)
"""The header of a file without tensors, with one value."""


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (HEADER + b"\x01" + bytes(7) + b"k" + LIST + bytes(4) + b"\xff" * 7 + b"\0", "it ends before"),
        (HEADER + b"\x11" + bytes(7) + b"general.alignment" + b"\x04\0\0\0" + bytes(4), "aligned to 0 bytes"),
        (
            HEADER + b"\x01" + bytes(7) + b"k" + LIST + bytes(4) + b"\0\0\x20" + bytes(5) + bytes(2**21),
            "is it a whole model",
        ),
    ],
    ids=["a list of 2^55 values", "no alignment", "a long list"],
)
def test_a_header_with_huge_counts_gives_one_sentence(tmp_path: Path, header: bytes, reason: str) -> None:
    path = tmp_path / "adapter.gguf"
    path.write_bytes(header)
    with pytest.raises(ModelError, match=rf"adapter\.gguf: this adapter cannot be read \(.*{reason}"):
        check_layout(path, "adapter")


def test_tensor_sizes_equal_those_of_gguf(tmp_path: Path) -> None:
    path = make_model(tmp_path / "tiny.gguf")
    expected = {tensor.name: tuple(map(int, tensor.shape)) for tensor in GGUFReader(path).tensors}
    assert gguf_sizes(path) == expected


def test_a_missing_file_gives_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        list(gguf_vectors(tmp_path / "none.gguf"))
