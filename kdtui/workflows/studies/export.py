"""The measures of a study as tidy rows for other tools, one for each cell and session."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdtui.bundling.tables import csv_lines
from kdtui.errors import KdtuiError
from kdtui.workflows.runs.session_measures import MEASURES
from kdtui.workflows.studies.grid import Arm
from kdtui.workflows.studies.measures import run_measures
from kdtui.workflows.studies.plan import StudyPlan
from kdtui.workflows.studies.spec import AXES
from kdtui.workflows.studies.steps import step_key
from store.runs import get_run
from store.sqlite import Database

COLUMNS = ("question", *AXES, "run", "session", *MEASURES, *(f"{name}_weight" for name in MEASURES))
"""A measure of a session is a mean. Its weight is the number of values; the measure is empty if the weight is 0."""

_AT_ONCE = 50_000
"""Rows that are held in memory at a time."""


def export_rows(db: Database, plan: StudyPlan) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of all finished cells, in the order of `COLUMNS`.

    A cell comes once for each of its positions in a grid.

    Raises:
        KdtuiError: no cell is finished.
    """
    if not any(cell.status == "done" for cell in plan.cells):
        raise KdtuiError(f"no cell of study {plan.spec.name} is done yet; there is nothing to export")
    for grid in plan.grids:
        for arm in grid.arms:
            yield from _rows(db, plan, grid.question.title, arm)


def _rows(db: Database, plan: StudyPlan, title: str, arm: Arm) -> Iterator[tuple[Any, ...]]:
    cell = plan.steps[step_key(arm.cell)]
    if cell.status != "done" or cell.stored is None:
        return
    run = get_run(db, int(cell.stored.made))
    measured = run_measures(db, run)
    at = tuple(arm.at[axis] for axis in AXES)
    for session, totals in zip(measured.sessions, measured.by_session(), strict=True):
        values = [float(total / weight) if weight else None for total, weight in totals]
        yield (title, *at, run.id, session, *values, *(float(weight) for _, weight in totals))


def write_csv(path: Path, rows: Iterator[tuple[Any, ...]]) -> int:
    """Write rows as CSV, and return their number.

    Raises:
        BadFile: the file cannot be written.
    """
    from kdtui.exchange.output import write_lines

    def lines() -> Iterator[bytes]:
        yield csv_lines(COLUMNS, ()).encode()
        for row in rows:
            yield csv_lines(None, [row]).encode()

    return write_lines(path, lines()) - 1


def write_parquet(path: Path, rows: Iterator[tuple[Any, ...]]) -> int:
    """Write rows as Parquet, and return their number.

    Raises:
        BadFile: the file cannot be written.
        KdtuiError: pyarrow is not installed.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise KdtuiError("pyarrow is needed to write Parquet; install it with: pip install 'kdtui[parquet]'") from error
    from itertools import islice

    from kdtui.errors import BadFile
    from models.files.whole_files import replacing

    whole = dict.fromkeys(("rank", "training_sessions", "seed", "run"), arrow.int64())
    measures = {name: arrow.float64() for name in COLUMNS if name in MEASURES or name.endswith("_weight")}
    types = {**dict.fromkeys(COLUMNS, arrow.string()), **whole, "ratio": arrow.float64(), **measures}
    schema = arrow.schema([(name, types[name]) for name in COLUMNS])
    count = 0
    try:
        with replacing(path) as file, parquet.ParquetWriter(file, schema) as writer:
            while block := list(islice(rows, _AT_ONCE)):
                columns = dict(zip(COLUMNS, zip(*block, strict=True), strict=True))
                writer.write_table(arrow.table(columns, schema=schema))
                count += len(block)
    except OSError as error:
        raise BadFile(path, f"{error.strerror}; nothing was written") from error
    return count
