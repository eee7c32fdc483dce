"""Strategies: bundles are legal, and their confidences are calibrated."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle_list import WrittenBundle
from models.llama.answer_tokens import AnswerTokens
from models.llama.context import LlamaContext, TokenRun
from models.llama.decoding import Branch
from models.llama.strategies import ScoringStrategy, make_strategy
from models.llama.strategies.drafts import DraftsStrategy
from models.llama.strategies.intents import IntentsStrategy
from models.llama.strategies.pairs import PairsStrategy
from models.llama.strategies.writing import write_list
from models.llama.student import Student
from models.messages import Message
from models.pairs.calibration import UNCALIBRATED, Calibration, PairCalibration
from models.pairs.clustering import Matrix, average_link, average_links
from models.prompt_format import pair_question
from models.student_protocol import STRATEGIES, Answered, Form, Grew, IntentPrompt, Refused, SessionTask, StrategyName
from tests.support.tiny import Vocabulary, make_model

WORDS = ["camp", "kit", "phone", "week", "end", "for", "ing"]


@pytest.fixture(scope="module", params=get_args(Vocabulary))
def student(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Student]:
    path = make_model(tmp_path_factory.mktemp("models") / "model.gguf", request.param)
    with Student(path) as loaded:
        yield loaded


def task(key: object, titles: Sequence[str], seen: list[tuple[Form, tuple[int, ...]]] | None = None) -> SessionTask:
    def ask(form: Form, order: Sequence[int]) -> list[Message]:
        if seen is not None:
            seen.append((form, tuple(order)))
        lines = "\n".join(f"{number}. {titles[position - 1]}" for number, position in enumerate(order, start=1))
        return [Message("system", f"Answer as {form}."), Message("user", lines)]

    return SessionTask(key, len(titles), ask)


def answers(
    student: Student, tasks: Sequence[SessionTask], strategy: StrategyName
) -> dict[object, list[WrittenBundle]]:
    events = student.answer(tasks, make_strategy(strategy))
    return {event.key: list(event.bundles) for event in events if isinstance(event, Answered)}


def judged(student: Student, tasks: Sequence[SessionTask], strategy: ScoringStrategy) -> dict[object, Matrix]:
    return dict(each for each in student.score_pairs(tasks, strategy) if not isinstance(each, Refused))


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=8, deadline=None)
@given(sessions=st.lists(st.lists(st.text(max_size=12), min_size=1, max_size=12), min_size=1, max_size=6))
def test_any_session_gets_legal_bundles(student: Student, strategy: StrategyName, sessions: list[list[str]]) -> None:
    found = answers(student, [task(place, titles) for place, titles in enumerate(sessions)], strategy)
    assert len(found) == len(sessions)
    for place, titles in enumerate(sessions):
        bundles = found[place]
        assert [bundle.number for bundle in bundles] == list(range(len(bundles)))
        assert len({bundle.positions for bundle in bundles}) == len(bundles)
        for bundle in bundles:
            assert bundle.complete
            assert len(bundle.positions) >= 2
            assert list(bundle.positions) == sorted(set(bundle.positions))
            assert 1 <= bundle.positions[0] < bundle.positions[-1] <= len(titles)
            assert 0 < bundle.confidence < 1
            assert bundle.intent.isprintable()


def test_a_thought_is_a_line_of_text_before_the_list(student: Student) -> None:
    answer = AnswerTokens(student.model, student.model.end_of_turn())
    answer.most_guesses = 0
    prompt = answer.spell("camp kit")
    thought = (*answer.spell(" for a week: 2,1, end."), answer.newline)
    bundle = (*answer.spell("1,"), *answer.spell("2:"), *answer.spell("camp"), answer.end)
    wanted = [*prompt, *answer.spell("Thought:"), *thought, *bundle]
    read: list[int] = []

    def sure_of(wanted: Sequence[int]) -> list[WrittenBundle]:
        """Return the answer of a model that is sure of every token."""
        program = write_list(answer, Branch(0, 0), prompt, 2, lambda _: None, thinks=True)
        found = None
        try:
            while True:
                [each] = next(program) if found is None else program.send(found)
                read.extend(each.tokens)
                each.branch.length += len(each.tokens)
                logits = np.zeros((1, student.model.vocab_size), dtype=np.float32)
                logits[0, wanted[len(read)]] = 1
                assert each.look is not None
                found = [each.look(logits)]
        except StopIteration as end:
            bundles: list[WrittenBundle] = end.value
            return bundles

    assert [(each.positions, each.intent) for each in sure_of(wanted)] == [((1, 2), "camp")]
    assert read == wanted[: len(read)]
    assert answer.newline in read


def test_a_thought_without_an_end_is_cut_off(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.llama.strategies.writing.THOUGHT_TOKENS", 3)
    thinking = [replace(task(place, WORDS[: 2 + place]), thinks=True) for place in range(4)]
    for strategy in ("list", "drafts"):
        found = answers(student, thinking, strategy)
        assert set(found) == set(range(4))
        assert all(bundle.complete for bundles in found.values() for bundle in bundles)


@pytest.mark.parametrize("strategy", ["drafts", "pairs"])
def test_sessions_are_judged_the_same_together_and_alone(student: Student, strategy: StrategyName) -> None:
    way = make_strategy(strategy)
    assert isinstance(way, DraftsStrategy | PairsStrategy)
    tasks = [task(place, WORDS[: 2 + place % 5]) for place in range(6)]
    together = judged(student, tasks, way)
    assert len(together) == len(tasks)
    for each in tasks:
        alone = judged(student, [each], way)[each.key]
        assert (alone == alone.T).all()
        # A sampled token can differ if the probabilities differ in the last digits.
        if strategy == "pairs":
            assert alone == pytest.approx(together[each.key], abs=0.05)


def test_pairs_ask_once_and_drafts_in_several_orders(student: Student) -> None:
    seen: list[tuple[Form, tuple[int, ...]]] = []
    answers(student, [task("p", WORDS[:5], seen)], "pairs")
    assert seen == [("pairs", (1, 2, 3, 4, 5))]
    seen.clear()
    answers(student, [task("d", WORDS[:5], seen)], "drafts")
    assert len(set(seen)) > 4
    assert {form for form, _ in seen} == {"list"}
    assert all(sorted(order) == [1, 2, 3, 4, 5] for _, order in seen)


@given(evidence=st.floats(0, 1))
def test_evidence_has_two_digits_in_the_question(evidence: float) -> None:
    text = pair_question(2, 13, evidence)
    assert re.fullmatch(r"2,13 \d\d%\?", text)
    assert abs(int(text[5:7]) / 100 - evidence) <= 0.0101
    assert pair_question(2, 13) == "2,13?"


def test_every_question_has_the_evidence_of_its_pair(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def heard(one: int, other: int, evidence: float | None = None) -> str:
        asked.append(pair_question(one, other, evidence))
        return asked[-1]

    monkeypatch.setattr("models.llama.strategies.pairs.pair_question", heard)
    known = np.array([[0, 0.1, 0.2], [0.1, 0, 0.3], [0.2, 0.3, 0]])
    session = task("s", ["camp", "kit", "phone"])
    strategy = make_strategy("pairs")
    assert isinstance(strategy, PairsStrategy)
    with_evidence = judged(student, [replace(session, evidence=lambda: known)], strategy)["s"]
    assert {"1,2 10%?", "1,3 20%?", "2,3 30%?"} <= set(asked)
    assert not np.allclose(with_evidence, judged(student, [session], strategy)["s"])


def test_a_threshold_decides_how_much_is_joined(student: Student) -> None:
    session = task("s", WORDS)
    for threshold, expected in ((0.0, [tuple(range(1, 8))]), (1.0, [])):
        way = PairsStrategy(Calibration(UNCALIBRATED, PairCalibration(0.0, 1.0, 0.0, 0.0, threshold)))
        [answer] = [event for event in student.answer([session], way) if isinstance(event, Answered)]
        assert [bundle.positions for bundle in answer.bundles] == expected


def test_intents_of_pairs_grow_concurrently(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    # The joins of a random model do not matter in this test.
    monkeypatch.setattr("models.pairs.bundles.likely_bundles", lambda *_: [(0.9, (1, 2)), (0.8, (3, 4, 7))])
    events = [event for event in student.answer([task("s", WORDS)], make_strategy("pairs")) if isinstance(event, Grew)]
    grown = [event.bundle.number for event in events if event.bundle.intent]
    assert [event.bundle.positions for event in events if event.bundle.complete] in (
        [(1, 2), (3, 4, 7)],
        [(3, 4, 7), (1, 2)],
    )
    # Each step adds to every bundle: the second begins before the first ends.
    assert 1 in grown[: grown.count(0)]


def test_too_many_products_for_pairs_give_advice(student: Student) -> None:
    events = list(student.answer([task("many", ["kit"] * 500), task("few", WORDS)], make_strategy("pairs")))
    [refused] = [event for event in events if isinstance(event, Refused)]
    assert refused.key == "many"
    assert "500 products" in refused.reason
    assert "use the strategy list" in refused.reason
    assert [event.key for event in events if isinstance(event, Answered)] == ["few"]


@given(st.integers(2, 9), st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.integers(0, 2**32 - 1))
def test_clusters_are_disjoint_and_split_up_as_the_threshold_rises(
    products: int, one: float, other: float, seed: int
) -> None:
    values = np.random.default_rng(seed).random((products, products))
    probabilities: Matrix = (values + values.T) / 2
    low, high = (average_link(probabilities, threshold) for threshold in sorted((one, other)))
    for clusters in (low, high):
        members = [number for cluster in clusters for number in cluster]
        assert len(members) == len(set(members))
        assert all(len(cluster) > 1 for cluster in clusters)
    assert all(any(set(small) <= set(large) for large in low) for small in high)


def test_products_are_joined_by_the_mean_of_their_pairs() -> None:
    probabilities = np.array([[0.0, 0.9, 0.4, 0.1], [0.9, 0.0, 0.7, 0.1], [0.4, 0.7, 0.0, 0.1], [0.1, 0.1, 0.1, 0.0]])
    assert average_link(probabilities, 0.5) == [(1, 2, 3)], "the third is at .55 of the first two"
    assert average_link(probabilities, 0.6) == [(1, 2)]
    assert average_link(probabilities, 0.95) == []
    assert average_links(probabilities, [0.5, 0.6, 0.95]) == [[(1, 2, 3)], [(1, 2)], []]


def told_task(titles: Sequence[str], evidence: Matrix, asked: list[tuple[Form, tuple[int, ...]]]) -> SessionTask:
    return replace(task("s", titles, asked), evidence=lambda: evidence)


BY_EVIDENCE = PairCalibration(bias=0.0, score=0.0, mean=0.0, size=0.0, threshold=0.5, evidence=1.0)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the number of tokens of each step."""
    steps: list[int] = []
    decode = LlamaContext.decode

    def counted(self: LlamaContext, pieces: Sequence[TokenRun]) -> npt.NDArray[np.float32]:
        steps.append(sum(len(piece.tokens) for piece in pieces))
        return decode(self, pieces)

    monkeypatch.setattr(LlamaContext, "decode", counted)
    return steps


def test_if_answers_have_no_weight_bundles_come_before_any_token_is_read(student: Student, decoded: list[int]) -> None:
    evidence = np.full((4, 4), 0.1)
    evidence[0, 2] = evidence[2, 0] = 0.9
    asked: list[tuple[Form, tuple[int, ...]]] = []
    events = student.answer(
        [told_task(WORDS[:4], evidence, asked)], PairsStrategy(Calibration(UNCALIBRATED, BY_EVIDENCE))
    )
    first = next(events)
    assert isinstance(first, Grew)
    assert (first.bundle.positions, first.bundle.intent) == ((1, 3), "")
    # The first step reads the common beginning of prompts.
    assert len(decoded) <= 1
    [answer] = [event for event in events if isinstance(event, Answered)]
    assert [bundle.positions for bundle in answer.bundles] == [(1, 3)]
    assert answer.bundles[0].intent
    assert answer.bundles[0].confidence == pytest.approx(0.9)


def test_a_session_without_bundles_is_not_read_if_answers_have_no_weight(student: Student, decoded: list[int]) -> None:
    quiet = told_task(WORDS[:5], np.full((5, 5), 0.1), [])
    list(student.answer([quiet], PairsStrategy(Calibration(UNCALIBRATED, BY_EVIDENCE))))
    decoded.clear()
    # The second time the common beginning has been read.
    [answer] = student.answer([quiet], PairsStrategy(Calibration(UNCALIBRATED, BY_EVIDENCE)))
    assert isinstance(answer, Answered)
    assert (answer.bundles, decoded) == ([], [])


def test_hundreds_of_products_get_bundles_without_questions(student: Student) -> None:
    evidence = np.full((200, 200), 0.1)
    evidence[10, 20] = evidence[20, 10] = 0.9
    [answer] = [
        event
        for event in student.answer(
            [told_task(["x"] * 200, evidence, [])], PairsStrategy(Calibration(UNCALIBRATED, BY_EVIDENCE))
        )
        if isinstance(event, Answered)
    ]
    assert [bundle.positions for bundle in answer.bundles] == [(11, 21)]


def found_before(*bundles: tuple[int, ...]) -> list[WrittenBundle]:
    return [WrittenBundle(number, each, "", 0.9, complete=False) for number, each in enumerate(bundles)]


def test_intents_are_asked_for_by_the_products_of_each_bundle(student: Student) -> None:
    questions: list[tuple[int, ...]] = []

    def question(positions: Sequence[int]) -> str:
        questions.append(tuple(positions))
        return ", ".join(WORDS[position - 1] for position in positions) + ":"

    asked: list[tuple[Form, tuple[int, ...]]] = []
    prompt = IntentPrompt([Message("system", "camp kit"), Message("user", "phone")], question)
    bundles = found_before((1, 3), (2, 4))
    task = told_task(WORDS[:5], np.zeros((5, 5)), asked)
    named = replace(task, evidence=None, intents=prompt, find=lambda: bundles)
    events = list(student.answer([named, replace(named, key="t")], IntentsStrategy()))
    found = {event.key: event.bundles for event in events if isinstance(event, Answered)}
    assert [bundle.positions for bundle in found["s"]] == [(1, 3), (2, 4)]
    assert asked == []
    assert set(questions) == {(1, 3), (2, 4)}
    assert all(bundle.complete and bundle.intent for bundle in found["s"])
    assert [bundle.intent for bundle in found["s"]] == [bundle.intent for bundle in found["t"]]
    # A bundle is emitted before its intent.
    grown = [event.bundle for event in events if isinstance(event, Grew) and event.key == "s"]
    assert grown[:2] == bundles


def test_bundles_that_were_emitted_before_are_not_searched_again(student: Student) -> None:
    prompt = IntentPrompt([Message("user", "camp")], lambda positions: WORDS[positions[0]] + ":")
    task = told_task(WORDS[:5], np.zeros((5, 5)), [])
    named = replace(task, evidence=None, intents=prompt, bundles=tuple(found_before((1, 2))))
    events = list(student.answer([named], IntentsStrategy()))
    assert [event.bundle.intent for event in events if isinstance(event, Grew)][:1] != [""]
    [answered] = [event for event in events if isinstance(event, Answered)]
    assert [bundle.positions for bundle in answered.bundles] == [(1, 2)]


def test_more_bundles_than_fit_a_batch_get_an_intent_each(student: Student) -> None:
    products = 40
    bundles = found_before(*((one, one + 1) for one in range(1, products, 2)))
    prompt = IntentPrompt([Message("user", "camp")], lambda positions: WORDS[positions[0] % len(WORDS)] + ":")
    task = told_task(["x"] * products, np.zeros((products, products)), [])
    many = replace(task, evidence=None, intents=prompt, find=lambda: bundles)
    [answered] = [event for event in student.answer([many], IntentsStrategy()) if isinstance(event, Answered)]
    assert len(answered.bundles) == products // 2
    assert all(bundle.complete and bundle.intent for bundle in answered.bundles)
