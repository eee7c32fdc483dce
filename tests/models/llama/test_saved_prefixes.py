"""The common beginning of prompts is read by one process, and loaded by the next."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from models.llama.student import Student
from models.messages import Message
from models.student_protocol import Adapter, Answered, SessionTask
from tests.support.tiny import make_adapter, make_model

INSTRUCTIONS = "Rules that hold for all sessions. " * 10

Ask = Callable[..., tuple[int, list[tuple[int, ...]]]]


@pytest.fixture
def ask(tmp_path: Path, tokens_read: list[int]) -> Ask:
    """Ask a new student, which has only the cache on disk; return the tokens that it read, and the bundles."""

    def run(model: Path, *adapters: Adapter, instructions: str = INSTRUCTIONS) -> tuple[int, list[tuple[int, ...]]]:
        messages = [Message("system", instructions), Message("user", "1. camp\n2. kit\n3. phone")]
        tokens_read.clear()
        with Student(model, cache=tmp_path / "cache") as student:
            [answer] = [
                event
                for event in student.answer([SessionTask("s", 3, lambda *_: messages, adapters)])
                if isinstance(event, Answered)
            ]
        return sum(tokens_read), [bundle.positions for bundle in answer.bundles]

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model.gguf")


def states(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("*"))


def test_the_second_process_reads_only_the_session(ask: Ask, model: Path) -> None:
    first, bundles = ask(model)
    second, again = ask(model)
    assert first - second > len(INSTRUCTIONS) / 2
    assert again == bundles


def test_another_text_model_or_adapter_is_read_again(ask: Ask, model: Path, tmp_path: Path) -> None:
    first, _ = ask(model)
    adapter = Adapter(make_adapter(tmp_path / "adapter.gguf"))
    assert ask(model, adapter)[0] > first / 2
    assert ask(model, Adapter(adapter.path, 0.5))[0] > first / 2
    assert ask(model, instructions=INSTRUCTIONS.upper())[0] > first / 2
    make_model(model, seed=5)
    assert ask(model)[0] > first / 2


def test_a_damaged_state_is_computed_again_and_replaced(ask: Ask, model: Path, tmp_path: Path) -> None:
    first, bundles = ask(model)
    [path] = states(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    assert ask(model) == (first, bundles)
    assert ask(model)[0] < first


def test_an_unwritable_cache_is_ignored(ask: Ask, model: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert ask(model) == ask(model)


def test_no_partial_file_stays(ask: Ask, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(model)
    assert [path.suffix for path in states(tmp_path)] == [".state"]
    before = states(tmp_path)
    monkeypatch.setattr("models.llama.saved_prefixes._MOST_BYTES", 1)
    os.utime(before[0], (0, 0))
    ask(model, instructions=INSTRUCTIONS.lower())
    assert before[0] not in states(tmp_path), "the oldest make way"
