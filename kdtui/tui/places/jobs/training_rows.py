"""Trainings as rows of a table."""

from typing import ClassVar

from textual.binding import BindingType

from kdtui.text import duration
from kdtui.tui.actions import bindings
from kdtui.tui.places.jobs.training_snapshot import TrainingSnapshot
from kdtui.tui.places.jobs.training_text import state_text, three_decimals
from kdtui.tui.widgets.row_table import RowTable
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


class TrainingTable(RowTable):
    """The list of trainings. Opening a training is an action of its own, which the footer names."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("trainings")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to open a training only if there is one."""
        return super().check_action(action, parameters) if action != "select" or self.row_count else False


def training_row(training: TrainingSnapshot) -> Row:
    """Return the table row of a training."""
    status, settings = training.status, training.job.settings
    datasets = ", ".join(settings.datasets)
    return Row(
        training.name,
        (
            training.name,
            training.where,
            state_text(training),
            "–" if status.step is None else f"{status.step:,}/{status.steps or '?'}",
            three_decimals(status.loss),
            three_decimals(status.pair_f1),
            duration(status.eta_seconds) or "–",
            f"{datasets} · {', '.join(settings.knowledge)}" if settings.knowledge else datasets,
        ),
    )
