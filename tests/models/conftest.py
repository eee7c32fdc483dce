"""What tests of models share."""

from collections.abc import Sequence

import pytest

from models.context import LlamaContext, Piece


@pytest.fixture
def tokens_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of tokens of each batch that is decoded."""
    read: list[int] = []
    decode = LlamaContext.decode

    def counted(self: LlamaContext, pieces: Sequence[Piece]) -> object:
        read.append(sum(len(piece.tokens) for piece in pieces))
        return decode(self, pieces)

    monkeypatch.setattr(LlamaContext, "decode", counted)
    return read
