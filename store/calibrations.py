"""Calibrations: how far a student's judgement can be trusted on a dataset, for each strategy to ask it."""

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
    """One strategy for one student, as it did on the sessions that it was calibrated on.

    Attributes:
        weights: JSON, for whoever fitted them to read.
        sessions: how many it was fitted on.
        pair_f1: over those sessions, each judged by a fit on the others; so is the error.
        calibration_error: mean distance of confidence and share that was right; None where there was no bundle.
        chosen: whether it is the one to use.
        session_f1: pair F1 by session id, judged in the same way; None where an earlier version did not keep it.
        model: the files that were calibrated, as they were then, for whoever described them to read; None likewise.
        number: of its row; None before it is stored. So is `created_at`.
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
    """A calibration, and what it is for.

    Attributes:
        settings: the student and its knowledge.
        shown: what else is said of the knowledge: a sample, numbers of neighbours and tokens, an embedding model.
    """

    dataset: str
    settings: RunSettings
    shown: tuple[str | int, ...]
    calibration: StoredCalibration


def keep_calibrations(
    db: Database, dataset: str, settings: RunSettings, new: Iterable[StoredCalibration], chosen: str | None
) -> None:
    """Keep calibrations of a student on a dataset, each in place of an earlier one of its strategy; others stay.

    Args:
        chosen: the strategy to use; None for the usual one.

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
    """What is known of the student on the dataset, by strategy.

    Raises:
        NotFound: there is no such dataset.
    """
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM calibrations WHERE dataset_id = ? AND student = ? ORDER BY id",
        [dataset_id(db, dataset), _student(settings)],
    ).fetchall()
    return {each.strategy: each for each in map(_stored, rows)}


def list_calibrations(db: Database) -> list[KnownCalibration]:
    """All calibrations, by dataset, the oldest first."""
    return _known(db, "ORDER BY name, calibrations.id", [])


def get_calibration(db: Database, number: int) -> KnownCalibration:
    """One calibration.

    Raises:
        NotFound: there is none of that number.
    """
    found = _known(db, "WHERE calibrations.id = ?", [number])
    if not found:
        raise NotFound(f"there is no calibration {number}; kdtui calibrate ls shows the numbers")
    return found[0]


def delete_calibration(db: Database, number: int) -> None:
    """Delete a calibration.

    Raises:
        NotFound: there is none of that number.
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
    found = []
    for dataset, student, *row in rows:
        name, knowledge, adapters, *shown = msgspec.json.decode(student)
        settings = RunSettings(name, tuple(knowledge), adapters=tuple((path, scale) for path, scale in adapters))
        found.append(KnownCalibration(dataset, settings, tuple(shown), _stored(row)))
    return found


def _stored(row: Sequence[Any]) -> StoredCalibration:
    strategy, weights, sessions, pair_f1, error, seconds, chosen, session_f1, model, number, created_at = row
    try:
        by_session = None if session_f1 is None else msgspec.json.decode(session_f1, type=dict[str, float])
    except msgspec.MsgspecError:
        # Somebody has edited it: it is as one of which that is not known.
        by_session = None
    return StoredCalibration(
        strategy, weights, sessions, pair_f1, error, seconds, bool(chosen), by_session, model, number, created_at
    )


def _student(settings: RunSettings) -> str:
    """What a calibration is good for: the same weights, shown the same kinds of knowledge."""
    how = (settings.sample, settings.neighbours, settings.budget, settings.near)
    knowledge = [*(each for each in how if each is not None), *(["all domains"] if settings.domains == "all" else [])]
    return msgspec.json.encode([settings.student, settings.knowledge, settings.adapters, *knowledge]).decode()
