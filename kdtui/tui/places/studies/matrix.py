"""The grid of a question as matrices, and the contents of their cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from kdtui.text import short_number
from kdtui.tui.widgets.matrix import CELL, Block, MatrixCell

if TYPE_CHECKING:
    from kdtui.workflows.studies.grid import Grid
    from kdtui.workflows.studies.progress import CellProgress

METRIC_NAMES = {
    "pair_f1": "pair F1",
    "strict_precision": "strict precision",
    "strict_recall": "strict recall",
    "exact": "exact",
}
"""The metrics that colour cells, in the order in which a key switches them."""

_PREFERRED_AXES = ("formats", "utilization")
"""Axes that become rows and columns unless others have more values."""


@dataclass(frozen=True, slots=True)
class MatrixLayout:
    """The grid of a question as matrices; `corner` names rows and columns."""

    corner: str
    blocks: tuple[Block, ...]


def lay_out(grid: "Grid") -> MatrixLayout:
    """Make the two axes of most values rows and columns, and one matrix for each combination of the others."""
    from kdtui.workflows.studies.results import value_label
    from kdtui.workflows.studies.spec import AXES, as_mapping
    from kdtui.workflows.studies.steps import step_key

    values = as_mapping(grid.question)
    # Seeds repeat a cell, so they become an axis only if nothing else varies.
    ranked = sorted(AXES, key=lambda axis: (len(values[axis]) < 2, axis == "seed", -len(values[axis]), _rank(axis)))
    rows, columns = ranked[:2]
    if _length(rows, values[rows]) < _length(columns, values[columns]):
        rows, columns = columns, rows
    others = [axis for axis in AXES if axis not in (rows, columns) and len(values[axis]) > 1]
    keys = {tuple(arm.at[axis] for axis in (*others, rows, columns)): step_key(arm.cell) for arm in grid.arms}
    blocks = [
        Block(
            " · ".join(_named(axis, value) for axis, value in zip(others, at, strict=True)),
            tuple(value_label(rows, value) for value in values[rows]),
            tuple(value_label(columns, value) for value in values[columns]),
            tuple(tuple(keys.get((*at, row, column)) for column in values[columns]) for row in values[rows]),
        )
        for at in product(*(values[axis] for axis in others))
    ]
    # Blocks without cells are left out; the notes of the study say why.
    return MatrixLayout(f"{rows} / {columns}", tuple(block for block in blocks if any(map(any, block.keys))))


def _rank(axis: str) -> int:
    return _PREFERRED_AXES.index(axis) if axis in _PREFERRED_AXES else len(_PREFERRED_AXES)


def _length(axis: str, values: Sequence[Any]) -> int:
    from kdtui.workflows.studies.results import value_label

    return max(len(value_label(axis, value)) for value in values)


def _named(axis: str, value: Any) -> str:
    """Return the label of a value with its axis."""
    from kdtui.workflows.studies.results import value_label

    label = value_label(axis, value)
    return label if label.startswith(axis) else f"{axis} {label}"


@dataclass(frozen=True, slots=True)
class Scale:
    """The range of a metric over the finished cells of a question."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float]) -> "Scale | None":
        """Return the range of some values; None if there are none."""
        return cls(min(values), max(values)) if values else None

    def level(self, value: float) -> float:
        """Return the position of a value in the range, 0..1; the middle if all values are equal."""
        return 0.5 if self.high == self.low else (value - self.low) / (self.high - self.low)


def matrix_cells(
    progress: "Mapping[str, CellProgress]", scores: Mapping[str, float | None], *, is_running: bool
) -> dict[str, MatrixCell]:
    """Return the contents of the cells of a question.

    Args:
        progress: the progress of each cell.
        scores: the metric of the scored cells; None for a cell without a value.
        is_running: whether the study runs anywhere; otherwise steps that have begun are paused.
    """
    scale = Scale.over([value for value in scores.values() if value is not None])
    return {key: _cell(each, key, scores, scale, is_running=is_running) for key, each in progress.items()}


def _cell(
    progress: "CellProgress", key: str, scores: Mapping[str, float | None], scale: Scale | None, *, is_running: bool
) -> MatrixCell:
    match progress.state:
        case "done" if key not in scores:
            return MatrixCell("✓ …")
        case "done":
            value = scores[key]
            if value is None or scale is None:
                return MatrixCell("✓ –")
            return MatrixCell(short_number(value), scale.level(value))
        case "answering":
            return MatrixCell(_so_far("▶" if is_running else "‖", progress), None, "warning")
        case "waiting":
            return MatrixCell(_so_far("◔", progress), None, "warning")
        case "failed":
            return MatrixCell("✗ failed", None, "error")
        case "blocked":
            return MatrixCell("■ blocked", None, "error")
        case "to do":
            return MatrixCell("○ again" if progress.why else "○ to do")


def _so_far(sign: str, progress: "CellProgress") -> str:
    if progress.amount is None:
        return f"{sign} waits" if progress.state == "waiting" else f"{sign} begun"
    done, of = progress.amount
    text = f"{sign} {done}/{of}"
    return text if len(text) <= CELL else f"{sign} {done / of:.0%}"
