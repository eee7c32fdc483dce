"""Legal tokens of a vocabulary: only likely tokens are checked."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.embedded import embedded_student
from models.llama.answer_tokens import AnswerTokens
from models.llama.legal_tokens import LegalTokens
from models.llama.model import LlamaModel
from models.llama.student import Student
from models.messages import Message
from models.student_protocol import Answered, SessionTask

SIZE = 5000


def row_of(seed: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=SIZE).astype(np.float32)


def test_an_answer_does_not_read_the_whole_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    piece = LlamaModel.piece

    def counted(self: LlamaModel, token: int) -> bytes:
        read.append(token)
        return piece(self, token)

    monkeypatch.setattr(LlamaModel, "piece", counted)
    messages = [Message("user", "Write the bundles.\n1. Two-person tent\n2. Tent pegs\n3. Phone case")]
    with Student(embedded_student()) as student:
        events = list(student.answer([SessionTask("s", 3, lambda *_: messages)]))
        size = student.model.vocab_size
    [answer] = [event for event in events if isinstance(event, Answered)]
    assert answer.bundles
    assert all(bundle.intent for bundle in answer.bundles)
    assert len(read) < size / 10


@given(st.sets(st.integers(0, SIZE - 1), min_size=1), st.lists(st.integers(0, 99), min_size=1, max_size=5))
def test_the_likeliest_legal_token_is_found_after_any_number_of_illegal_ones(legal: set[int], seeds: list[int]) -> None:
    tokens = LegalTokens(SIZE, legal.__contains__)
    for seed in seeds:
        row = row_of(seed)
        assert tokens.likeliest(row) == max(legal, key=lambda token: float(row[token]))


def test_no_token_is_checked_twice() -> None:
    looked_at: list[int] = []

    def is_even(token: int) -> bool:
        looked_at.append(token)
        return token % 2 == 0

    tokens = LegalTokens(SIZE, is_even)
    for seed in range(50):
        assert tokens.likeliest(row_of(seed)) % 2 == 0
    assert len(looked_at) == len(set(looked_at)) < SIZE / 2


def test_a_row_without_legal_tokens_or_finite_logits_returns() -> None:
    assert LegalTokens(SIZE, lambda _: False).likeliest(row_of(0)) in range(SIZE)
    assert LegalTokens(SIZE, lambda _: False).likeliest(np.full(SIZE, np.nan, np.float32)) in range(SIZE)


@pytest.mark.parametrize(
    ("illegal", "legal"), [(" <", " tent"), ("$", " tent"), (" 4", " tent"), ("\n", " tent"), (".", "Camping")]
)
def test_an_intent_begins_with_a_word(illegal: str, legal: str) -> None:
    model = LlamaModel(embedded_student(), vocabulary_only=True)
    answer = AnswerTokens(model, model.end_of_turn())
    row = np.zeros(model.vocab_size, np.float32)
    row[answer.spell(illegal)[0]] = 2
    row[answer.spell(legal)[0]] = 1
    assert answer.intent_start.likeliest(row) == answer.spell(legal)[0]
    model.close()
