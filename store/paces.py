"""Speeds of deleted trainings, kept for later estimates."""

from dataclasses import astuple, dataclass, replace

from store.database import now
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class TrainingPace:
    """The speed of a training, what it needed, and what that depends on.

    Attributes:
        training: its key.
        host: the host it ran on; None for this machine.
        base: file name, folder name or id of the base.
        batch_tokens: tokens of a batch.
        tokens_per_second: of all processes together, counting steps only.
        start_seconds: time until the first step.
        valid_seconds: time of an evaluation per token of the validation examples; None without evaluation.
        peak_memory_bytes: of the GPU if there is one, otherwise of the process.
        device: name of the GPU, or "cpu".
    """

    training: str
    host: str | None
    base: str
    form: str
    batch_tokens: int
    precision: str
    recompute: bool
    processes: int
    tokens_per_second: float
    start_seconds: float
    valid_seconds: float | None
    peak_memory_bytes: int
    device: str


_COLUMNS = ", ".join(TrainingPace.__slots__)
_RECOMPUTE = TrainingPace.__slots__.index("recompute")


def keep_pace(db: Database, pace: TrainingPace) -> None:
    """Store the speed of a training that will be deleted, or that continues on another host."""
    marks = ", ".join("?" * (len(TrainingPace.__slots__) + 1))
    with db.atomic():
        db.execute(f"INSERT INTO training_paces ({_COLUMNS}, created_at) VALUES ({marks})", [*astuple(pace), now()])


def kept_paces(db: Database) -> list[TrainingPace]:
    """Return the stored speeds, newest first."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM training_paces ORDER BY rowid DESC").fetchall()
    # SQLite has no booleans.
    return [replace(TrainingPace(*row), recompute=bool(row[_RECOMPUTE])) for row in rows]
