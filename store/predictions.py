"""Predictions: the answers of a run, stored one by one as they arrive."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from store.database import now
from store.datasets import dataset_id
from store.errors import StoreError
from store.runs import Run
from store.sqlite import Database


class PredictedBundle(Struct, frozen=True):
    """A predicted bundle: item ids, their positions in the session (1-based, ascending), intent, confidence in 0..1."""

    items: tuple[str, ...]
    positions: tuple[int, ...]
    intent: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """A student's answer for one session: bundles, or None and an error. Tokens are None if unknown."""

    session: str
    bundles: tuple[PredictedBundle, ...] | None
    error: str | None
    seconds: float
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def add_prediction(db: Database, run: Run, prediction: Prediction) -> None:
    """Store one answer; see `add_predictions`."""
    add_predictions(db, run, [prediction])


def add_predictions(db: Database, run: Run, predictions: Iterable[Prediction]) -> None:
    """Store answers in one transaction. An existing answer is kept.

    Raises:
        StoreError: the run or one of the sessions has been deleted meanwhile; nothing is stored.
    """
    # Encoded before the transaction begins, as other writers wait for its end.
    rows = _rows(run, predictions)
    with db.atomic():
        for row in rows:
            stored = db.execute(
                """
                INSERT INTO predictions
                    (run_id, session_id, bundles, error, seconds, prompt_tokens, completion_tokens, created_at)
                SELECT runs.id, sessions.id, ?, ?, ?, ?, ?, ?
                FROM runs JOIN sessions ON sessions.dataset_id = runs.dataset_id
                WHERE runs.id = ? AND session = ?
                ON CONFLICT DO NOTHING
                """,
                row,
            )
            if not stored.rowcount and not _is_answered(db, run.id, row[-1]):
                raise _deleted(run, row[-1])


def replace_failures(db: Database, run: Run, answers: Iterable[Prediction]) -> None:
    """Replace failures by new answers in one transaction. Successful answers are kept.

    Raises:
        StoreError: the run or one of the sessions has been deleted meanwhile; nothing is stored.
    """
    rows = _rows(run, answers)
    with db.atomic():
        for row in rows:
            stored = db.execute(
                """
                UPDATE predictions SET
                    bundles = ?, error = ?, seconds = ?, prompt_tokens = ?, completion_tokens = ?, created_at = ?
                WHERE run_id = ? AND error IS NOT NULL AND session_id = (
                    SELECT sessions.id FROM sessions JOIN runs ON runs.dataset_id = sessions.dataset_id
                    WHERE runs.id = run_id AND session = ?
                )
                """,
                row,
            )
            if not stored.rowcount and not _is_answered(db, run.id, row[-1]):
                raise _deleted(run, row[-1])


def _rows(run: Run, predictions: Iterable[Prediction]) -> list[tuple[Any, ...]]:
    """Encode predictions as rows; each ends with its run and its session."""
    made_at = now()
    return [
        (
            None if each.bundles is None else msgspec.json.encode(each.bundles).decode(),
            each.error,
            each.seconds,
            each.prompt_tokens,
            each.completion_tokens,
            made_at,
            run.id,
            each.session,
        )
        for each in predictions
    ]


def _deleted(run: Run, session: str) -> StoreError:
    return StoreError(f"run {run.id} or its session {session!r} has been deleted meanwhile")


def _is_answered(db: Database, run: int, session: str) -> bool:
    rows = db.execute(
        "SELECT 1 FROM predictions JOIN sessions ON sessions.id = session_id WHERE run_id = ? AND session = ?",
        [run, session],
    )
    return rows.fetchone() is not None


def count_answers(db: Database, run: Run) -> int:
    """Count the sessions that a run has answered."""
    [count] = db.execute("SELECT count(*) FROM predictions WHERE run_id = ?", [run.id]).fetchone()
    return int(count)


def answered_among(db: Database, run: Run, numbers: Iterable[int]) -> list[int]:
    """Return those of these row numbers of sessions that a run has answered."""
    rows = db.execute(
        # CROSS: SQLite would otherwise scan all answers of the run.
        "SELECT session_id FROM json_each(?) AS wanted "
        "CROSS JOIN predictions ON run_id = ? AND session_id = wanted.value",
        [msgspec.json.encode(list(numbers)).decode(), run.id],
    )
    return [row[0] for row in rows]


def predictions_for(db: Database, run: Run, sessions: Sequence[str]) -> dict[str, Prediction]:
    """Return the answers of a run for these sessions, by session; unanswered sessions are missing."""
    rows = db.execute(
        """
        SELECT session, bundles, error, seconds, prompt_tokens, completion_tokens FROM json_each(?) AS wanted
        CROSS JOIN sessions ON dataset_id = (SELECT dataset_id FROM runs WHERE id = ?) AND session = wanted.value
        CROSS JOIN predictions ON run_id = ? AND session_id = sessions.id
        """,
        [msgspec.json.encode(sessions).decode(), run.id, run.id],
    )
    return {row[0]: _prediction(row) for row in rows}


def predictions(db: Database, run: Run) -> dict[str, Prediction]:
    """Return all answers of a run, by session."""
    rows = db.execute(f"{_PREDICTIONS} WHERE run_id = ? ORDER BY predictions.rowid", [run.id]).fetchall()
    return {row[0]: _prediction(row) for row in rows}


def prediction_of(db: Database, run: Run, session: str) -> Prediction | None:
    """Return the answer of a run for one session, if it exists."""
    row = db.execute(
        f"{_PREDICTIONS} WHERE run_id = ? AND session = ? AND dataset_id = ?",
        [run.id, session, dataset_id(db, run.dataset)],
    ).fetchone()
    return None if row is None else _prediction(row)


def failures(db: Database, run: Run, most: int | None = None) -> list[Prediction]:
    """Return the failures of a run: the sessions without bundles, with the reason.

    Args:
        most: maximum number of failures; None for all.
    """
    rows = db.execute(
        f"{_PREDICTIONS} WHERE run_id = ? AND error IS NOT NULL ORDER BY predictions.rowid LIMIT ?",
        [run.id, -1 if most is None else most],
    ).fetchall()
    return [_prediction(row) for row in rows]


def count_failures(db: Database, runs: Iterable[int]) -> dict[int, dict[str, int]]:
    """Count the failed sessions by reason, for each of these runs that has failures."""
    counts: dict[int, dict[str, int]] = {}
    for run, reason, count in db.execute(
        """
        SELECT run_id, error, count(*) FROM json_each(?) AS wanted CROSS JOIN predictions ON run_id = wanted.value
        WHERE error IS NOT NULL GROUP BY run_id, error
        """,
        [msgspec.json.encode(list(runs)).decode()],
    ).fetchall():
        counts.setdefault(run, {})[reason] = count
    return counts


_PREDICTIONS = """
    SELECT session, bundles, error, seconds, prompt_tokens, completion_tokens
    FROM predictions JOIN sessions ON sessions.id = session_id
"""


_decode = msgspec.json.Decoder(tuple[PredictedBundle, ...]).decode


def _prediction(row: Sequence[Any]) -> Prediction:
    session, bundles, error, seconds, *tokens = row
    try:
        return Prediction(session, None if bundles is None else _decode(bundles), error, seconds, *tokens)
    except msgspec.MsgspecError as problem:
        # Earlier versions stored confidences that are not numbers. The other answers of the run stay readable.
        return Prediction(session, None, f"its answer cannot be read: {problem}", seconds, *tokens)
