"""A limit draws sessions at random: reproducibly, nested, and described in the output."""

from itertools import pairwise
from pathlib import Path

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.knowledge.distill import training_sessions
from kdtui.workflows.runs.evaluate import split_to_score
from kdtui.workflows.runs.session_selection import SessionSelection
from store.predictions import predictions
from store.records import RunSettings
from store.runs import get_run, list_runs, start_run
from store.sessions import draw_sessions, iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


def drawn(db: Database, count: int, seed: int = 0, dataset: str = "outdoor") -> list[str]:
    return [session.id for session in draw_sessions(db, dataset, "train", count, seed)]


def test_a_smaller_subset_is_part_of_a_larger_one_with_the_same_seed(db: Database) -> None:
    every = [session.id for session in iter_sessions(db, "outdoor", split="train")]
    for seed in range(5):
        sizes = [drawn(db, count, seed) for count in range(1, len(every))]
        assert all(smaller == larger[: len(smaller)] for smaller, larger in pairwise(sizes))
        assert [len(each) for each in sizes] == list(range(1, len(every)))
    assert drawn(db, len(every)) == drawn(db, 1000) == every


def test_another_seed_draws_other_sessions_and_none_takes_the_first(db: Database) -> None:
    first = [session.id for session in iter_sessions(db, "outdoor", split="train", limit=6)]
    subsets = {tuple(sorted(drawn(db, 6, seed))) for seed in range(10)}
    assert len(subsets) == 10
    assert tuple(sorted(first)) not in subsets


def test_a_draw_does_not_depend_on_other_datasets(db: Database, outdoor: Path) -> None:
    before = drawn(db, 6)
    list(import_dataset(db, outdoor, "again"))
    list(import_dataset(db, outdoor, "outdoor", replace=True))
    assert drawn(db, 6) == drawn(db, 6, dataset="again") == before


def test_drawn_sessions_of_real_data_have_the_usual_length(db: Database, real_dataset: Path) -> None:
    list(import_dataset(db, real_dataset, "real"))

    def products(limit: int | None, seed: int | None) -> float:
        sessions = split_to_score(db, "real", "test", limit, seed)
        return sum(len(session.items) for session in sessions) / len(sessions)

    first, every = products(20, None), products(None, 0)
    assert first < 0.8 * every, "the first are the shortest, which is why they are not taken"
    assert sum(products(20, seed) for seed in range(10)) / 10 == pytest.approx(every, rel=0.1)


def test_an_evaluation_describes_its_sessions(kdtui: Kdtui, db: Database) -> None:
    result = kdtui("evaluate", "--student", "patterns", "--limit", 3)
    assert "3 of 7 test sessions, drawn at random, seed 0\n" in result.err
    assert list(predictions(db, get_run(db, 1))) == [each.id for each in draw_sessions(db, "outdoor", "test", 3)]
    assert get_run(db, 1).settings == RunSettings("patterns", limit=3, seed=0)
    other = kdtui("evaluate", "--student", "patterns", "--limit", 3, "--seed", 5)
    assert "3 of 7 test sessions, drawn at random, seed 5\n" in other.err
    assert list(predictions(db, get_run(db, 2))) == [each.id for each in draw_sessions(db, "outdoor", "test", 3, 5)]
    assert "drawn" not in kdtui("evaluate", "--student", "patterns").err
    rows = kdtui("run", "ls", "--json").rows
    assert [(row["of"], row["limit"], row["seed"], row["split_sessions"]) for row in rows] == [
        (3, 3, 0, 7),
        (3, 3, 5, 7),
        (7, None, None, 7),
    ]
    shown = kdtui("run", "show", 2)
    assert "3 of 7 test sessions, drawn at random, seed 5" in shown.out
    assert "repeat it with: kdtui evaluate --dataset outdoor --student patterns --limit 3 --seed 5" in shown.err
    assert "of 7, seed 5" in kdtui("run", "ls").out
    assert "3 of 7 test sessions, drawn at random, seed 0" in kdtui("evaluate", "--floors-only", "--limit", 3).err


def test_a_limit_of_at_least_all_sessions_makes_no_difference(kdtui: Kdtui, db: Database) -> None:
    kdtui("evaluate", "--student", "patterns", "--limit", 7, "--seed", 3)
    result = kdtui("evaluate", "--student", "patterns", "--limit", 70)
    assert "drawn" not in result.err
    assert {SessionSelection.by(summary) for summary in list_runs(db)} == {SessionSelection("outdoor", "test")}


def test_runs_over_different_subsets_are_distinguished(db: Database) -> None:
    for limit, seed in ((3, 0), (3, 1), (3, None), (4, 0), (None, None)):
        start_run(db, "outdoor", "test", "x", RunSettings("patterns", limit=limit, seed=seed))
    assert len({SessionSelection.by(summary) for summary in list_runs(db)}) == 5


def test_a_run_of_an_earlier_version_resumes_with_its_sessions(kdtui: Kdtui, db: Database) -> None:
    """It has a limit and no seed: it took the first sessions in import order."""
    start_run(db, "outdoor", "test", "patterns", RunSettings("patterns", limit=3))
    first = [session.id for session in iter_sessions(db, "outdoor", split="test", limit=3)]
    result = kdtui("evaluate", "--resume", 1)
    assert "the first 3 of 7 test sessions, in import order\n" in result.err
    assert list(predictions(db, get_run(db, 1))) == first
    shown = kdtui("run", "show", 1)
    assert "the first 3 of 7 test sessions, in import order" in shown.out
    assert "this run has the first sessions in order of import" in shown.err
    assert "of 7, the first" in kdtui("run", "ls").out


def test_knowledge_is_distilled_from_drawn_sessions(kdtui: Kdtui, db: Database) -> None:
    result = kdtui("knowledge", "distill", "--format", "thought", "--limit", 5, "--seed", 2, "--json")
    assert "from 5 of 22 training sessions, drawn at random, seed 2\n" in result.err
    origin = {
        row[0]
        for row in db.execute(
            "SELECT session FROM knowledge_sessions JOIN sessions ON sessions.id = session_id WHERE dataset_id = 1"
        )
    }
    assert origin == {session.id for session in training_sessions(db, "outdoor", 5, 2)} == set(drawn(db, 5, 2))


@pytest.mark.parametrize("command", [["evaluate"], ["knowledge", "distill"]])
def test_a_seed_without_a_limit_is_a_usage_error(kdtui: Kdtui, command: list[str]) -> None:
    result = kdtui(*command, "--seed", 1)
    assert result.code == 2
    assert "--seed is for drawing the sessions of --limit; give --limit too" in " ".join(result.err.split())
