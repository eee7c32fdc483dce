"""Computations of llama.cpp can be cancelled, and nothing is freed while a thread uses it."""

import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from models.embedded import embedded_student
from models.errors import Cancelled
from models.llama.bindings import llama_cpp
from models.llama.cancellation import Cancellation, call, call_briefly
from models.llama.context import LlamaContext, TokenRun
from models.llama.embedding import LocalEmbedder
from models.llama.model import LlamaModel
from models.llama.student import Student
from tests.support.student_answers import answer, answers

TOKENS = 128


@pytest.fixture
def context() -> Iterator[LlamaContext]:
    """A context whose batches are large enough to take a while."""
    model = LlamaModel(embedded_student())
    context = LlamaContext(model, cells=TOKENS, batch=TOKENS, threads=1, flash=False)
    yield context
    context.close()
    model.close()


def read(context: LlamaContext) -> None:
    context.decode([TokenRun(0, 0, range(100, 100 + TOKENS), 1)])


def tokens_kept(context: LlamaContext) -> int:
    return int(llama_cpp.llama_memory_seq_pos_max(llama_cpp.llama_get_memory(context.handle), 0)) + 1


def interrupted_in(function: str, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGINT) -> None:
    """Interrupt this thread once, when it is in a function of llama.cpp."""
    really, is_in = getattr(llama_cpp, function), threading.Event()

    def entered(*arguments: Any) -> Any:
        is_in.set()
        return really(*arguments)

    def interrupt() -> None:
        is_in.wait()
        os.kill(os.getpid(), number)

    monkeypatch.setattr(llama_cpp, function, entered)
    threading.Thread(target=interrupt).start()


def test_a_cancelled_batch_stops_early(context: LlamaContext) -> None:
    unwanted = Cancellation()
    unwanted.cancel()
    with unwanted.in_force(), pytest.raises(Cancelled):
        read(context)
    assert tokens_kept(context) == 0
    read(context)
    assert tokens_kept(context) == TOKENS


def test_a_batch_is_cancelled_from_another_thread(context: LlamaContext, monkeypatch: pytest.MonkeyPatch) -> None:
    wish, problems = Cancellation(), []
    monkeypatch.setattr(llama_cpp, "llama_decode", cancelling(wish, llama_cpp.llama_decode))

    def work() -> None:
        with wish.in_force(), suppress(Cancelled):
            read(context)
            problems.append("it was read to the end")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not problems
    assert tokens_kept(context) == 0


def cancelling(wish: Cancellation, function: Any) -> Any:
    """Wrap a function so that another thread cancels it."""

    def called(*arguments: Any) -> Any:
        threading.Thread(target=wish.cancel).start()
        return function(*arguments)

    return called


def test_an_interrupt_cancels_a_batch(context: LlamaContext, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_in("llama_decode", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        read(context)
    assert tokens_kept(context) == 0
    read(context)
    assert tokens_kept(context) == TOKENS


def test_other_signals_that_python_handles_cancel_a_batch_too(
    context: LlamaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(*_: object) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        interrupted_in("llama_decode", monkeypatch, signal.SIGTERM)
        with pytest.raises(SystemExit):
            read(context)
        assert signal.getsignal(signal.SIGTERM) is leave
    finally:
        signal.signal(signal.SIGTERM, before)
    assert tokens_kept(context) == 0


def test_an_interrupt_is_raised_after_the_call_has_ended() -> None:
    ended = threading.Event()
    wish = Cancellation()

    def compute() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while not wish.is_cancelled:
            pass
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        call(wish, compute)
    assert ended.is_set()


def test_an_interrupt_cancels_the_loading_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_in("llama_model_load_from_file", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        load_again_and_again()


def load_again_and_again() -> None:
    """Load models until the interrupt arrives: the first can be loaded before it."""
    while True:
        LlamaModel(embedded_student()).close()


def test_a_cancelled_model_is_not_loaded() -> None:
    unwanted = Cancellation()
    unwanted.cancel()
    with unwanted.in_force(), pytest.raises(Cancelled):
        LlamaModel(embedded_student())


def test_an_interrupt_cancels_the_making_of_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalEmbedder(embedded_student()) as embedder:
        interrupted_in("llama_decode", monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            embedder.embed(["a tent with pegs " * 40])
        assert embedder.embed(["a tent"]).shape == (1, 576)


def test_a_stopped_student_answers_the_next_session_correctly(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = ["Two-person tent", "Tent pegs", "Phone case"]
    with Student(embedded_student(), context=1024, threads=1) as student:
        expected = answer(student, titles)
        wish = Cancellation()
        monkeypatch.setattr(llama_cpp, "llama_decode", cancelling(wish, llama_cpp.llama_decode))
        with wish.in_force(), pytest.raises(Cancelled):
            answers(student, [[f"{title} {number}" for title in titles * 3] for number in range(3)])
        assert answer(student, titles) == expected


def test_an_interrupt_in_a_callback_of_llama_cpp_is_not_lost() -> None:
    # As when it writes to its log. Python ignores what is raised in a callback of C.
    logs = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        call_briefly(logs)
