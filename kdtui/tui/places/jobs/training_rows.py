"""Trainings as rows."""

from kdtui.text import duration
from kdtui.tui.places.jobs.training import Training, number, state_text
from kdtui.tui.widgets.rows import Column, Row

COLUMNS = (
    Column("Training", 12, share=3),
    Column("Where", 6, share=1),
    Column("State", 9),
    Column("Step", 9, share=1, right=True),
    Column("Loss", 6, right=True),
    Column("F1", 5, right=True),
    Column("Left", 7, right=True),
    Column("Of", 10, share=4),
)


def row_of(training: Training) -> Row:
    """A training as cells."""
    status, settings = training.status, training.job.settings
    of = ", ".join(settings.datasets)
    return Row(
        training.name,
        (
            training.name,
            training.where,
            state_text(training),
            "–" if status.step is None else f"{status.step:,}/{status.steps or '?'}",
            number(status.loss),
            number(status.pair_f1),
            duration(status.eta_seconds) or "–",
            f"{of} · {', '.join(settings.knowledge)}" if settings.knowledge else of,
        ),
    )
