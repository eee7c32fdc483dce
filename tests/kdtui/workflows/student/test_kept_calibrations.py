"""A calibration is never replaced by a worse one; stored calibrations are listed, shown and deleted."""

import json
import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from kdtui.workflows.student.calibrate import sessions_to_learn_from
from kdtui.workflows.student.cross_validation import JudgedStrategy
from kdtui.workflows.student.earlier_calibration import CalibrationsCompared, EarlierCalibration, compare_calibrations
from kdtui.workflows.student.settings import settings_for
from kdtui.workflows.student.strategy import with_strategy
from models.pairs.calibration import UNCALIBRATED, Calibration
from store.calibrations import StoredCalibration, calibrations, keep_calibrations
from store.sessions import iter_sessions
from store.sqlite import Database
from tests.support.commands import Kdtui
from tests.support.sessions import few_products
from tests.support.tiny import make_model

SESSIONS = 26


@pytest.fixture(autouse=True)
def imported(db: Database, outdoor: Path, tmp_path: Path) -> None:
    """Demo sessions with few products, all of them for validation."""
    lines = [few_products(json.loads(line)) for line in outdoor.read_text().splitlines()]
    usable = [line for line in lines if len(line["items"]) > 1 and line["bundles"]][:SESSIONS]
    path = tmp_path / "sessions.jsonl"
    path.write_text("\n".join(json.dumps({**line, "split": "valid"}) for line in usable))
    list(import_dataset(db, path, "outdoor"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "student.gguf")


@pytest.fixture
def calibrate(kdtui: Kdtui, model: Path) -> Callable[..., Any]:
    """Calibrate the strategy of pairs quickly."""
    return lambda *options: kdtui("calibrate", "--student", model, "--strategy", "pairs", *options)


def known(db: Database, model: Path) -> StoredCalibration:
    [found] = calibrations(db, "outdoor", settings_for(str(model))).values()
    return found


def as_good_as(db: Database, f1: float) -> None:
    """Set the stored pair F1 of the calibration on each session."""
    [[by_session]] = db.execute("SELECT session_f1 FROM calibrations").fetchall()
    db.execute("UPDATE calibrations SET session_f1 = ?", [json.dumps(dict.fromkeys(json.loads(by_session), f1))])


@pytest.mark.slow
def test_a_better_calibration_is_kept_over_a_new_one_on_few_sessions(
    calibrate: Callable[..., Any], db: Database, model: Path
) -> None:
    assert calibrate().code == 0
    as_good_as(db, 1.0)
    before = known(db, model)
    result = calibrate("--limit", 20, "--seed", 3)
    assert result.code == 0, result.err
    assert "pairs: the earlier calibration, over 26 sessions, is kept; on these 20 sessions its pair F1 is 1.000" in (
        result.err
    )
    assert (
        "over 20 of 26 validation sessions, drawn at random, seed 3, each scored by a calibration fitted on the others"
        in result.err
    )
    assert "as before" in result.out
    assert known(db, model) == before
    [row] = calibrate("--limit", 20, "--json").rows
    assert (row["new"], row["chosen"], row["sessions"]) == (False, True, 26)


@pytest.mark.slow
def test_a_worse_calibration_is_replaced(calibrate: Callable[..., Any], db: Database, model: Path) -> None:
    calibrate()
    as_good_as(db, 0.0)
    before = known(db, model)
    result = calibrate("--limit", 20)
    assert "pairs: the earlier calibration, over 26 sessions, is replaced; on these 20 sessions its pair F1 is 0" in (
        result.err
    )
    after = known(db, model)
    assert (after.sessions, after.number != before.number, after.chosen) == (20, True, True)
    assert set(after.session_f1 or ()) == {each.id for each in sessions_to_learn_from(db, "outdoor", 20)}


@pytest.mark.slow
def test_a_calibration_of_unknown_weights_is_judged_by_present_scores(
    calibrate: Callable[..., Any], db: Database
) -> None:
    """How it did on each session is not known of the weights that there are now."""
    calibrate()
    as_good_as(db, 1.0)
    db.execute("UPDATE calibrations SET model = NULL")
    assert "(it may have been fitted on 20 of them, which may favour it)" in calibrate("--limit", 20).err


def test_a_calibration_over_as_many_sessions_replaces_one_that_is_as_good(
    calibrate: Callable[..., Any], db: Database, model: Path
) -> None:
    calibrate()
    before = known(db, model)
    assert "is replaced" in calibrate().err
    after = known(db, model)
    assert after.number != before.number
    assert (after.weights, after.pair_f1, after.session_f1) == (before.weights, before.pair_f1, before.session_f1)


@pytest.mark.slow
def test_an_untried_strategy_keeps_its_calibration(kdtui: Kdtui, db: Database, model: Path) -> None:
    settings = settings_for(str(model))
    first = kdtui("calibrate", "--student", model, "--strategy", "list", "--strategy", "pairs")
    assert first.code == 0, first.err
    before = calibrations(db, "outdoor", settings)
    keep_calibrations(db, "outdoor", settings, [], "pairs")
    db.execute("UPDATE calibrations SET session_f1 = NULL")
    result = kdtui("calibrate", "--student", model, "--strategy", "list")
    assert "pairs remains the chosen strategy: it was not tried on these sessions" in result.err
    after = calibrations(db, "outdoor", settings)
    assert after["pairs"].weights == before["pairs"].weights
    assert with_strategy(db, "outdoor", settings).strategy == "pairs"


@pytest.mark.slow
def test_a_calibration_does_not_count_for_other_weights(
    calibrate: Callable[..., Any], kdtui: Kdtui, db: Database, model: Path
) -> None:
    calibrate()
    settings = settings_for(str(model))
    assert with_strategy(db, "outdoor", settings).strategy == "pairs"
    make_model(model, "groups of digits")
    assert with_strategy(db, "outdoor", settings).strategy == "list"
    result = kdtui("generate", "o01", "--student", model)
    again = f"calibrate again with: kdtui calibrate --dataset outdoor --student {model}"
    assert (result.code, result.err.count(again)) == (0, 1), result.err
    as_good_as(db, 1.0)
    result = calibrate("--limit", 20)
    assert "earlier calibration" not in result.err
    assert known(db, model).sessions == 20
    assert with_strategy(db, "outdoor", settings).strategy == "pairs"
    assert again not in kdtui("generate", "o01", "--student", model).err


def test_a_calibration_counts_for_a_copy_of_the_same_weights(
    calibrate: Callable[..., Any], kdtui: Kdtui, db: Database, model: Path
) -> None:
    calibrate()
    os.utime(model, (1, 1))
    assert with_strategy(db, "outdoor", settings_for(str(model))).strategy == "pairs"
    # Earlier, the time of a file stood in the place of its SHA-256.
    stored = json.dumps([[[model.name, model.stat().st_size, 5]], []])
    db.execute("UPDATE calibrations SET model = ?", [stored])
    assert with_strategy(db, "outdoor", settings_for(str(model))).strategy == "pairs"
    assert "calibrate again" not in kdtui("generate", "o01", "--student", model).err


def test_a_calibration_of_an_earlier_version_counts_for_any_weights(
    calibrate: Callable[..., Any], kdtui: Kdtui, db: Database, model: Path
) -> None:
    calibrate()
    db.execute("UPDATE calibrations SET model = NULL")
    make_model(model, "groups of digits")
    assert with_strategy(db, "outdoor", settings_for(str(model))).strategy == "pairs"
    assert "calibrate again" not in kdtui("generate", "o01", "--student", model).err


def judged(f1: list[float]) -> JudgedStrategy:
    return JudgedStrategy(Calibration(UNCALIBRATED), [], f1, 0.0)


@pytest.mark.parametrize(
    ("new", "fitted_on", "is_kept"),
    [
        ([0.5] * 20, 90, True),
        ([0.5] * 20, 20, False),
        ([0.6] * 20, 90, False),
        ([0.4] * 20, 20, True),
        # Better by chance, and worse by chance: the one over more sessions counts.
        ([0.9, 0.2] * 10, 90, True),
        ([0.1, 0.8] * 10, 10, False),
    ],
)
def test_the_calibration_over_more_sessions_counts_unless_the_other_is_clearly_better(
    new: list[float], fitted_on: int, is_kept: bool
) -> None:
    ids = [str(number) for number in range(20)]
    earlier = EarlierCalibration(Calibration(UNCALIBRATED), fitted_on, dict.fromkeys(ids, 0.5))
    compared, f1 = compare_calibrations("pairs", earlier, judged(new), ids)
    assert compared.is_kept == is_kept
    assert f1 == [0.5] * 20


def test_a_comparison_is_a_sentence() -> None:
    message = CalibrationsCompared("pairs", True, 90, 20, (0.61, 0.6), 20).in_words
    assert message == (
        "pairs: the earlier calibration, over 90 sessions, is kept; on these 20 sessions its pair F1 is 0.610 (it may "
        "have been fitted on 20 of them, which may favour it), and that of the new one is 0.600"
    )


def test_a_calibration_on_a_subset_takes_sessions_by_chance(db: Database) -> None:
    some = [session.id for session in sessions_to_learn_from(db, "outdoor", 20)]
    more = [session.id for session in sessions_to_learn_from(db, "outdoor", 23)]
    assert more[:20] == some
    assert sorted(some) != sorted(session.id for session in iter_sessions(db, "outdoor", split="valid", limit=20))


@pytest.mark.slow
def test_calibrations_are_listed_shown_and_deleted(kdtui: Kdtui, db: Database, model: Path) -> None:
    assert "there is no calibration yet" in kdtui("calibrate", "ls").err
    kdtui("calibrate", "--student", model, "--strategy", "list", "--strategy", "pairs")
    rows = kdtui("calibrate", "ls", "--json").rows
    assert [(row["dataset"], row["student"], row["strategy"], row["sessions"]) for row in rows] == [
        ("outdoor", str(model), "list", SESSIONS),
        ("outdoor", str(model), "pairs", SESSIONS),
    ]
    table = kdtui("calibrate", "ls", "--dataset", "outdoor").out
    assert all(word in table for word in ("student", "pairs", "chosen", str(SESSIONS)))
    [shown] = kdtui("calibrate", "show", rows[1]["number"], "--json").rows
    assert set(shown["weights"]["pairs"]) == {"bias", "score", "mean", "size", "threshold", "evidence"}
    assert len(shown["session_f1"]) == SESSIONS
    assert "pairs: threshold" in kdtui("calibrate", "show", rows[1]["number"]).out
    for row in rows:
        result = kdtui("calibrate", "rm", row["number"], "--yes")
        assert f"deleted calibration {row['number']}, student by {row['strategy']} on outdoor" in result.err
        assert ("counts as not calibrated" in result.err) == row["chosen"]
    assert calibrations(db, "outdoor", settings_for(str(model))) == {}


class Terminal(StringIO):
    """Standard input that a user types."""

    def isatty(self) -> bool:
        return True


def test_deleting_is_confirmed(
    calibrate: Callable[..., Any], kdtui: Kdtui, db: Database, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate()
    number = known(db, model).number
    about = f"calibration {number}, student by pairs on outdoor, fitted on 26 sessions, pair F1"
    result = kdtui("calibrate", "rm", number)
    assert (result.code, known(db, model).number) == (1, number)
    assert f"--yes is needed to delete without a terminal: {about}" in result.err
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    result = kdtui("calibrate", "rm", number)
    assert (result.code, known(db, model).number) == (1, number)
    assert about in result.err
    assert "Delete it? [y/N]" in result.err


@pytest.mark.slow
def test_a_calibration_whose_weights_are_not_numbers_is_named(
    calibrate: Callable[..., Any], kdtui: Kdtui, db: Database, model: Path
) -> None:
    calibrate()
    number = known(db, model).number
    whole = known(db, model).weights
    for weights in ('{"bundle": {"bias": null}}', "[", json.dumps({**json.loads(whole), "pairs": None})):
        db.execute("UPDATE calibrations SET weights = ?", [weights])
        result = kdtui("generate", "o01", "--student", model)
        assert result.code == 1
        does_it = f"delete it with: kdtui calibrate rm {number}"
        assert (
            f"calibration {number} of the strategy pairs cannot be used, since its weights are not numbers"
            in result.err
        )
        assert does_it in result.err
        assert kdtui("calibrate", "show", number).code == 0
    assert calibrate().code == 0
    assert kdtui("generate", "o01", "--student", model).code == 0
