"""The student without a language model: what it learns from, and how much of it."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from kdtui.bundling import truth
from kdtui.distill import pattern_student
from kdtui.distill.pattern_student import MOST_PRODUCTS, PatternStudent
from kdtui.errors import KdtuiError
from kdtui.workflows import pair_evidence
from kdtui.workflows.import_dataset import import_dataset
from store.datasets import iter_sessions, some_sessions
from store.records import Bundle, Item, Session
from store.sqlite import Database
from store.subsets import drawn


@pytest.fixture
def train(db: Database, outdoor: Path) -> list[Session]:
    list(import_dataset(db, outdoor, "outdoor"))
    return list(iter_sessions(db, "outdoor", split="train"))


def test_sessions_without_bundles_choose_no_threshold(db: Database, train: list[Session]) -> None:
    valid = list(iter_sessions(db, "outdoor", split="valid"))
    bare = [replace(session, id=f"bare {session.id}", bundles=()) for session in valid]
    assert PatternStudent.fit(train, valid + bare).threshold == PatternStudent.fit(train, valid).threshold
    assert PatternStudent.fit(train, bare).threshold == PatternStudent.fit(train, []).threshold


def test_of_more_sessions_than_are_needed_some_are_learned_from(
    train: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_chance = drawn(train, 15, 0, lambda session: session.id)
    some = PatternStudent.fit(by_chance, []).pair_probabilities(train[0])
    monkeypatch.setattr(pattern_student, "ENOUGH", 15)
    assert np.array_equal(PatternStudent.fit(train, []).pair_probabilities(train[0]), some)


@pytest.mark.usefixtures("train")
def test_it_learns_from_no_more_sessions_of_a_split_than_are_needed(db: Database) -> None:
    every = [session.id for session in iter_sessions(db, "outdoor", split="train")]
    for count in (1, 3, 7, len(every), 1000):
        some = [session.id for session in some_sessions(db, "outdoor", "train", count)]
        assert set(some) <= set(every)
        assert len(some) == min(count, len(every))
    assert [session.id for session in some_sessions(db, "outdoor", "train", truth.ENOUGH)] == every


def test_what_it_has_learned_is_read_as_it_was_written(train: list[Session]) -> None:
    student = PatternStudent.fit(train, [])
    again = PatternStudent.from_json(student.to_json())
    assert again.threshold == student.threshold
    assert np.array_equal(again.pair_probabilities(train[0]), student.pair_probabilities(train[0]))


@pytest.mark.parametrize("damage", ["", "{}", '{"threshold": 0.5', "[1, 2]"])
def test_what_is_no_student_is_refused(damage: str) -> None:
    with pytest.raises(ValueError, match="no pattern student"):
        PatternStudent.from_json(damage)


def test_a_session_of_thousands_of_products_is_answered_and_a_larger_one_refused(train: list[Session]) -> None:
    student = PatternStudent.fit(train, [])
    kinds = [item for session in train for item in session.items]
    items = tuple(replace(kinds[number % len(kinds)], id=str(number)) for number in range(MOST_PRODUCTS + 1))
    judged = student.pair_probabilities(Session("large", items[:-1]))
    assert judged.shape == (MOST_PRODUCTS, MOST_PRODUCTS)
    assert 0 < judged[0, 1] < 1
    with pytest.raises(KdtuiError, match=f"{MOST_PRODUCTS + 1:,} products"):
        list(student.write_bundles(Session("larger", items)))


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows by one whenever a pattern student learns."""
    calls: list[object] = []
    fit = PatternStudent.fit

    def counted(*sessions: Any) -> PatternStudent:
        calls.append(sessions)
        return fit(*sessions)

    monkeypatch.setattr(PatternStudent, "fit", counted)
    return calls


def test_it_learns_once_for_all_who_ask(db: Database, train: list[Session], fits: list[object]) -> None:
    first = pair_evidence.pattern_student(db, "outdoor").pair_probabilities(train[0])
    evidence = pair_evidence.pair_evidence(db, "outdoor")
    assert evidence is not None
    assert np.array_equal(evidence(train[0]), first)
    assert len(fits) == 1


@pytest.mark.usefixtures("train")
def test_it_learns_again_when_a_bundle_of_its_sessions_is_gone(db: Database, fits: list[object]) -> None:
    pair_evidence.pattern_student(db, "outdoor")
    db.execute("DELETE FROM bundles WHERE id = (SELECT min(id) FROM bundles)")
    pair_evidence.pattern_student(db, "outdoor")
    pair_evidence.pattern_student(db, "outdoor")
    assert len(fits) == 2


@pytest.mark.usefixtures("train")
@pytest.mark.parametrize(
    "damage", ["''", "'{}'", "substr(learned, 1, 100)", "replace(learned, '\"weights\"', '\"w\"')"]
)
def test_it_learns_again_when_what_was_kept_is_damaged(db: Database, fits: list[object], damage: str) -> None:
    pair_evidence.pattern_student(db, "outdoor")
    db.execute(f"UPDATE pattern_students SET learned = {damage}")
    pair_evidence.pattern_student(db, "outdoor")
    pair_evidence.pattern_student(db, "outdoor")
    assert len(fits) == 2


@pytest.mark.usefixtures("train")
def test_a_store_that_another_process_writes_to_is_not_waited_for(db: Database, database_of_the_test: Path) -> None:
    other = sqlite3.connect(database_of_the_test)
    other.execute("BEGIN IMMEDIATE")
    assert pair_evidence.pair_evidence(db, "outdoor") is not None
    other.close()
    assert db.execute("SELECT count(*) FROM pattern_students").fetchone() == (0,)
    assert db.execute("PRAGMA busy_timeout").fetchone() == (30_000,)


def test_training_sessions_that_teach_nothing_make_no_evidence(db: Database, tmp_path: Path) -> None:
    session = Session("s", (Item("a", "A"), Item("b", "B")), (Bundle((1, 2)),), "train")
    file = tmp_path / "one.jsonl"
    file.write_text('{"session": "s", "items": [{"id": "a"}, {"id": "b"}], "bundles": [{"items": ["a", "b"]}]}\n')
    list(import_dataset(db, file, "one"))
    assert pair_evidence.pair_evidence(db, "one") is None
    with pytest.raises(KdtuiError, match="too few training sessions"):
        PatternStudent.fit([session], [])


def test_an_answer_does_not_wait_for_scikit_learn(db: Database, train: list[Session]) -> None:
    session, path = train[0].id, db.execute("PRAGMA database_list").fetchone()[2]
    code = (
        "import sys; from kdtui.__main__ import main\n"
        f"sys.argv = ['kdtui', 'generate', {session!r}, '--student', 'patterns', '--db', {path!r}, '--json']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert not {'sklearn', 'torch', 'llama_cpp'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(result.stdout)["session"] == session


def test_titles_alone_tell_products_apart(train: list[Session]) -> None:
    titles = ["Two-person tent", "Tent pegs", "Phone case"]
    session = Session("titles", tuple(Item(title, title) for title in titles))
    judged = PatternStudent.fit(train, []).pair_probabilities(session)
    assert judged[0, 1] > 0.5
    assert judged[0, 2] < 0.2
    assert judged[1, 2] < 0.2
