"""The similarity of a run's intents to those of people, and the scores of other names for the same bundles."""

from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.data.text_vectors import TextVectors
from kdtui.workflows.runs.intent_cosine import IntentCosine
from kdtui.workflows.runs.session_measures import session_measures, value_over
from models.errors import ModelError
from models.llama import embedding
from store.predictions import PredictedBundle, Prediction, add_prediction
from store.records import RunSettings
from store.runs import Run, get_run, start_run
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui

FLOORS = ("category", "nearest")


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


@pytest.fixture
def no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the encoder unusable, as with a damaged file."""

    def fail() -> None:
        raise ModelError("the sentence encoder is damaged")

    monkeypatch.setattr(embedding, "shipped_embedder", fail)


def run_with(db: Database, name: Callable[[str], str]) -> Run:
    """Store a run with the bundles of people under other names."""
    run = start_run(db, "outdoor", "valid", "by hand", RunSettings("patterns"))
    for session in iter_sessions(db, "outdoor", split="valid"):
        bundles = tuple(PredictedBundle((), each.positions, name(each.intent), 1.0) for each in session.bundles)
        add_prediction(db, run, Prediction(session.id, bundles, None, 0.1))
    return run


def shown(kdtui: Kdtui, run: Run) -> dict[str, Any]:
    [row] = kdtui("run", "show", run.id, "--json").rows
    found: dict[str, Any] = row
    return found


def test_intents_of_the_same_meaning_are_near_though_they_share_no_word(db: Database) -> None:
    with IntentCosine(db, "outdoor", 2) as cosine:
        assert cosine.measure is not None
        near = cosine.measure("camping in the woods", "a night outside in a tent")
        far = cosine.measure("camping in the woods", "phone protection")
        assert -1 <= far < near < 1
        assert cosine.measure("camping", "camping") == pytest.approx(1)


def test_the_cosine_is_shown_next_to_the_other_measures_of_intents(db: Database, kdtui: Kdtui) -> None:
    same, other = run_with(db, lambda intent: intent), run_with(db, lambda _: "phone protection")
    scores = shown(kdtui, same)["scores"]
    assert (scores["intent_f1"], scores["intent_cosine"]) == (1, pytest.approx(1))
    assert shown(kdtui, other)["scores"]["intent_cosine"] < 0.7
    listed = kdtui("run", "ls", "--json").rows
    assert listed[0]["scores"]["intent_cosine"] == scores["intent_cosine"]
    assert "cosine" in kdtui("run", "show", same.id).out
    assert "cosine" in kdtui("run", "compare", same.id, other.id).out
    records = list(session_measures(db, other))
    assert value_over(records, "intent_cosine") == pytest.approx(shown(kdtui, other)["scores"]["intent_cosine"])


def test_each_intent_is_encoded_once_and_kept(db: Database, kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_with(db, lambda intent: f"for {intent}")
    before = shown(kdtui, run)

    def refuse(*_: object) -> None:
        raise AssertionError("a text is encoded again")

    monkeypatch.setattr(TextVectors, "_made", refuse)
    assert shown(kdtui, run) == before


@pytest.mark.usefixtures("no_encoder")
def test_without_the_encoder_only_the_cosine_is_missing(db: Database, kdtui: Kdtui) -> None:
    run = run_with(db, lambda intent: intent)
    found = shown(kdtui, run)
    assert (found["scores"]["intent_f1"], found["scores"]["intent_cosine"]) == (1, None)
    assert list(found["intent_floors"]) == ["category"]
    assert found["intent_floors"]["category"]["intent_cosine"] is None
    assert all(isnan(record["intent_cosine"]) for record in session_measures(db, run))
    table = kdtui("run", "show", run.id)
    assert table.code == 0
    assert "there is no cosine of intents" in table.err


def test_floors_without_an_encoder_are_computed_again_once_it_is_usable(
    kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("evaluate", "--floors-only", "--split", "valid", "--json")

    def fail() -> None:
        raise ModelError("the sentence encoder is damaged")

    with monkeypatch.context() as patch:
        patch.setattr(embedding, "shipped_embedder", fail)
        assert kdtui(*command).rows[-1]["intent_cosine"] is None
    assert kdtui(*command).rows[-1]["intent_cosine"] == pytest.approx(1)


@pytest.mark.slow
def test_the_floors_of_intents_name_the_bundles_of_the_run_itself(db: Database, kdtui: Kdtui) -> None:
    kdtui("evaluate", "--split", "valid")
    result = kdtui("evaluate", "--resume", 1, "--json")
    row = next(row for row in result.rows if row["name"] == "shipped")
    assert tuple(row["intent_floors"]) == FLOORS
    # The pattern student finds the same bundles and names them by category.
    patterns = next(row for row in result.rows if row["name"] == "patterns")
    assert row["pair_f1"] == patterns["pair_f1"]
    assert row["intent_floors"]["category"] == {
        name: pytest.approx(patterns[name]) for name in ("intent_f1", "intent_rouge_l", "intent_cosine")
    }
    assert 0 < row["intent_floors"]["nearest"]["intent_cosine"] < 1
    assert all(other["intent_floors"] is None for other in result.rows if other["name"] != "shipped")
    assert shown(kdtui, get_run(db, 1))["intent_floors"] == row["intent_floors"]
    table = kdtui("run", "show", 1)
    lines = table.out.splitlines()
    [at] = [number for number, line in enumerate(lines) if line.startswith(" shipped") and len(line.split()) == 5]
    assert lines[at + 1].startswith(" · named by category")
    assert lines[at + 2].startswith(" · named as nearest bundle")
    assert "the rows below a run score its bundles with other intents" in table.err
    assert "intent_floors.nearest.intent_cosine" in kdtui("evaluate", "--resume", 1, "--format", "csv").out


def test_without_training_intents_there_is_no_nearest_bundle(db: Database, kdtui: Kdtui) -> None:
    train = "SELECT id FROM sessions WHERE split = 'train'"
    db.execute(f"UPDATE bundles SET intent = '' WHERE session_id IN ({train})")
    db.conn.commit()
    run = run_with(db, lambda _: "camping")
    found = shown(kdtui, run)
    assert list(found["intent_floors"]) == ["category"]
