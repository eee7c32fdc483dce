"""Trainings by name, and where their directories are. How they are is in the directories alone."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
from sqlite_utils import Database

from store.database import now
from store.errors import NotFound, StoreError
from store.records import TrainingSettings


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A training that has a name."""

    name: str
    folder: Path
    settings: TrainingSettings
    created_at: str


def add_job(db: Database, name: str, folder: Path, settings: TrainingSettings) -> None:
    """Remember a training.

    Raises:
        StoreError: there is one of that name.
    """
    with db.atomic():
        if db.execute("SELECT 1 FROM jobs WHERE name = ?", [name]).fetchone():
            raise StoreError(f"there is a training {name!r} already; choose another --name, or kdtui sft rm {name}")
        db.execute(
            "INSERT INTO jobs (name, folder, settings, created_at) VALUES (?, ?, ?, ?)",
            [name, str(folder), msgspec.json.encode(settings).decode(), now()],
        )


def list_jobs(db: Database) -> list[StoredJob]:
    """All trainings, the newest first."""
    rows = db.execute("SELECT name, folder, settings, created_at FROM jobs ORDER BY id DESC").fetchall()
    return [
        StoredJob(name, Path(folder), msgspec.json.decode(settings, type=TrainingSettings), created_at)
        for name, folder, settings, created_at in rows
    ]


def get_job(db: Database, name: str) -> StoredJob:
    """The training of this name.

    Raises:
        NotFound: there is none.
    """
    for job in list_jobs(db):
        if job.name == name:
            return job
    raise NotFound(f"there is no training {name!r}; kdtui sft ls shows those that there are")


def forget_job(db: Database, name: str) -> None:
    """Forget a training; its directory stays.

    Raises:
        NotFound: there is none of that name.
    """
    get_job(db, name)
    with db.atomic():
        db.execute("DELETE FROM jobs WHERE name = ?", [name])
