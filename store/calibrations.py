"""Calibrations: how far a student's judgement can be trusted on a dataset, for each strategy to ask it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from store.database import now
from store.datasets import dataset_id
from store.records import RunSettings
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class StoredCalibration:
    """One strategy for one student, as it did on the sessions that it was calibrated on.

    Attributes:
        weights: JSON, for whoever fitted them to read.
        sessions: how many it was fitted on.
        pair_f1: over those sessions, each judged by a fit on the others; so is the error.
        calibration_error: mean distance of confidence and share that was right; None where there was no bundle.
        chosen: whether it is the one to use.
    """

    strategy: str
    weights: str
    sessions: int
    pair_f1: float
    calibration_error: float | None
    seconds_per_session: float
    chosen: bool


def replace_calibrations(
    db: Database, dataset: str, settings: RunSettings, calibrations: Iterable[StoredCalibration]
) -> None:
    """Make these all that is known of the student on the dataset.

    Raises:
        NotFound: there is no such dataset.
    """
    student = _student(settings)
    number = dataset_id(db, dataset)
    with db.atomic():
        db.execute("DELETE FROM calibrations WHERE dataset_id = ? AND student = ?", [number, student])
        for each in calibrations:
            db.execute(
                """
                INSERT INTO calibrations (dataset_id, student, strategy, weights, sessions, pair_f1, calibration_error,
                    seconds_per_session, chosen, created_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
                [
                    number,
                    student,
                    each.strategy,
                    each.weights,
                    each.sessions,
                    each.pair_f1,
                    each.calibration_error,
                    each.seconds_per_session,
                    int(each.chosen),
                    now(),
                ],
            )


def calibrations(db: Database, dataset: str, settings: RunSettings) -> dict[str, StoredCalibration]:
    """What is known of the student on the dataset, by strategy.

    Raises:
        NotFound: there is no such dataset.
    """
    rows = db.execute(
        """
        SELECT strategy, weights, sessions, pair_f1, calibration_error, seconds_per_session, chosen FROM calibrations
        WHERE dataset_id = ? AND student = ? ORDER BY id
        """,
        [dataset_id(db, dataset), _student(settings)],
    ).fetchall()
    found = [StoredCalibration(*row) for row in rows]
    return {each.strategy: replace(each, chosen=bool(each.chosen)) for each in found}


def _student(settings: RunSettings) -> str:
    """What a calibration is good for: the same weights, shown the same kinds of knowledge."""
    how = (settings.sample, settings.neighbours, settings.budget, settings.near)
    knowledge = [each for each in how if each is not None]
    return msgspec.json.encode([settings.student, settings.knowledge, settings.adapters, *knowledge]).decode()
