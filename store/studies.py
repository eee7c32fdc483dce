"""Studies and the steps that they share, with the state and result of each step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from store.database import now
from store.errors import NotFound, StoreError
from store.similar import suggestion
from store.sqlite import Database

StepState: TypeAlias = Literal["begun", "done", "failed"]

_AT_ONCE = 500
"""Keys in one query; SQLite allows some thousands."""


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A named study.

    Attributes:
        spec: its specification, as TOML.
        source: the preset or file that the specification comes from.
    """

    name: str
    spec: str
    source: str
    created_at: str


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A step that was started.

    Attributes:
        key: hash of its settings.
        settings: JSON.
        basis: JSON, the datasets, knowledge and models that it used.
        made: its result: the name of a sample or training, or the number of a run; empty if there is none yet.
        reason: why it failed.
        seconds: duration over all attempts; None until it ends.
    """

    key: str
    kind: str
    settings: str
    basis: str
    state: StepState
    made: str
    reason: str | None
    seconds: float | None
    begun_at: str
    ended_at: str | None


def save_study(db: Database, name: str, spec: str, source: str) -> None:
    """Store a study, replacing an earlier version."""
    with db.atomic():
        db.execute(
            """
            INSERT INTO studies (name, spec, source, created_at) VALUES (?, ?, ?, ?)
            ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, source = excluded.source
            """,
            [name, spec, source, now()],
        )


def list_studies(db: Database) -> list[StoredStudy]:
    """List all studies, oldest first."""
    return [StoredStudy(*row) for row in db.execute(f"{_STUDIES} ORDER BY id").fetchall()]


def get_study(db: Database, name: str) -> StoredStudy:
    """Return the study with this name.

    Raises:
        NotFound: there is no such study.
    """
    row = db.execute(f"{_STUDIES} WHERE name = ?", [name]).fetchone()
    if row is None:
        names = [study.name for study in list_studies(db)]
        raise NotFound(f"there is no study {name!r}; {suggestion(name, names, 'kdtui study ls lists the studies')}")
    return StoredStudy(*row)


def delete_study(db: Database, name: str) -> None:
    """Delete a study. Its steps and their results stay, as another study may share them.

    Raises:
        NotFound: there is no such study.
    """
    get_study(db, name)
    with db.atomic():
        db.execute("DELETE FROM studies WHERE name = ?", [name])


def steps_of(db: Database, keys: Sequence[str]) -> dict[str, StoredStep]:
    """Return those of these steps that were started, by key."""
    steps: dict[str, StoredStep] = {}
    for first in range(0, len(keys), _AT_ONCE):
        some = keys[first : first + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        rows = db.execute(f"{_STEPS} WHERE key IN ({marks})", list(some)).fetchall()
        steps |= {row[0]: StoredStep(*row) for row in rows}
    return steps


def steps_of_kind(db: Database, kind: str, *, state: StepState, most: int) -> list[StoredStep]:
    """Return the latest steps of a kind and state."""
    rows = db.execute(
        f"{_STEPS} WHERE kind = ? AND state = ? ORDER BY ended_at DESC LIMIT ?", [kind, state, most]
    ).fetchall()
    return [StoredStep(*row) for row in rows]


def begin_step(db: Database, key: str, kind: str, settings: str, basis: str, made: str = "") -> None:
    """Record that a step starts or resumes; forget its earlier result if that was made from something else."""
    with db.atomic():
        db.execute(
            """
            INSERT INTO study_steps (key, kind, settings, basis, state, made, begun_at)
            VALUES (?, ?, ?, ?, 'begun', ?, ?)
            ON CONFLICT (key) DO UPDATE SET
                state = 'begun', reason = NULL, ended_at = NULL,
                seconds = CASE WHEN basis = excluded.basis AND made = excluded.made THEN seconds END,
                begun_at = CASE WHEN basis = excluded.basis AND made = excluded.made THEN begun_at
                    ELSE excluded.begun_at END,
                basis = excluded.basis, made = excluded.made
            """,
            [key, kind, settings, basis, made, now()],
        )


def add_seconds(db: Database, key: str, seconds: float) -> None:
    """Add to the seconds spent on a step."""
    _update_step(db, key, "seconds = coalesce(seconds, 0) + ?", [seconds])


def finish_step(db: Database, key: str, made: str) -> None:
    """Record that a step is done, and its result."""
    _update_step(db, key, "state = 'done', made = ?, reason = NULL, ended_at = ?", [made, now()])


def fail_step(db: Database, key: str, reason: str) -> None:
    """Record that a step has failed, and why."""
    _update_step(db, key, "state = 'failed', reason = ?, ended_at = ?", [reason, now()])


def _update_step(db: Database, key: str, what: str, values: Sequence[Any]) -> None:
    with db.atomic():
        if not db.execute(f"UPDATE study_steps SET {what} WHERE key = ?", [*values, key]).rowcount:
            raise StoreError("a step of the study has been deleted meanwhile")


_STUDIES = "SELECT name, spec, source, created_at FROM studies"
_STEPS = "SELECT key, kind, settings, basis, state, made, reason, seconds, begun_at, ended_at FROM study_steps"


def dataset_times(db: Database) -> dict[str, str]:
    """Return when each dataset was imported."""
    return dict(db.execute("SELECT name, created_at FROM datasets").fetchall())


def knowledge_kept(db: Database) -> dict[tuple[str, str], tuple[int, int, int, str]]:
    """Return numbers that change with the kept pieces, by dataset and format.

    These are how many there are, their highest number, the sum of their numbers, and when the newest was stored. SQLite
    gives the numbers of deleted pieces to new ones, so the numbers alone would not do.
    """
    rows = db.execute(
        """
        SELECT name, format, count(*), max(knowledge.id), sum(knowledge.id), max(knowledge.created_at)
        FROM knowledge JOIN datasets ON datasets.id = dataset_id WHERE status = 'kept' GROUP BY dataset_id, format
        """
    )
    return {(dataset, format): tuple(rest) for dataset, format, *rest in rows.fetchall()}


def teachers_kept(db: Database) -> set[tuple[str, str, str]]:
    """Return the datasets, formats and teachers that have kept knowledge."""
    rows = db.execute(
        """
        SELECT DISTINCT name, format, teacher FROM knowledge JOIN datasets ON datasets.id = dataset_id
        WHERE status = 'kept'
        """
    )
    return set(rows.fetchall())


def finished_runs(db: Database) -> set[str]:
    """Return the numbers of the finished runs, as text."""
    return {str(number) for (number,) in db.execute("SELECT id FROM runs WHERE finished_at IS NOT NULL").fetchall()}
