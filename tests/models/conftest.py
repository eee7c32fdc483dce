"""Fixtures for tests of models."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from models.llama.context import LlamaContext, TokenRun
from models.sft.base import Base, load_base
from tests.support.tiny import make_model
from tests.support.tiny_job import WORDS, line, write_job


@pytest.fixture
def tokens_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the number of tokens of each decoded batch."""
    read: list[int] = []
    decode = LlamaContext.decode

    def counted(self: LlamaContext, pieces: Sequence[TokenRun]) -> object:
        read.append(sum(len(piece.tokens) for piece in pieces))
        return decode(self, pieces)

    monkeypatch.setattr(LlamaContext, "decode", counted)
    return read


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model to train."""
    return make_model(tmp_path_factory.mktemp("base") / "base.gguf")


@pytest.fixture(scope="module")
def loaded(base: Path) -> Base:
    """The tiny model as the trainer loads it."""
    return load_base(str(base))


@pytest.fixture
def job(tmp_path: Path, base: Path) -> Path:
    """The directory of a short training of the tiny model."""
    folder = tmp_path / "job with spaces"
    folder.mkdir()
    chance = random.Random(0)
    for name, count in (("train", 40), ("valid", 8)):
        lines = [line(chance.choices(WORDS, k=chance.randint(2, 4))) for _ in range(count)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    write_job(folder, base=str(base))
    return folder
