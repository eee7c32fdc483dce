"""Trainings by name: their folders, their hosts, and the last known status of remote ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from store.database import now
from store.errors import NotFound, StoreError
from store.records import TrainingSettings
from store.similar import suggestion
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A training with a name.

    Attributes:
        folder: its folder on this machine; for a remote training, its inputs and the fetched results.
        key: unique among all trainings; also stored in the folder.
        host: the host that it runs on; None for this machine.
        status: last known status on the host, as JSON that is opaque to the store.
        seen_at: when `status` was read.
        after: the training that had to finish first.
        outcome: JSON, how the training changed the scores, opaque to the store; None until it is known.
        evaluate: whether its adapter still has to be evaluated.
    """

    name: str
    folder: Path
    settings: TrainingSettings
    created_at: str
    key: str
    host: str | None = None
    status: str | None = None
    seen_at: str | None = None
    after: str | None = None
    outcome: str | None = None
    evaluate: bool = False


_SELECT = """
    SELECT jobs.name, folder, jobs.settings, jobs.created_at, coalesce(key, 'job-' || jobs.id), hosts.name, status,
        seen_at, after, outcome, evaluate
    FROM jobs LEFT JOIN hosts ON hosts.id = jobs.host_id
"""


def new_key() -> str:
    """Create a key for a training."""
    return uuid4().hex


def add_job(
    db: Database,
    name: str,
    folder: Path,
    settings: TrainingSettings,
    key: str,
    *,
    host: str | None = None,
    after: str | None = None,
    evaluate: bool = False,
) -> None:
    """Store a training.

    Raises:
        StoreError: the name is taken.
    """
    with db.atomic():
        if db.execute("SELECT 1 FROM jobs WHERE name = ?", [name]).fetchone():
            raise StoreError(f"there is a training {name!r} already; choose another --name, or kdtui sft rm {name}")
        db.execute(
            """
            INSERT INTO jobs (name, folder, settings, created_at, key, host_id, after, evaluate)
            VALUES (?, ?, ?, ?, ?, (SELECT id FROM hosts WHERE name = ?), ?, ?)
            """,
            [name, str(folder), msgspec.json.encode(settings).decode(), now(), key, host, after, int(evaluate)],
        )


def list_jobs(db: Database) -> list[StoredJob]:
    """List all trainings, newest first."""
    return [_job(row) for row in db.execute(f"{_SELECT} ORDER BY jobs.id DESC").fetchall()]


def get_job(db: Database, name: str) -> StoredJob:
    """Return the training with this name.

    Raises:
        NotFound: there is no such training.
    """
    row = db.execute(f"{_SELECT} WHERE jobs.name = ?", [name]).fetchone()
    if row is None:
        names = (other for (other,) in db.execute("SELECT name FROM jobs ORDER BY name"))
        raise NotFound(f"there is no training {name!r}; {suggestion(name, names, 'kdtui sft ls lists the trainings')}")
    return _job(row)


def move_job(db: Database, name: str, host: str | None) -> None:
    """Store that a training continues on another host; None for this machine."""
    with db.atomic():
        db.execute(
            """
            UPDATE jobs SET host_id = (SELECT id FROM hosts WHERE name = ?), status = NULL, seen_at = NULL, after = NULL
            WHERE name = ?
            """,
            [host, name],
        )


def remember_status(db: Database, name: str, status: str) -> None:
    """Store the status of a training on its host, as of now."""
    with db.atomic():
        db.execute("UPDATE jobs SET status = ?, seen_at = ? WHERE name = ?", [status, now(), name])


def remember_outcome(db: Database, name: str, outcome: str) -> bool:
    """Store the outcome of a training unless it is known already.

    Returns:
        Whether the outcome is new.
    """
    with db.atomic():
        return bool(
            db.execute("UPDATE jobs SET outcome = ? WHERE name = ? AND outcome IS NULL", [outcome, name]).rowcount
        )


def remember_evaluation(db: Database, name: str) -> None:
    """Store that the adapter of a training has been evaluated."""
    with db.atomic():
        db.execute("UPDATE jobs SET evaluate = 0 WHERE name = ?", [name])


def forget_job(db: Database, name: str) -> None:
    """Remove a training from the store; its folder stays.

    Raises:
        NotFound: there is no such training.
    """
    get_job(db, name)
    with db.atomic():
        db.execute("DELETE FROM jobs WHERE name = ?", [name])


def _job(row: tuple[Any, ...]) -> StoredJob:
    name, folder, settings, *rest = row
    # SQLite has no booleans.
    rest[-1] = bool(rest[-1])
    return StoredJob(name, Path(folder), msgspec.json.decode(settings, type=TrainingSettings), *rest)
