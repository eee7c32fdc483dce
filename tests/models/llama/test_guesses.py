"""Guesses for the student: legal numbers, and intents that continue as before."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle_list import BundleList
from models.chat import ChatTokenizer
from models.embedded import embedded_student
from models.llama.answer_tokens import AnswerTokens
from models.llama.intent_memory import IntentMemory
from models.llama.model import LlamaModel
from models.llama.strategies.numbers import Numbers
from tests.support.tiny import make_model


@pytest.fixture(scope="module", params=["groups of digits", "embedded"])
def answer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AnswerTokens:
    if request.param == "embedded":
        path: Path = embedded_student()
    else:
        path = make_model(tmp_path_factory.mktemp("models") / "tiny.gguf", request.param)
    model = LlamaModel(path)
    return AnswerTokens(model, ChatTokenizer(model).end)


def text_of(answer: AnswerTokens, tokens: list[int]) -> str:
    return b"".join(map(answer.bytes_of, tokens)).decode()


@given(st.integers(2, 120), st.integers(0, 30), st.data())
def test_every_guess_is_legal(answer: AnswerTokens, products: int, most: int, data: st.DataObject) -> None:
    numbers = Numbers(answer, BundleList(products))
    for _ in range(data.draw(st.integers(0, 12))):
        token = data.draw(st.sampled_from(numbers.legal))
        numbers.take(token)
        if numbers.complete:
            return
    guesses, legal = numbers.guess(most)
    assert len(guesses) <= most
    assert len(legal) == len(guesses) + 1
    assert all(guess in tokens for guess, tokens in zip(guesses, legal, strict=False))
    for guess, tokens in zip(guesses, legal, strict=False):
        # Guessing does not change what is written.
        assert numbers.legal == tokens
        numbers.take(guess)
        assert not numbers.complete
    assert numbers.legal == legal[-1]


def test_products_are_guessed_in_order_and_bundles_by_their_beginnings(answer: AnswerTokens) -> None:
    written = BundleList(4)
    assert text_of(answer, Numbers(answer, written).guess(20)[0]) == "1,2,3,"
    written.finished.append((1, 3))
    assert text_of(answer, Numbers(answer, written).guess(20)[0]) == "2,3,"
    assert text_of(answer, Numbers(answer, written).guess(1)[0]) == "2"


def test_an_intent_is_guessed_after_it_continued_in_the_same_way_twice() -> None:
    memory = IntentMemory()
    memory.learn([1, 2, 3])
    assert memory.guess([], 9) == []
    memory.learn([1, 2, 4])
    assert memory.guess([], 9) == [1, 2]
    assert memory.guess([1], 1) == [2]
    assert memory.guess([5], 9) == []
    memory.learn([7])
    assert memory.guess([], 9) == []


@given(st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=20), st.integers(0, 4))
def test_guesses_of_intents_end(intents: list[list[int]], most: int) -> None:
    memory = IntentMemory()
    for intent in intents:
        memory.learn(intent)
    assert len(memory.guess([], most)) <= most
