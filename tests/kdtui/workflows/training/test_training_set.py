"""Training sets: their sessions, their form, and the knowledge that they show."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st

from kdtui.distill.applicable import estimate_tokens
from kdtui.distill.training_set import reordered, shuffled
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import distill_annotations
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.student.learning import tell_nobody
from kdtui.workflows.student.nearest import make_retriever
from kdtui.workflows.student.pair_evidence import open_pattern_student
from kdtui.workflows.training import examples
from kdtui.workflows.training.prepare import prepare_job
from kdtui.workflows.training.tokens import count_tokens, open_vocabulary
from models.prompt_format import pair_question
from models.sft.job import Job
from store.records import Bundle, Item, RunSettings, Session, TrainingSettings
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


def training_examples(db: Database, settings: TrainingSettings) -> Iterator[dict[str, Any]]:
    return examples.training_examples(db, settings, estimate_tokens)


def validation_examples(db: Database, settings: TrainingSettings) -> Iterator[dict[str, Any]]:
    return examples.validation_examples(db, settings, estimate_tokens)


@pytest.mark.parametrize("form", ["pairs", "list"])
def test_every_epoch_has_all_sessions_with_products_in_another_order(db: Database, form: Any) -> None:
    settings = TrainingSettings(("outdoor",), form, epochs=2)
    lines = list(training_examples(db, settings))
    sessions = {session.id: session for session in iter_sessions(db, "outdoor", split="train")}
    first, second = ([line for line in lines if line["epoch"] == epoch] for epoch in (0, 1))
    assert {line["session"] for line in first} == {line["session"] for line in second} == set(sessions)
    assert [line["prompt"] for line in first] != [line["prompt"] for line in second]
    assert lines == list(training_examples(db, settings))
    for line in lines:
        products = line["prompt"][-1]["content"].splitlines()[1:]
        titles = [product.partition(". ")[2] for product in products]
        for bundle in line["bundles"]:
            shown = {titles[position - 1][:20] for position in bundle}
            session = sessions[line["session"]]
            true = [{(session.items[p - 1].title or "")[:20] for p in each.positions} for each in session.bundles]
            assert shown in true


def test_intents_are_learned_after_the_products_of_their_bundle(db: Database) -> None:
    settings = TrainingSettings(("outdoor",), "intents", ("pattern",), epochs=2)
    lines = list(training_examples(db, settings))
    sessions = {session.id: session for session in iter_sessions(db, "outdoor", split="train")}
    assert {line["session"] for line in lines} == set(sessions)
    assert len({json.dumps(line["prompt"]) for line in lines}) == 1
    for line in lines:
        session = sessions[line["session"]]
        assert len(line["completions"]) == len(session.bundles)
        for completion in line["completions"]:
            intent = completion["answer"].strip().casefold()
            [bundle] = [each for each in session.bundles if each.intent.casefold() == intent]
            titles = [(item.title or "(no title)")[:20] for item in session.items]
            assert all(titles[position - 1] in completion["given"] for position in bundle.positions)
            others = {title for number, title in enumerate(titles, start=1) if number not in bundle.positions}
            assert not [title for title in others if title in completion["given"]]
    first, second = ([line["completions"] for line in lines if line["epoch"] == epoch] for epoch in (0, 1))
    assert first != second
    assert all("epoch" not in line for line in validation_examples(db, settings))


def test_a_session_without_an_intent_is_left_out(db: Database, tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    items = [{"id": "a", "title": "Tent"}, {"id": "b", "title": "Pegs"}]
    sessions = [
        {"session": name, "items": items, "bundles": [{"items": ["a", "b"], "intent": intent}], "split": "train"}
        for name, intent in (("x", "camping"), ("y", " ... "))
    ]
    file.write_text("".join(json.dumps(each) + "\n" for each in sessions))
    list(import_dataset(db, file, "some"))
    lines = list(training_examples(db, TrainingSettings(("some",), "intents", ("pattern",), epochs=1)))
    assert [line["session"] for line in lines] == ["x"]
    [completion] = lines[0]["completions"]
    assert completion["answer"] == " Camping"
    assert sorted(completion["given"].splitlines()[0].removeprefix("Products: ").split("; ")) == ["Pegs", "Tent"]


def test_questions_include_evidence_from_other_sessions(db: Database) -> None:
    mine_patterns(db, "outdoor")
    settings = TrainingSettings(("outdoor",), knowledge=("pattern",), epochs=3)
    lines = list(training_examples(db, settings))
    train = list(iter_sessions(db, "outdoor", split="train"))
    with open_pattern_student(db, "outdoor", tell_nobody) as student:
        unseen = {session.id: student.pair_probabilities(session) for session in train}
    with_evidence = 0
    for line in lines:
        assert "Likely bundles" not in line["prompt"][-1]["content"]
        session = next(each for each in train if each.id == line["session"])
        order = shuffled(len(session.items), (0, line["epoch"], "outdoor", session.id))
        questions = [each for each in line["completions"] if "pair" in each]
        with_evidence += "%" in questions[0]["given"]
        for question in questions:
            one, other = question["pair"]
            evidence = unseen[session.id][order[one - 1] - 1, order[other - 1] - 1]
            assert question["given"] in (pair_question(one, other, float(evidence)), pair_question(one, other))
    assert 0.6 < with_evidence / len(lines) < 0.95, "some examples are without, and most are with"
    for line in validation_examples(db, settings):
        assert all("%" in each["given"] for each in line["completions"] if "pair" in each)


def test_validation_sessions_are_not_trained_on(db: Database) -> None:
    settings = TrainingSettings(("outdoor",))
    valid = {line["session"] for line in validation_examples(db, settings)}
    assert valid == {session.id for session in iter_sessions(db, "outdoor", split="valid")}
    assert not valid & {line["session"] for line in training_examples(db, settings)}


def test_knowledge_is_shown_or_learned(db: Database) -> None:
    list(distill_annotations(db, "outdoor", ["rule", "thought"]))
    shown = next(training_examples(db, TrainingSettings(("outdoor",), "list", ("thought",))))
    assert "Another session:" in shown["prompt"][-1]["content"]
    assert len(shown["completions"]) == 1
    learned = next(training_examples(db, TrainingSettings(("outdoor",), "list", ("thought",), target=True)))
    assert "Another session:" not in learned["prompt"][-1]["content"]
    [completion] = learned["completions"]
    thought, *bundles = completion["answer"].splitlines()
    assert thought.startswith("Thought: Products: 1. ")
    for bundle in learned["bundles"]:
        assert f": {','.join(map(str, bundle))}, because" in thought
    assert [line.partition(":")[0] for line in bundles] == [",".join(map(str, each)) for each in learned["bundles"]]


def test_a_prompt_shows_as_much_knowledge_as_that_of_a_student_of_the_same_base(
    db: Database, kdtui: Kdtui, base: Path, tmp_path: Path
) -> None:
    list(distill_annotations(db, "outdoor", ["thought"]))
    with open_vocabulary(str(base)) as vocabulary:
        count = partial(count_tokens, vocabulary)
        session = next(iter_sessions(db, "outdoor", split="train"))
        budget = 100_000
        shown = RunSettings("", ("thought",), budget=budget)
        thought = make_retriever(db, "outdoor", shown, count)(session).examples()[0]
        # A thought fits by the tokens of the base and not by the estimate, or the other way round.
        assert count(thought) != estimate_tokens(thought)
        budget = min(count(thought), estimate_tokens(thought))
        shown = RunSettings("", ("thought",), budget=budget)
        retrieve = make_retriever(db, "outdoor", shown, count)
        expected = {
            (split, each.id): bool(retrieve(each).thoughts)
            for split in ("train", "valid")
            for each in iter_sessions(db, "outdoor", split=split)
        }
    options = ["--base", base, "--form", "list", "--knowledge", "thought", "--budget", budget]
    for split in ("train", "valid"):
        rows = kdtui("sft", "data", *options, "--split", split, "--show", 1000, "--json").rows[:-1]
        assert has_thought(split, rows) == {key: value for key, value in expected.items() if key[0] == split}
    settings = TrainingSettings(("outdoor",), "list", ("thought",), budget=budget, epochs=1)
    prepare_job(db, "cut", tmp_path / "jobs", settings, Job(str(base), epochs=1))
    for split in ("train", "valid"):
        rows = [json.loads(each) for each in (tmp_path / "jobs" / "cut" / f"{split}.jsonl").read_text().splitlines()]
        assert has_thought(split, rows) == {key: value for key, value in expected.items() if key[0] == split}


def has_thought(split: str, lines: list[dict[str, Any]]) -> dict[tuple[str, str], bool]:
    return {(split, each["session"]): "Another session:" in each["prompt"][-1]["content"] for each in lines}


def test_a_sample_selects_the_training_sessions(kdtui: Kdtui, db: Database) -> None:
    list(distill_annotations(db, "outdoor", ["thought"]))
    assert kdtui("sample", "create", "few", "--format", "thought", "--ratio", 0.25).code == 0
    everything = {line["session"] for line in training_examples(db, TrainingSettings(("outdoor",)))}
    few = {line["session"] for line in training_examples(db, TrainingSettings(("outdoor",), sample="few"))}
    assert few < everything
    assert 0 < len(few) <= len(everything) // 4 + 1


def test_a_sample_of_patterns_leaves_out_no_session(kdtui: Kdtui, db: Database) -> None:
    assert kdtui("knowledge", "mine").code == 0
    assert kdtui("sample", "create", "some", "--format", "pattern", "--ratio", 0.2).code == 0
    whole = list(training_examples(db, TrainingSettings(("outdoor",), "list", ("pattern",), epochs=1)))
    sampled = list(training_examples(db, TrainingSettings(("outdoor",), "list", ("pattern",), sample="some", epochs=1)))
    assert [line["session"] for line in sampled] == [line["session"] for line in whole]
    assert sampled != whole


def test_a_limit_draws_nested_sets_of_training_sessions(db: Database) -> None:
    def sessions(limit: int | None) -> set[str]:
        settings = TrainingSettings(("outdoor",), "list", epochs=1, limit=limit)
        return {line["session"] for line in training_examples(db, settings)}

    few, more, every = sessions(5), sessions(10), sessions(None)
    assert (len(few), len(more)) == (5, 10)
    assert few < more < every


def test_the_data_is_shown_with_its_tokens(kdtui: Kdtui, base: Path, db: Database) -> None:
    rows = kdtui("sft", "data", "--base", base, "--show", 2, "--json").rows
    assert [row["session"] for row in rows[:2]]
    count = len([*iter_sessions(db, "outdoor", split="train")])
    assert rows[2]["examples"] == count
    assert 0 < rows[2]["shortest"] <= rows[2]["median"] <= rows[2]["longest"] < rows[2]["tokens"]
    assert rows[2]["too long"] == 0
    half = ["--longest", rows[2]["median"]]
    assert 0 < kdtui("sft", "data", "--base", base, "--show", 0, "--json", *half).rows[0]["too long"] <= count / 2
    assert rows[2]["learned"] < rows[2]["tokens"]
    out = kdtui("sft", "data", "--base", base).out
    assert "[system]" in out
    assert "1,2? ->" in out


def test_other_trainers_can_read_the_export(kdtui: Kdtui, tmp_path: Path) -> None:
    path = tmp_path / "out" / "train.jsonl"
    path.parent.mkdir()
    assert kdtui("sft", "data", "--form", "list", "--output", path).code == 0
    rows = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert set(rows.column_names) == {"prompt", "completion"}
    assert [message["role"] for message in rows[0]["prompt"]] == ["system", "user"]
    assert rows[0]["completion"][0]["role"] == "assistant"


def test_exported_rows_have_the_question_in_the_prompt_and_only_the_answer_as_completion(
    kdtui: Kdtui, db: Database, tmp_path: Path
) -> None:
    path = tmp_path / "train.jsonl"
    assert kdtui("sft", "data", "--output", path).code == 0
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    asked = [
        each for line in training_examples(db, TrainingSettings(("outdoor",), epochs=1)) for each in line["completions"]
    ]
    assert len(rows) == len(asked)
    for row, one in zip(rows, asked, strict=True):
        assert row["prompt"][-1]["content"].endswith(f"\n\n{one['given'].strip()}")
        assert row["completion"] == [{"role": "assistant", "content": one["answer"].strip()}]
    assert kdtui("sft", "data", "--split", "valid", "--output", path).code == 0
    expected = sum(len(line["completions"]) for line in validation_examples(db, TrainingSettings(("outdoor",))))
    assert len(path.read_text().splitlines()) == expected


sessions_of_any_bundles = st.integers(2, 8).flatmap(
    lambda size: st.tuples(
        st.permutations(range(1, size + 1)),
        st.lists(st.sets(st.integers(1, size), min_size=2), max_size=3),
    )
)


@given(drawn=sessions_of_any_bundles)
def test_bundles_follow_the_order_of_products(drawn: tuple[list[int], list[set[int]]]) -> None:
    order, bundles = drawn
    items = tuple(Item(str(number)) for number in range(1, len(order) + 1))
    session = Session("s", items, tuple(Bundle(tuple(sorted(each))) for each in bundles))
    found = reordered(session, order)
    assert [item.id for item in found.items] == list(map(str, order))
    for before, after in zip(session.bundles, found.bundles, strict=True):
        assert {found.items[at - 1].id for at in after.positions} == {str(at) for at in before.positions}
        assert list(after.positions) == sorted(after.positions)
