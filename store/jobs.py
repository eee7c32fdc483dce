"""Trainings by name, where their directories are, and how those on other machines were when they were seen last."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from store.database import now
from store.errors import NotFound, StoreError
from store.records import TrainingSettings
from store.similar import meant
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A training that has a name.

    Attributes:
        folder: its directory here; of one on a host, what it was made of, and what has come home.
        key: what no other training has; it is in the directory too.
        host: where it runs; None for here.
        status: JSON, as it was seen last on its host, for whoever asked to read.
        seen_at: when that was.
        after: the training that had to be done first.
        outcome: JSON, what the training was worth, for whoever has found that out to read; None until then.
        evaluate: whether its adapter is to be evaluated, and has not been yet.
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
    """A key for a training."""
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
    """Remember a training.

    Raises:
        StoreError: there is one of that name.
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
    """All trainings, the newest first."""
    return [_job(row) for row in db.execute(f"{_SELECT} ORDER BY jobs.id DESC").fetchall()]


def get_job(db: Database, name: str) -> StoredJob:
    """The training of this name.

    Raises:
        NotFound: there is none.
    """
    row = db.execute(f"{_SELECT} WHERE jobs.name = ?", [name]).fetchone()
    if row is None:
        names = (other for (other,) in db.execute("SELECT name FROM jobs ORDER BY name"))
        raise NotFound(
            f"there is no training {name!r}; {meant(name, names, 'kdtui sft ls shows those that there are')}"
        )
    return _job(row)


def move_job(db: Database, name: str, host: str | None) -> None:
    """Remember that a training goes on elsewhere; None for here."""
    with db.atomic():
        db.execute(
            """
            UPDATE jobs SET host_id = (SELECT id FROM hosts WHERE name = ?), status = NULL, seen_at = NULL, after = NULL
            WHERE name = ?
            """,
            [host, name],
        )


def remember_status(db: Database, name: str, status: str) -> None:
    """Remember how a training was seen on its host, now."""
    with db.atomic():
        db.execute("UPDATE jobs SET status = ?, seen_at = ? WHERE name = ?", [status, now(), name])


def remember_outcome(db: Database, name: str, outcome: str) -> bool:
    """Remember what a training was worth, unless that is known already.

    Returns:
        Whether it was not known.
    """
    with db.atomic():
        return bool(
            db.execute("UPDATE jobs SET outcome = ? WHERE name = ? AND outcome IS NULL", [outcome, name]).rowcount
        )


def remember_evaluation(db: Database, name: str) -> None:
    """Remember that the adapter of a training has been evaluated."""
    with db.atomic():
        db.execute("UPDATE jobs SET evaluate = 0 WHERE name = ?", [name])


def forget_job(db: Database, name: str) -> None:
    """Forget a training; its directory stays.

    Raises:
        NotFound: there is none of that name.
    """
    get_job(db, name)
    with db.atomic():
        db.execute("DELETE FROM jobs WHERE name = ?", [name])


def _job(row: tuple[Any, ...]) -> StoredJob:
    name, folder, settings, *rest = row
    # SQLite knows no truth values.
    rest[-1] = bool(rest[-1])
    return StoredJob(name, Path(folder), msgspec.json.decode(settings, type=TrainingSettings), *rest)
