"""Scores of floors are computed once and stored, until the sessions or the code change."""

from pathlib import Path
from typing import Any

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.runs import floors
from kdtui.workflows.runs.evaluate import ScoreRow
from kdtui.workflows.runs.floors import FLOOR_NAMES, floors_over, score_floors
from kdtui.workflows.runs.session_selection import SessionSelection
from store.database import open_database
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.result_rows import scores_alone


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of sessions of each computation of floors."""
    found: list[int] = []

    def recorded(db: Database, dataset: str, sessions: Any, answered: Any) -> Any:
        found.append(len(sessions))
        return score_floors(db, dataset, sessions, answered)

    monkeypatch.setattr(floors, "score_floors", recorded)
    return found


def test_floors_are_computed_once_for_all_commands(kdtui: Kdtui, computed: list[int]) -> None:
    first = kdtui("evaluate", "--floors-only", "--json").rows
    assert [row["name"] for row in first] == list(FLOOR_NAMES)
    assert scores_alone(kdtui("evaluate", "--student", "patterns", "--json").rows) == scores_alone(first)
    assert kdtui("run", "show", 1, "--json").rows[0]["floors"] == first
    assert str(kdtui("evaluate", "--floors-only", "--json").rows) == str(first), "whole numbers stay whole"
    assert computed == [7]


def test_each_subset_has_its_own_floors(kdtui: Kdtui, computed: list[int]) -> None:
    for _ in range(2):
        for options in ([], ["--limit", 3], ["--limit", 3, "--seed", 1], ["--split", "valid"]):
            assert kdtui("evaluate", "--floors-only", *options).code == 0
    assert computed == [7, 3, 3, 4]


def test_floors_are_computed_again_when_the_code_or_the_sessions_have_changed(
    kdtui: Kdtui, db: Database, outdoor: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kdtui("evaluate", "--floors-only", "--json").rows
    list(import_dataset(db, outdoor, "outdoor", replace=True))
    assert kdtui("evaluate", "--floors-only", "--json").rows == first
    monkeypatch.setattr(floors, "_version", lambda: "another")
    assert kdtui("evaluate", "--floors-only", "--json").rows == first
    assert kdtui("evaluate", "--floors-only", "--json").rows == first
    assert computed == [7, 7, 7]
    assert db.execute("SELECT count(*) FROM floors").fetchone() == (1,), "what is of no use any more is replaced"


def test_edited_floors_are_computed_again(kdtui: Kdtui, db: Database, computed: list[int]) -> None:
    first = kdtui("evaluate", "--floors-only", "--json").rows
    for scores in ("[", '[["x", {"n": 1}]]', '{"a": 1}'):
        db.execute("UPDATE floors SET scores = ?", [scores])
        assert kdtui("evaluate", "--floors-only", "--json").rows == first
    assert computed == [7] * 4


def test_floors_are_shown_while_another_program_writes(
    db: Database, database_of_the_test: Path, computed: list[int]
) -> None:
    """The scores are not stored, and the next command computes them again."""
    other = open_database(database_of_the_test)
    other.execute("BEGIN IMMEDIATE")
    rows = list(floors_over(db, SessionSelection("outdoor", "test")))
    assert [row.name for row in rows] == list(FLOOR_NAMES)
    other.execute("COMMIT")
    again: list[ScoreRow] = [
        *floors_over(db, SessionSelection("outdoor", "test")),
        *floors_over(db, SessionSelection("outdoor", "test")),
    ]
    assert [row.name for row in again] == list(FLOOR_NAMES) * 2
    assert computed == [7, 7]
    other.close()
