"""Predictions in the store: duplicates, and predictions for deleted runs."""

from pathlib import Path

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from store.datasets import delete_dataset
from store.errors import StoreError
from store.predictions import PredictedBundle, Prediction, add_prediction, predictions
from store.records import RunSettings
from store.runs import Run, start_run
from store.sqlite import Database

ANSWER = Prediction("o01", (PredictedBundle(("a", "b"), (1, 2), "x", 0.5),), None, 0.1)


@pytest.fixture
def run(db: Database, outdoor: Path) -> Run:
    list(import_dataset(db, outdoor, "d"))
    return start_run(db, "d", "train", "someone", RunSettings("smollm2", ("pattern",), 3))


def test_a_prediction_is_read_as_it_was_stored(db: Database, run: Run) -> None:
    add_prediction(db, run, ANSWER)
    failed = Prediction("o02", None, "too long", 0.0)
    add_prediction(db, run, failed)
    assert predictions(db, run) == {"o01": ANSWER, "o02": failed}
    assert run.settings == RunSettings("smollm2", ("pattern",), 3)


def test_the_first_of_two_predictions_is_kept(db: Database, run: Run) -> None:
    add_prediction(db, run, ANSWER)
    add_prediction(db, run, Prediction("o01", (), None, 9.0))
    assert predictions(db, run) == {"o01": ANSWER}


def test_a_prediction_for_a_deleted_run_is_an_error(db: Database, run: Run) -> None:
    delete_dataset(db, "d")
    with pytest.raises(StoreError, match="deleted meanwhile"):
        add_prediction(db, run, ANSWER)
