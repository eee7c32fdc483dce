"""The shipped sentence encoder: its vectors equal those of the original model."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from models import embedded
from models.errors import ModelError
from models.llama.embedding import LocalEmbedder, shipped_embedder

TITLES = [
    "Two-person tent",
    "Tent pegs, steel, pack of 20",
    "Phone case for iPhone 6",
    "Café crème machine",
    "日本語のタイトル",
]
COSINES = [
    [1.0, 0.4474, -0.0291, -0.0249, 0.0151],
    [0.4474, 1.0, -0.0143, 0.0718, 0.0414],
    [-0.0291, -0.0143, 1.0, -0.0437, -0.0098],
    [-0.0249, 0.0718, -0.0437, 1.0, 0.0834],
    [0.0151, 0.0414, -0.0098, 0.0834, 1.0],
]
"""From all-MiniLM-L6-v2 in transformers, with 32-bit weights."""

ODD = [
    "",
    " \n\t",
    "a\x00b",
    "\x1b[31mred\x07",
    "\ud800 x",
    "w" * 3000,
    "tent " * 2000,
    "[SEP] [CLS] [MASK]",
    "🙂",
    "ة",
]


@pytest.fixture(scope="module")
def encoder() -> LocalEmbedder:
    return shipped_embedder()


def test_cosines_equal_those_of_full_precision(encoder: LocalEmbedder) -> None:
    vectors = encoder.embed(TITLES)
    assert vectors.shape == (len(TITLES), embedded.ENCODER_DIMENSIONS)
    assert np.abs(vectors @ vectors.T - COSINES).max() < 0.015


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_any_text_has_a_vector_of_length_one(encoder: LocalEmbedder, text: str) -> None:
    assert np.linalg.norm(encoder.embed([text])) == pytest.approx(1, abs=1e-5)


def test_texts_have_the_same_vectors_in_several_batches_and_alone(encoder: LocalEmbedder) -> None:
    texts = [f"{title} number {number}" for number in range(20) for title in (*TITLES, "tent " * 200)]
    together = encoder.embed(texts)
    alone = np.concatenate([encoder.embed([text]) for text in texts[:12]])
    assert (together[:12] * alone).sum(axis=1).min() > 0.999


def test_a_control_token_in_a_text_is_plain_text(encoder: LocalEmbedder) -> None:
    plain, marked = encoder.embed(["tent", "tent [SEP]"])
    assert float(plain @ marked) < 0.99


def test_only_the_beginning_of_a_long_text_counts(encoder: LocalEmbedder) -> None:
    one, other, different = encoder.embed(["tent " * 500, "tent " * 500 + "phone case", "phone case " * 500])
    assert float(one @ other) > 0.9999
    assert float(one @ different) < 0.9


def test_the_hash_of_the_encoder_is_right() -> None:
    assert hashlib.sha256(embedded.shipped_encoder().read_bytes()).hexdigest() == embedded.ENCODER_SHA256


def damage(file: Path, data: bytes, how: str) -> None:
    if how == "a bit":
        file.write_bytes(data[:9_000_000] + bytes([data[9_000_000] ^ 1]) + data[9_000_001:])
    elif how == "cut off":
        file.write_bytes(data[:1_000_000])
    elif how == "a folder":
        file.mkdir()


@pytest.mark.parametrize(
    ("how", "message"),
    [("a bit", "is damaged"), ("cut off", "is damaged"), ("gone", "is missing"), ("a folder", "is missing")],
)
def test_an_unusable_file_gives_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, message: str
) -> None:
    damage(tmp_path / "minilm.gguf", embedded.shipped_encoder().read_bytes(), how)
    monkeypatch.setattr("models.embedded.SHIPPED_FOLDER", tmp_path)
    with pytest.raises(ModelError, match=rf"^[^\n]*minilm\.gguf: the sentence encoder {message}; install kdtui again$"):
        shipped_embedder()
