"""The student without a language model: what it learns from, and how much of it."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from kdtui.bundling import truth
from kdtui.distill import pattern_student
from kdtui.distill.pattern_student import PatternStudent
from kdtui.workflows.import_dataset import import_dataset
from store.datasets import iter_sessions, some_sessions
from store.records import Session
from store.sqlite import Database


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
    monkeypatch.setattr(pattern_student, "ENOUGH", len(train))
    some = PatternStudent.fit(train, []).pair_probabilities(train[0])
    many = [each for session in train for each in (session, replace(session, bundles=()))]
    assert np.array_equal(PatternStudent.fit(many, train).pair_probabilities(train[0]), some)


@pytest.mark.usefixtures("train")
def test_some_sessions_of_a_split_come_from_all_over_it(db: Database) -> None:
    every = [session.id for session in iter_sessions(db, "outdoor", split="train")]
    for count in (1, 3, 7, len(every), 1000):
        some = [session.id for session in some_sessions(db, "outdoor", "train", count)]
        assert set(some) <= set(every)
        assert min(count, len(every)) / 2 <= len(some) <= 2 * count + 2
    assert [session.id for session in some_sessions(db, "outdoor", "train", truth.ENOUGH)] == every
