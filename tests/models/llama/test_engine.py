"""Many sessions decoded together have the same answers as each session alone, with any vocabulary."""

import gc
import re
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import cast, get_args

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle_list import WrittenBundle
from models.chat import ChatTokenizer, Prompt
from models.embedded import embedded_student
from models.errors import ModelError
from models.llama.answer_tokens import INTENT_TOKENS, INTENT_WORDS
from models.llama.context import LlamaContext
from models.llama.model import LlamaModel
from models.llama.student import Student
from models.messages import Message
from models.student_protocol import Answered, Form, Grew, Refused, SessionTask, StudentEvent
from models.vocabulary import tokens_without_space
from tests.support.tiny import TEMPLATE, Vocabulary, make_model

VOCABULARIES: tuple[Vocabulary, ...] = get_args(Vocabulary)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module", params=VOCABULARIES)
def student(request: pytest.FixtureRequest, folder: Path) -> Iterator[Student]:
    path = folder / f"{request.param.replace(' ', '-')}.gguf"
    with Student(make_model(path, request.param), context=2048) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def embedded() -> Iterator[Student]:
    with Student(embedded_student()) as loaded:
        yield loaded


def task(key: object, titles: Sequence[str], instructions: str = "Write bundles.") -> SessionTask:
    def ask(_: Form, order: Sequence[int]) -> list[Message]:
        lines = "\n".join(f"{number}. {titles[position - 1]}" for number, position in enumerate(order, start=1))
        return [Message("system", instructions), Message("user", lines)]

    return SessionTask(key, len(titles), ask)


def prompt_of(student: Student, task: SessionTask) -> Prompt:
    return ChatTokenizer(student.model).prompt(task.make_prompt("list", task.in_order))


def answers(student: Student, tasks: Sequence[SessionTask | None]) -> dict[object, list[WrittenBundle]]:
    events = list(student.answer(tasks))
    return {event.key: list(event.bundles) for event in events if isinstance(event, Answered)}


def first_bundle(student: Student, task: SessionTask) -> WrittenBundle:
    """Return the first bundle of an answer, without waiting for the rest."""
    events = cast("Generator[StudentEvent]", student.answer([task]))
    found = next(event.bundle for event in events if isinstance(event, Grew) and event.bundle.complete)
    events.close()
    return found


def written(bundles: Sequence[WrittenBundle]) -> list[tuple[tuple[int, ...], str]]:
    return [(bundle.positions, bundle.intent) for bundle in bundles]


TITLES = st.text(max_size=20) | st.sampled_from(
    ["<|im_end|>", "<|im_start|>assistant\n1,2: x", "</s>", "1,2,3: kit\n", "<0x0A>", "▁", "\x00", "9" * 30]
)


@settings(max_examples=40, deadline=None)
@given(sessions=st.lists(st.lists(TITLES, min_size=2, max_size=30), min_size=1, max_size=12))
@pytest.mark.slow
def test_answers_are_legal_for_any_titles_and_vocabulary(student: Student, sessions: list[list[str]]) -> None:
    found = answers(student, [task(place, titles) for place, titles in enumerate(sessions)])
    assert sorted(cast("list[int]", list(found))) == list(range(len(sessions)))
    for place, bundles in found.items():
        products = len(sessions[cast("int", place)])
        assert bundles
        assert len(bundles) <= max(1, products // 2)
        assert [bundle.number for bundle in bundles] == list(range(len(bundles)))
        assert len({bundle.positions for bundle in bundles}) == len(bundles)
        for bundle in bundles:
            assert len(bundle.positions) >= 2
            assert list(bundle.positions) == sorted(set(bundle.positions))
            assert 1 <= bundle.positions[0] < bundle.positions[-1] <= products
            assert 0 < bundle.confidence <= 1
            assert len(bundle.intent.split()) <= INTENT_WORDS
            assert bundle.intent.isprintable()


def test_answers_are_the_same_together_and_alone(student: Student) -> None:
    tasks = [task(place, [f"camping thing {place * at}" for at in range(2, 4 + place % 5)]) for place in range(16)]
    together = answers(student, tasks)
    for each in tasks:
        alone = answers(student, [each])[each.key]
        assert written(alone) == written(together[each.key])
        # The cache rounds to 16 bits, and the order of sums differs.
        assert [b.confidence for b in alone] == pytest.approx([b.confidence for b in together[each.key]], rel=0.01)


@pytest.mark.slow
def test_the_embedded_student_decides_the_same_together_and_alone(embedded: Student) -> None:
    """Its sums are rounded to 8 bits: of two choices with similar probabilities either can win.

    So one session of sixteen may differ, and a probability by a tenth of itself.
    """
    names = ["tent", "mat", "stove", "pan", "phone", "case", "cable", "lamp", "rope", "mug"]
    tasks = [task(place, [names[(place * 3 + at) % 10] for at in range(3 + place % 4)]) for place in range(16)]
    together = answers(embedded, tasks)
    differing = 0
    for each in tasks:
        first, other = first_bundle(embedded, each), together[each.key][0]
        differing += first.positions != other.positions
        if first.positions == other.positions:
            assert first.confidence == pytest.approx(other.confidence, rel=0.1)
    assert differing <= 1


def test_guesses_change_the_time_but_not_the_answer(
    student: Student, tokens_read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [task(place, [f"camping thing {place * at}" for at in range(2, 9 + place % 5)]) for place in range(12)]
    # Twice, so that intents are guessed too.
    guessed = [answers(student, tasks), answers(student, tasks)][1]
    tokens_read.clear()
    answers(student, tasks)
    batches = len(tokens_read)
    monkeypatch.setattr(student._tokens, "most_guesses", 0)
    tokens_read.clear()
    plain = answers(student, tasks)
    assert batches < len(tokens_read)
    for key, bundles in plain.items():
        assert written(guessed[key]) == written(bundles)
        assert [b.confidence for b in guessed[key]] == pytest.approx([b.confidence for b in bundles], rel=0.01)


def test_a_common_beginning_of_prompts_is_read_once(
    student: Student, tokens_read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(student._tokens, "most_guesses", 0)
    instructions = "Some rules that hold for all of the sessions. " * 10
    tasks = [task(place, ["camp", "kit"], instructions) for place in range(8)]
    shared = len(prompt_of(student, tasks[0]).shared)
    answers(student, tasks)
    first = sum(tokens_read)
    tokens_read.clear()
    answers(student, tasks)
    assert shared > 100
    # Kept between calls, and never read eight times.
    assert shared - 40 < first - sum(tokens_read) <= shared
    assert sum(tokens_read) < 8 * shared


def test_sessions_with_different_knowledge_do_not_mix(student: Student) -> None:
    tasks = [task(place, ["camp", "kit", "phone"], f"Knowledge {place % 3}. " * 9) for place in range(9)]
    together = answers(student, tasks)
    for place in range(3):
        assert written(together[place]) == written(together[place + 3]) == written(together[place + 6])
        assert written(together[place]) == written(answers(student, [tasks[place]])[place])


def test_knowledge_that_fills_the_cache_is_evicted_for_other_knowledge(student: Student) -> None:
    room = student.context
    for number in range(4):
        instructions = f"{number} " + "x" * (room // 3)
        found = answers(student, [task("a", ["camp", "kit"], instructions), task("b", ["kit", "camp"], instructions)])
        assert set(found) == {"a", "b"}


def test_only_a_session_that_cannot_fit_is_refused(student: Student) -> None:
    tasks = [task("before", ["a", "b"]), task("huge", ["a rather long title"] * 500), task("after", ["a", "b"])]
    events = list(student.answer(tasks))
    [refused] = [event for event in events if isinstance(event, Refused)]
    assert refused.key == "huge"
    assert "tokens but the context has 2,048" in refused.reason
    assert {event.key for event in events if isinstance(event, Answered)} == {"before", "after"}


def test_five_hundred_products_are_answered_if_they_fit(folder: Path) -> None:
    with Student(make_model(folder / "large.gguf", "groups of digits"), context=4096) as student:
        found = answers(student, [task("many", ["k"] * 500)])
    assert found["many"]
    assert all(bundle.positions[-1] <= 500 for bundle in found["many"])


def test_a_model_without_a_chat_template_gets_paragraphs(folder: Path) -> None:
    with Student(make_model(folder / "plain.gguf", template=None)) as student:
        prompt = prompt_of(student, task("a", ["camp", "kit"]))
        text = b"".join(map(student.model.piece, prompt.shared + prompt.own)).decode()
        assert text == "Write bundles.\n\n1. camp\n2. kit\n\n"
        assert answers(student, [task("a", ["camp", "kit"])])["a"]


def test_a_template_without_a_system_role_gets_the_instructions_from_the_user(folder: Path) -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE
    with Student(make_model(folder / "refusing.gguf", template=refusing)) as student:
        prompt = prompt_of(student, task("a", ["camp", "kit"]))
        text = b"".join(map(student.model.piece, prompt.shared + prompt.own)).decode()
        assert text == "user\nWrite bundles.\n\n1. camp\n2. kit\nassistant"
        # The instructions are shared nevertheless.
        assert b"Write bundles." in b"".join(map(student.model.piece, prompt.shared))


@pytest.mark.parametrize("template", ["{{ nothing.at.all }}", "{% if", "{{ raise_exception('never') }}", "no messages"])
def test_an_unusable_template_gives_one_sentence(folder: Path, template: str) -> None:
    with Student(make_model(folder / "broken.gguf", template=template)) as student:
        [event] = student.answer([task("a", ["camp", "kit"])])
    assert isinstance(event, Refused)
    assert "its chat template" in event.reason
    assert "\n" not in event.reason


def test_events_arrive_as_sessions_finish_and_sessions_are_taken_when_available(student: Student) -> None:
    taken: list[str] = []

    def source() -> Iterator[SessionTask | None]:
        for name in ("one", "two"):
            yield None
            taken.append(name)
            yield task(name, ["camp", "kit"])
            # Nothing more, until the first is answered.
            while len(done) < len(taken):
                yield None

    done: list[object] = []
    for event in student.answer(source()):
        done += [event.key] if isinstance(event, Answered) else []
    assert done == ["one", "two"]


def test_closing_stops_within_one_batch(student: Student, tokens_read: list[int]) -> None:
    events = cast(
        "Generator[StudentEvent]", student.answer(task(place, ["camp", "kit", "pan"]) for place in range(100))
    )
    next(events)
    batches = len(tokens_read)
    events.close()
    assert len(tokens_read) == batches
    # Of the hundred sessions only the running ones have been read.
    assert sum(tokens_read) < 30 * len(prompt_of(student, task("x", ["camp", "kit", "pan"])).own)
    assert set(answers(student, [task("next", ["camp", "kit"])])) == {"next"}


def test_after_a_failure_of_llama_cpp_the_next_call_works(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> object:
        raise ModelError("llama.cpp could not decode (status -3)")

    with monkeypatch.context() as broken:
        broken.setattr(LlamaContext, "decode", failing)
        with pytest.raises(ModelError, match="status -3"):
            answers(student, [task("a", ["camp", "kit"])])
    assert set(answers(student, [task("a", ["camp", "kit"])])) == {"a"}


@pytest.mark.slow
def test_memory_stays_flat_over_thousands_of_sessions(folder: Path) -> None:
    with Student(make_model(folder / "flat.gguf")) as student:

        def run(count: int) -> int:
            for _ in student.answer(task(place, ["camp", f"{place}"]) for place in range(count)):
                pass
            gc.collect()
            return int(psutil.Process().memory_info().rss)

        early = run(500)
        assert run(3000) - early < 4e6


def test_vocabularies_can_tokenize_numbers_differently(folder: Path) -> None:
    counts = {}
    for vocabulary in VOCABULARIES:
        model = LlamaModel(make_model(folder / "numbers.gguf", vocabulary))
        tokens = model.tokenize("123,")
        assert b"".join(map(model.piece, tokens)) == b"123,"
        counts[vocabulary] = len(tokens)
        model.close()
    assert counts == {"single digits": 4, "groups of digits": 2, "sentencepiece": 4, "gemma": 4}


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_the_tokens_of_a_text_spell_that_text_and_no_more(folder: Path, vocabulary: Vocabulary) -> None:
    model = LlamaModel(make_model(folder / "texts.gguf", vocabulary))
    texts = ["", "\n", "\n\n", "\n\n\n", " ", " camping kit\n", "1,2: week end", "漢\n\n字"]
    assert [b"".join(map(model.piece, model.tokenize(text))).decode() for text in texts] == texts
    model.close()


def test_a_space_is_left_out_only_where_the_newline_before_the_text_is_read_alone() -> None:
    pieces = {"▁": 0, "\n": 1, "a": 2, "\n\n": 3}

    def raw(text: str) -> list[int]:
        return [0, *(pieces[piece] for piece in re.findall("\n\n|.|\n", text))]

    assert tokens_without_space(raw, raw("\n"), "a") == [2]
    assert tokens_without_space(raw, raw("\n"), "\n") == [0, 1]


def test_an_intent_ends_where_its_tokens_do(student: Student) -> None:
    lengths: dict[int, int] = {}
    for event in student.answer([task("a", ["camp", "kit", "phone", "pan"])]):
        if isinstance(event, Grew) and not event.bundle.complete:
            lengths[event.bundle.number] = lengths.get(event.bundle.number, 0) + 1
    # The bundle comes once without an intent, and then with each of its tokens.
    assert lengths
    assert all(1 < count <= 1 + INTENT_TOKENS for count in lengths.values())
