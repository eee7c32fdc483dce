"""Runs: a student's answers over a split, kept one by one as they come."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct
from sqlite_utils import Database

from store.database import now
from store.datasets import dataset_id
from store.errors import NotFound, StoreError
from store.records import RunSettings, Split


class Predicted(Struct, frozen=True):
    """A predicted bundle: item ids, their positions in the session (1-based, ascending), intent, confidence in 0..1."""

    items: tuple[str, ...]
    positions: tuple[int, ...]
    intent: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is stored; `finished_at` is None while sessions are missing. `name` says who answered and how."""

    id: int
    dataset: str
    split: Split
    name: str
    settings: RunSettings
    created_at: str
    finished_at: str | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """A student's answer for one session: bundles, or None and why there are none."""

    session: str
    bundles: tuple[Predicted, ...] | None
    error: str | None
    seconds: float


def start_run(db: Database, dataset: str, split: Split, name: str, settings: RunSettings) -> Run:
    """Store a new run without predictions.

    Raises:
        NotFound: there is no such dataset.
    """
    with db.atomic():
        number = db.execute(
            "INSERT INTO runs (dataset_id, split, student, settings, created_at) VALUES (?, ?, ?, ?, ?)",
            [dataset_id(db, dataset), split, name, msgspec.json.encode(settings).decode(), now()],
        ).lastrowid
    assert number is not None
    return get_run(db, number)


def get_run(db: Database, number: int) -> Run:
    """One run.

    Raises:
        NotFound: there is none of that number.
        StoreError: it was made by a newer version, with settings that are not known here.
    """
    row = db.execute(
        """
        SELECT runs.id, name, split, student, settings, runs.created_at, finished_at
        FROM runs JOIN datasets ON datasets.id = dataset_id WHERE runs.id = ?
        """,
        [number],
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no run {number}")
    try:
        settings = msgspec.json.decode(row[4], type=RunSettings)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the settings of run {number} cannot be read: {error}") from error
    return Run(row[0], row[1], row[2], row[3], settings, row[5], row[6])


def latest_run(db: Database, dataset: str, split: Split, student: str) -> Run | None:
    """The newest run of a student on a split without knowledge and adapters, if there is one.

    Raises:
        NotFound: there is no such dataset.
    """
    row = db.execute(
        """
        SELECT id FROM runs WHERE dataset_id = ? AND split = ? AND json_extract(settings, '$.student') = ?
            AND json_array_length(settings, '$.knowledge') = 0 AND json_array_length(settings, '$.adapters') = 0
        ORDER BY id DESC LIMIT 1
        """,
        [dataset_id(db, dataset), split, student],
    ).fetchone()
    return None if row is None else get_run(db, row[0])


def add_prediction(db: Database, run: Run, prediction: Prediction) -> None:
    """Store one answer, committed when this returns. An answer that is there already stays.

    Raises:
        StoreError: the run, or the session, has been deleted meanwhile.
    """
    bundles = None if prediction.bundles is None else msgspec.json.encode(prediction.bundles).decode()
    with db.atomic():
        db.execute(
            """
            INSERT INTO predictions (run_id, session_id, bundles, error, seconds, created_at)
            SELECT runs.id, sessions.id, ?, ?, ?, ? FROM runs JOIN sessions ON sessions.dataset_id = runs.dataset_id
            WHERE runs.id = ? AND session = ?
            ON CONFLICT DO NOTHING
            """,
            [bundles, prediction.error, prediction.seconds, now(), run.id, prediction.session],
        )
        found = db.execute(
            "SELECT 1 FROM predictions JOIN sessions ON sessions.id = session_id WHERE run_id = ? AND session = ?",
            [run.id, prediction.session],
        ).fetchone()
    if found is None:
        raise StoreError(f"run {run.id} or its session {prediction.session!r} has been deleted meanwhile")


def predictions(db: Database, run: Run) -> dict[str, Prediction]:
    """The answers of a run so far, by session."""
    decode = msgspec.json.Decoder(tuple[Predicted, ...]).decode
    rows: Sequence[tuple[str, str | None, str | None, float]] = db.execute(
        """
        SELECT session, bundles, error, seconds FROM predictions JOIN sessions ON sessions.id = session_id
        WHERE run_id = ? ORDER BY predictions.rowid
        """,
        [run.id],
    ).fetchall()
    return {
        session: Prediction(session, None if bundles is None else decode(bundles), error, seconds)
        for session, bundles, error, seconds in rows
    }


def finish_run(db: Database, run: Run) -> None:
    """Note that all sessions have been answered."""
    with db.atomic():
        db.execute("UPDATE runs SET finished_at = ? WHERE id = ?", [now(), run.id])
