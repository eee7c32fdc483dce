"""How fast trainings were, of those that are not there any more."""

from dataclasses import astuple, dataclass, replace

from store.database import now
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class TrainingPace:
    """How fast a training was, what it needed, and what that depends on.

    Attributes:
        training: its key.
        host: where it ran; None for here.
        base: the name of its file or folder, or its id.
        batch_tokens: tokens of a batch.
        tokens_per_second: in steps alone, of all processes.
        start_seconds: until the first step.
        valid_seconds: of an evaluation, for each token of the validation examples; None where there was none.
        peak_memory_bytes: of the GPU where there is one, otherwise of the process.
        device: the name of the GPU, or cpu.
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
    """Keep how fast a training was that will be deleted, or goes on elsewhere."""
    marks = ", ".join("?" * (len(TrainingPace.__slots__) + 1))
    with db.atomic():
        db.execute(f"INSERT INTO training_paces ({_COLUMNS}, created_at) VALUES ({marks})", [*astuple(pace), now()])


def kept_paces(db: Database) -> list[TrainingPace]:
    """Those that were kept, the newest first."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM training_paces ORDER BY rowid DESC").fetchall()
    # SQLite knows no truth values.
    return [replace(TrainingPace(*row), recompute=bool(row[_RECOMPUTE])) for row in rows]
