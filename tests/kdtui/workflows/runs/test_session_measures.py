"""The contribution of each session to the measures of its run."""

from math import isnan
from pathlib import Path
from typing import Any

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.runs.session_measures import COSTS, MEASURES, SessionMeasures, session_measures, value_over
from kdtui.workflows.runs.session_selection import SessionSelection
from store.predictions import PredictedBundle, Prediction, add_prediction
from store.records import RunSettings
from store.runs import Run, get_run, start_run, summary_of
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path) -> None:
    list(import_dataset(db, outdoor, "outdoor"))


def run_scores(kdtui: Kdtui, number: int) -> dict[str, Any]:
    [row] = kdtui("run", "show", number, "--json").rows
    scores: dict[str, Any] = row["scores"]
    return scores


def assert_sums_up(records: list[SessionMeasures], scores: dict[str, Any]) -> None:
    for measure in MEASURES:
        if measure in COSTS:
            continue
        found = value_over(records, measure)
        if scores[measure] is None:
            assert isnan(found), measure
        else:
            assert found == pytest.approx(scores[measure], abs=1e-12), measure


def test_the_measures_of_a_run_are_ratios_of_sums_over_its_sessions(db: Database, kdtui: Kdtui) -> None:
    kdtui("evaluate", "--student", "patterns", "--split", "train")
    records = list(session_measures(db, get_run(db, 1)))
    assert [record.session for record in records] == [each.id for each in iter_sessions(db, "outdoor", split="train")]
    scores = run_scores(kdtui, 1)
    assert 0 < scores["intent_f1"] < 1
    assert 0 < scores["coverage"] <= 1
    assert_sums_up(records, scores)


def mixed_run(db: Database, *, intent: str) -> Run:
    """A run with right, wrong, empty and missing answers."""
    sessions = list(iter_sessions(db, "outdoor", split="test"))
    run = start_run(db, "outdoor", "test", "by hand", RunSettings("patterns"))
    right = tuple(PredictedBundle((), each.positions, each.intent and intent, 1.0) for each in sessions[0].bundles)
    whole = (PredictedBundle((), tuple(range(1, len(sessions[1].items) + 1)), intent, 1.0),)
    for session, bundles in zip(sessions[:4], (right, whole, (), None), strict=True):
        error = "too long" if bundles is None else None
        add_prediction(db, run, Prediction(session.id, bundles, error, 0.5))
    return run


def test_sessions_without_a_bundle_are_left_out_of_the_means_over_answered_sessions(db: Database, kdtui: Kdtui) -> None:
    run = mixed_run(db, intent="a night outside")
    records = list(session_measures(db, run))
    assert len(records) == 4
    assert [record["valid"] for record in records] == [1, 1, 1, 0]
    assert [isnan(record["precision"]) for record in records] == [False, False, True, True]
    assert [record["pair_f1"] for record in records][2:] == [0, 0]
    assert [record["seconds"] for record in records] == [0.5] * 4
    assert_sums_up(records, run_scores(kdtui, run.id))


def test_a_run_without_intents_has_no_measures_of_intents(db: Database, kdtui: Kdtui) -> None:
    run = mixed_run(db, intent="")
    records = list(session_measures(db, run))
    assert all(isnan(record["intent_f1"]) for record in records)
    assert_sums_up(records, run_scores(kdtui, run.id))


def test_a_run_over_some_sessions_of_a_split_has_records_of_those(db: Database, kdtui: Kdtui) -> None:
    kdtui("evaluate", "--student", "patterns", "--split", "train", "--limit", 5)
    run = get_run(db, 1)
    wanted = [session.id for session in SessionSelection.by(summary_of(db, 1)).sessions(db)]
    assert [record.session for record in session_measures(db, run)] == wanted
    assert len(wanted) == 5
