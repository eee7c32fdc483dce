"""LoRA adapters: any number of them, switched between groups of sessions, and scaled."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from models.llama.context import LlamaContext
from models.llama.student import Student
from models.messages import Message
from models.student_protocol import Adapter, Answered, Refused, SessionTask
from tests.support.tiny import WIDTH, make_adapter, make_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def student(folder: Path) -> Iterator[Student]:
    with Student(make_model(folder / "base.gguf")) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def adapters(folder: Path) -> list[Path]:
    return [make_adapter(folder / f"{seed}.gguf", seed=seed) for seed in (1, 2)]


def task(key: object, *adapters: Adapter) -> SessionTask:
    products = "\n".join(f"{number}. camp" for number in range(1, 9))
    return SessionTask(key, 8, lambda *_: [Message("system", "Bundle."), Message("user", products)], adapters)


def answers(student: Student, tasks: Sequence[SessionTask]) -> dict[object, tuple[tuple[int, ...], float]]:
    """Return the first bundle of each answer: sums in another order can change a choice in later ones."""
    return {
        event.key: (event.bundles[0].positions, round(event.bundles[0].confidence, 2))
        for event in student.answer(tasks)
        if isinstance(event, Answered)
    }


def test_each_group_of_sessions_uses_its_adapters(student: Student, adapters: list[Path]) -> None:
    kinds = [(), (Adapter(adapters[0]),), (Adapter(adapters[1]),), (Adapter(adapters[0]), Adapter(adapters[1]))]
    tasks = [task((kind, place), *used) for place in range(3) for kind, used in enumerate(kinds)]
    together = answers(student, tasks)
    assert len(together) == len(tasks)
    alone = [answers(student, [task("alone", *used)])["alone"] for used in kinds]
    for kind in range(len(kinds)):
        assert [together[kind, place] for place in range(3)] == [alone[kind]] * 3
    assert len(set(alone)) == len(kinds), "every adapter says something else"


def test_the_cache_is_emptied_only_when_the_adapters_change(
    student: Student, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    switches: list[int] = []
    use = LlamaContext.use_adapters

    def counted(self: LlamaContext, wanted: Sequence[Adapter]) -> None:
        switches.append(len(wanted))
        use(self, wanted)

    answers(student, [task("before")])
    monkeypatch.setattr(LlamaContext, "use_adapters", counted)
    answers(student, [task(place, *[Adapter(adapters[0])] * (place % 2)) for place in range(10)])
    assert switches == [1]


def test_a_scale_of_zero_equals_the_base(student: Student, adapters: list[Path]) -> None:
    found = answers(student, [task("base"), task("off", Adapter(adapters[0], 0.0)), task("on", Adapter(adapters[0]))])
    assert found["off"] == found["base"] != found["on"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: make_adapter(folder / "wide.gguf", width=2 * WIDTH), "no adapter for base.gguf"),
        (lambda folder: make_model(folder / "whole.gguf"), "no adapter for base.gguf"),
        (lambda folder: folder / "none.gguf", "No such file"),
        (lambda folder: _text(folder / "text.gguf"), "not a GGUF file"),
        (lambda folder: _truncated(folder), "no adapter for base.gguf"),
    ],
    ids=["of another base", "a whole model", "missing", "no GGUF", "truncated"],
)
def test_an_adapter_that_does_not_fit_refuses_only_its_session(
    student: Student, folder: Path, make: object, reason: str
) -> None:
    assert callable(make)
    events = list(student.answer([task("bad", Adapter(make(folder))), replace(task("good"))]))
    [refused] = [event for event in events if isinstance(event, Refused)]
    assert refused.key == "bad"
    assert reason in refused.reason
    assert "\n" not in refused.reason
    assert [event.key for event in events if isinstance(event, Answered)] == ["good"]


def _text(path: Path) -> Path:
    path.write_text("nothing")
    return path


def _truncated(folder: Path) -> Path:
    path = make_adapter(folder / "cut.gguf")
    path.write_bytes(path.read_bytes()[:-500])
    return path
