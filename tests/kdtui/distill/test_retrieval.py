"""The knowledge that a student sees for a session."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kdtui.distill.applicable import Applicable, estimate_tokens
from kdtui.distill.patterns import mine, patterns_for
from kdtui.distill.retrieval import Retriever
from kdtui.distill.rules import Rule
from kdtui.distill.student_prompt import session_prompt
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import distill_annotations
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.student.nearest import nearest_for
from store.calls import record_call
from store.full_text import match_any, session_words
from store.knowledge import NewKnowledge, add_knowledge, find_knowledge, get_knowledge, sessions_of_piece
from store.nearest_sessions import nearest_sessions
from store.records import Item, RunSettings, Session
from store.sessions import get_session, iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.tiny import make_model


@pytest.fixture
def known(db: Database, outdoor: Path) -> Database:
    list(import_dataset(db, outdoor, "outdoor"))
    mine_patterns(db, "outdoor")
    list(distill_annotations(db, "outdoor", ["rule", "thought"]))
    return db


def applicable(db: Database, session: Session, *formats: str, **settings: Any) -> Applicable:
    wanted = RunSettings("smollm2", formats, **settings)
    return Retriever(db, "outdoor", wanted, nearest_for(db, "outdoor", wanted), estimate_tokens)(session)


def test_nearest_sessions_share_words_and_are_training_sessions(known: Database) -> None:
    train = {session.id for session in iter_sessions(known, "outdoor", split="train")}
    for session in iter_sessions(known, "outdoor", split="test"):
        near = nearest_sessions(known, "outdoor", session, 5)
        assert near
        assert set(near) <= train
        first = get_session(known, "outdoor", near[0])
        assert set(session_words(session)) & set(session_words(first))


def test_products_of_other_datasets_do_not_hide_neighbours(
    known: Database, outdoor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = next(iter_sessions(known, "outdoor", split="test"))
    near = nearest_sessions(known, "outdoor", session, 3)
    monkeypatch.setattr("store.nearest_sessions._NEAR_ITEMS", 2)
    for number in range(3):
        list(import_dataset(known, outdoor, f"copy-{number}"))
    assert len(nearest_sessions(known, "outdoor", session, 3)) == len(near) == 3


def test_a_session_is_never_its_own_neighbour(known: Database) -> None:
    session = next(iter_sessions(known, "outdoor", split="train"))
    assert session.id not in nearest_sessions(known, "outdoor", session, 50)
    shown = applicable(known, session, "thought", neighbours=5)
    assert all(sessions_of_piece(known, piece.number) != [session.id] for piece in shown.thoughts)


def test_a_training_session_does_not_see_rules_that_too_few_others_gave(known: Database) -> None:
    record_call(known, key="k", teacher="t", step="reflect", request="{}", response="{}", seconds=1.0, attempts=1)
    one, two, three = list(iter_sessions(known, "outdoor", split="train"))[:3]
    word = session_words(one)[0]
    rules = {
        text: NewKnowledge(text, msgspec.json.encode(Rule(text)).decode(), precision=1.0, sessions=sessions, call=call)
        for text, sessions, call in (
            (f"{word} one", (one.id,), None),
            (f"{word} both", (one.id, two.id), None),
            (f"{word} all", (one.id, two.id, three.id), None),
            (f"{word} one by a model", (one.id,), 1),
            (f"{word} both by a model", (one.id, two.id), 1),
        )
    }
    list(add_knowledge(known, "outdoor", "rule", "me", rules.values()))
    shown = {piece.value.text for piece in applicable(known, one, "rule").rules}
    assert rules.keys() & shown == {f"{word} all", f"{word} both by a model"}
    elsewhere = replace(one, id="another", split="test")
    assert rules.keys() <= {piece.value.text for piece in applicable(known, elsewhere, "rule").rules}


def test_a_training_session_sees_the_patterns_of_the_other_sessions(known: Database) -> None:
    train = list(iter_sessions(known, "outdoor", split="train"))
    mined = mine(train)
    fewer = 0
    for session in train:
        # Without the session, another category can become the consequent.
        others = {tuple(sorted(each.categories)): each for each in mine([one for one in train if one is not session])}
        shown = applicable(known, session, "pattern").patterns
        for pattern in shown:
            assert others[tuple(sorted(pattern.categories))].bundles == pattern.bundles
        fewer += len(
            {each.pattern.categories for each in patterns_for(session, mined, 1000)}
            - {pattern.categories for pattern in shown}
        )
    assert fewer, "some are frequent only by the session itself"


def test_rules_list_their_products_in_any_order_of_the_session(known: Database) -> None:
    for session in iter_sessions(known, "outdoor", split="test"):
        found = applicable(known, session, "rule")
        backwards = Session(session.id, session.items[::-1])
        for ordered in (session, backwards):
            for line in found.rule_lines(ordered):
                assert line.endswith(".")
                numbers = re.findall(r"\d+", line.rpartition(": ")[2])
                assert all(1 <= int(number) <= len(session.items) for number in numbers)
    assert any(applicable(known, session, "rule").rules for session in iter_sessions(known, "outdoor", split="test"))


def test_the_most_precise_rule_comes_first(known: Database) -> None:
    precision = {piece.id: piece.precision or 0 for piece in find_knowledge(known, format="rule")}
    for session in iter_sessions(known, "outdoor", split="test"):
        found = [precision[piece.number] for piece in applicable(known, session, "rule").rules]
        assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("budget", [1, 60, 200, 2000])
def test_rules_and_thoughts_stay_within_the_budget(known: Database, budget: int) -> None:
    for session in iter_sessions(known, "outdoor", split="test"):
        found = applicable(known, session, "rule", "thought", budget=budget, neighbours=6)
        shown = [*found.rule_lines(session), *found.examples()]
        assert sum(map(estimate_tokens, shown)) <= budget


def test_the_number_of_neighbours_is_respected(known: Database) -> None:
    session = next(iter_sessions(known, "outdoor", split="test"))
    assert len(applicable(known, session, "thought").thoughts) == 1
    assert len(applicable(known, session, "thought", neighbours=4, budget=9999).thoughts) == 4


def test_of_the_thoughts_about_a_session_the_newest_is_shown(known: Database) -> None:
    session = next(iter_sessions(known, "outdoor", split="test"))
    [before] = applicable(known, session, "thought").thoughts
    old = get_knowledge(known, before.number)
    other = NewKnowledge("Other", old.content, sessions=tuple(sessions_of_piece(known, old.id)))
    [new] = add_knowledge(known, "outdoor", "thought", "someone", [other])
    assert [each.number for each in applicable(known, session, "thought").thoughts] == [new]


def test_only_knowledge_of_the_sample_is_shown(known: Database, kdtui: Kdtui) -> None:
    assert kdtui("sample", "create", "few", "--ratio", 0.1, "-f", "rule,thought").code == 0
    inside = {piece.id for piece in find_knowledge(known, sample="few")}
    for session in iter_sessions(known, "outdoor", split="test"):
        found = applicable(known, session, "rule", "thought", sample="few", neighbours=3)
        assert set(found.numbers) <= inside


def test_the_command_shows_the_exact_prompt(known: Database, kdtui: Kdtui) -> None:
    session = next(iter_sessions(known, "outdoor", split="test"))
    settings = {"neighbours": 2}
    [row] = kdtui("knowledge", "for", session.id, "--json", "-k", 2).rows
    found = applicable(known, session, "pattern", "rule", "thought", **settings)
    messages = session_prompt(session, found, "list", range(1, len(session.items) + 1))
    assert row["messages"] == [[message.role, message.content] for message in messages]
    assert row["knowledge"] == list(found.numbers)
    out = kdtui("knowledge", "for", session.id, "-k", 2).out
    assert "Another session: Products: 1." in out
    assert "Likely bundles:" in out


@pytest.mark.usefixtures("known")
def test_a_student_sees_rules_and_thoughts(kdtui: Kdtui, tmp_path: Path) -> None:
    asked = ["generate", "o05", "--student", make_model(tmp_path / "tiny.gguf", context=8192), "--json"]
    bare = kdtui(*asked).rows
    shown = kdtui(*asked, "--knowledge", "rule,thought", "-k", 2)
    assert shown.code == 0, shown.err
    assert shown.rows[0]["bundles"]
    assert shown.rows != bare


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--knowledge", "idea"], "there is no format 'idea' of knowledge; there are: pattern, rule, thought"),
        (["--student", "smollm2", "--knowledge", "rule", "--sample", "nothing"], "there is no sample 'nothing'"),
        (["--student", "smollm2", "--sample", "nothing"], "name the formats with --knowledge"),
        (["--student", "smollm2", "-k", "3"], "name the formats with --knowledge"),
    ],
)
def test_missing_knowledge_is_reported(kdtui: Kdtui, arguments: list[str], problem: str) -> None:
    result = kdtui("generate", "o34", *arguments)
    assert (result.code, result.out) == (1, "")
    assert problem in result.err


def test_a_format_without_knowledge_says_how_to_get_it(db: Database, outdoor: Path, kdtui: Kdtui) -> None:
    list(import_dataset(db, outdoor, "bare"))
    for format in ("rule", "thought"):
        result = kdtui("generate", "o34", "--student", "smollm2", "--knowledge", format)
        assert f"kdtui knowledge distill --format {format}" in result.err


WORDS = st.lists(st.text(min_size=1, max_size=8), max_size=6)


@given(WORDS)
def test_any_words_form_a_valid_query(words: list[str]) -> None:
    memory = Database(sqlite3.connect(":memory:"))
    memory.table("t").insert({"x": "a b c"})
    memory.table("t").enable_fts(["x"])
    session = Session("s", tuple(Item(str(number), word) for number, word in enumerate(words)))
    memory.execute("SELECT rowid FROM t_fts WHERE t_fts MATCH ?", [match_any(session_words(session))]).fetchall()
