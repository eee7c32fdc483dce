"""A piece of knowledge is tried on a session, without it and with only it."""

from pathlib import Path

import msgspec
import pytest

from kdtui.distill.patterns import Pattern
from kdtui.errors import KdtuiError
from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.mine_patterns import mine_patterns
from kdtui.workflows.knowledge.try_piece import trial_of
from store.errors import NotFound
from store.knowledge import NewKnowledge, add_knowledge, get_knowledge
from store.records import RunSettings
from store.samples import pieces_of_sample, save_sample
from store.sessions import get_session
from store.sqlite import Database


@pytest.fixture
def store(db: Database, outdoor: Path) -> Database:
    list(import_dataset(db, outdoor, "demo-outdoor"))
    mine_patterns(db, "demo-outdoor")
    return db


def test_a_pattern_is_tried_on_a_session_that_it_joins_products_of(store: Database) -> None:
    trial = trial_of(store, 1, RunSettings("mine", ("thought",), neighbours=3, strategy="list"))
    assert trial.without == RunSettings("mine", strategy="list")
    assert trial.having == RunSettings("mine", ("pattern",), sample="only-1", strategy="list")
    assert pieces_of_sample(store, "only-1") == [1]
    session = get_session(store, trial.dataset, trial.session)
    assert session.split == "valid"
    pattern = msgspec.json.decode(get_knowledge(store, 1).content, type=Pattern)
    held = [{path[:level] for path in item.categories for level in range(1, 9)} for item in session.items]
    assert all(any(category in paths for paths in held) for category in pattern.categories)


@pytest.mark.parametrize("student", ["shipped", "patterns"])
def test_a_student_with_evidence_of_its_own_is_replaced(store: Database, student: str) -> None:
    trial = trial_of(store, 1, RunSettings(student))
    assert trial.without == RunSettings("smollm2")
    assert trial.having == RunSettings("smollm2", ("pattern",), sample="only-1")


def test_a_piece_is_tried_again_with_the_same_sample(store: Database) -> None:
    assert trial_of(store, 2, RunSettings("mine")) == trial_of(store, 2, RunSettings("mine"))


def test_a_sample_of_that_name_with_other_pieces_is_unchanged(store: Database) -> None:
    save_sample(store, "only-1", [], [1, 2], replace=False)
    with pytest.raises(KdtuiError, match="sample only-1 holds other pieces than 1"):
        trial_of(store, 1, RunSettings("mine"))
    assert pieces_of_sample(store, "only-1") == [1, 2]


def test_a_piece_that_is_about_no_session_is_not_tried(store: Database) -> None:
    content = msgspec.json.encode(Pattern((("Space",), ("Ships",)), 3, 0.1, 0.2, 1.0, 0.5)).decode()
    [number] = add_knowledge(store, "demo-outdoor", "pattern", "someone", [NewKnowledge("Space + Ships", content, 0.1)])
    with pytest.raises(KdtuiError, match=f"pattern {number} says nothing about any validation or test session"):
        trial_of(store, number, RunSettings("mine"))
    with pytest.raises(NotFound):
        pieces_of_sample(store, f"only-{number}")
