"""Calibrations: how reliable a student's answers are on a dataset, for each prompting strategy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from store.database import now
from store.datasets import dataset_id
from store.errors import NotFound
from store.records import RunSettings
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class StoredCalibration:
    """The calibration of one strategy for one student.

    Attributes:
        weights: JSON of the fitted weights, opaque to the store.
        sessions: number of sessions that it was fitted on.
        pair_f1: cross-validated over those sessions, as is `calibration_error`.
        calibration_error: mean distance between confidence and share of right answers; None if there was no bundle.
        chosen: whether this strategy is the one to use.
        session_f1: cross-validated pair F1 by session id; None in calibrations of earlier versions.
        model: description of the calibrated files, opaque to the store; None in calibrations of earlier versions.
        number: row number; None before it is stored, like `created_at`.
    """

    strategy: str
    weights: str
    sessions: int
    pair_f1: float
    calibration_error: float | None
    seconds_per_session: float
    chosen: bool
    session_f1: Mapping[str, float] | None = None
    model: str | None = None
    number: int | None = None
    created_at: str | None = None


@dataclass(frozen=True, slots=True)
class KnownCalibration:
    """A calibration with the dataset and student that it is for.

    Attributes:
        settings: the student and its knowledge.
        knowledge_options: other settings of the knowledge: a sample, numbers of neighbours and tokens, an embedding
            model.
    """

    dataset: str
    settings: RunSettings
    knowledge_options: tuple[str | int, ...]
    calibration: StoredCalibration


def keep_calibrations(
    db: Database, dataset: str, settings: RunSettings, new: Iterable[StoredCalibration], chosen: str | None
) -> None:
    """Store calibrations of a student on a dataset. Each replaces the previous one of its strategy.

    Args:
        chosen: the strategy to use; None for the default.

    Raises:
        NotFound: there is no such dataset.
    """
    student = _student(settings)
    number = dataset_id(db, dataset)
    with db.atomic():
        for each in new:
            db.execute(
                """
                INSERT OR REPLACE INTO calibrations (dataset_id, student, strategy, weights, sessions, pair_f1,
                    calibration_error, seconds_per_session, chosen, session_f1, model, created_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)
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
                    None if each.session_f1 is None else msgspec.json.encode(each.session_f1).decode(),
                    each.model,
                    now(),
                ],
            )
        db.execute(
            "UPDATE calibrations SET chosen = (strategy IS ?) WHERE dataset_id = ? AND student = ?",
            [chosen, number, student],
        )


def calibrations(db: Database, dataset: str, settings: RunSettings) -> dict[str, StoredCalibration]:
    """Return the calibrations of a student on a dataset, by strategy.

    Raises:
        NotFound: there is no such dataset.
    """
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM calibrations WHERE dataset_id = ? AND student = ? ORDER BY id",
        [dataset_id(db, dataset), _student(settings)],
    ).fetchall()
    return {each.strategy: each for each in map(_stored, rows)}


def list_calibrations(db: Database) -> list[KnownCalibration]:
    """List all calibrations by dataset, oldest first."""
    return _known(db, "ORDER BY name, calibrations.id", [])


def get_calibration(db: Database, number: int) -> KnownCalibration:
    """Return one calibration.

    Raises:
        NotFound: there is no calibration with this number.
    """
    matches = _known(db, "WHERE calibrations.id = ?", [number])
    if not matches:
        raise NotFound(f"there is no calibration {number}; kdtui calibrate ls shows the numbers")
    return matches[0]


def delete_calibration(db: Database, number: int) -> None:
    """Delete a calibration.

    Raises:
        NotFound: there is no calibration with this number.
    """
    with db.atomic():
        get_calibration(db, number)
        db.execute("DELETE FROM calibrations WHERE id = ?", [number])


_COLUMNS = """
    strategy, weights, sessions, pair_f1, calibration_error, seconds_per_session, chosen, session_f1, model,
    calibrations.id, calibrations.created_at
"""


def _known(db: Database, which: str, values: Sequence[object]) -> list[KnownCalibration]:
    rows = db.execute(
        f"SELECT name, student, {_COLUMNS} FROM calibrations JOIN datasets ON datasets.id = dataset_id {which}", values
    ).fetchall()
    known = []
    for dataset, student, *row in rows:
        name, knowledge, adapters, *shown = msgspec.json.decode(student)
        settings = RunSettings(name, tuple(knowledge), adapters=tuple((path, scale) for path, scale in adapters))
        known.append(KnownCalibration(dataset, settings, tuple(shown), _stored(row)))
    return known


def _stored(row: Sequence[Any]) -> StoredCalibration:
    strategy, weights, sessions, pair_f1, error, seconds, chosen, session_f1, model, number, created_at = row
    try:
        by_session = None if session_f1 is None else msgspec.json.decode(session_f1, type=dict[str, float])
    except msgspec.MsgspecError:
        # The user has edited the row: treat the values as unknown.
        by_session = None
    return StoredCalibration(
        strategy, weights, sessions, pair_f1, error, seconds, bool(chosen), by_session, model, number, created_at
    )


def _student(settings: RunSettings) -> str:
    """Return the key of a calibration: the model files and the kinds of knowledge that the prompt shows, as JSON."""
    how = (settings.sample, settings.neighbours, settings.budget, settings.near)
    knowledge = [*(each for each in how if each is not None), *(["all domains"] if settings.domains == "all" else [])]
    return msgspec.json.encode([settings.student, settings.knowledge, settings.adapters, *knowledge]).decode()
