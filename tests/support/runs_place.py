"""Helpers for tests of the place Runs: runs, and the contents of the screen."""

from pathlib import Path
from time import monotonic

from textual.pilot import Pilot

from kdtui.tui.app import KdtuiApp
from kdtui.tui.places.runs.rows import COLUMNS
from kdtui.tui.places.runs.screen import RunsScreen
from kdtui.workflows.runs import evaluate
from store.database import open_database
from store.records import RunSettings
from store.runs import list_runs
from tests.support.screens import Settle, rows
from tests.support.waiting import PATIENCE


def add_run(path: Path, split: str = "test", name: str | None = None, keep: int | None = None) -> None:
    """Store a run of the pattern student with answers to `keep` sessions, or to all."""
    db = open_database(path)
    sessions = evaluate.split_to_score(db, "demo-outdoor", split, None)  # type: ignore[arg-type]
    list(evaluate.evaluate_split(db, "demo-outdoor", split, RunSettings("patterns"), sessions))  # type: ignore[arg-type]
    number = list_runs(db)[-1].run.id
    if name is not None:
        db.execute("UPDATE runs SET student = ? WHERE id = ?", [name, number])
    if keep is not None:
        db.execute(
            "DELETE FROM predictions WHERE run_id = ? AND rowid NOT IN "
            "(SELECT rowid FROM predictions WHERE run_id = ? LIMIT ?)",
            [number, number, keep],
        )
        db.execute("UPDATE runs SET finished_at = NULL WHERE id = ?", [number])
    assert db.conn is not None
    db.conn.commit()
    db.close()


def run_rows(app: KdtuiApp) -> list[dict[str, str]]:
    """Return the cells of each row by the labels of their columns."""
    labels = [column.label for column in COLUMNS]
    return [dict(zip(labels, row, strict=True)) for row in rows(app)]


def row_of(app: KdtuiApp, number: int) -> dict[str, str]:
    return next(row for row in run_rows(app) if row["Run"] == str(number))


def cells_of(row: dict[str, str], *labels: str) -> list[str]:
    return [row[label] for label in labels]


def numbers(app: KdtuiApp) -> list[str]:
    return [row["Run"] for row in run_rows(app) if row["Run"] != "–"]


async def open_runs(pilot: Pilot[None], settle: Settle) -> None:
    await settle(pilot)
    await pilot.press("6")
    await wait_until_computed(pilot, settle)


async def wait_until_computed(pilot: Pilot[None], settle: Settle) -> None:
    """Wait until all numbers are computed and shown."""
    await settle(pilot)
    screen = pilot.app.screen
    deadline = monotonic() + PATIENCE
    while isinstance(screen, RunsScreen) and (screen.is_computing or screen.is_redrawing):
        assert monotonic() < deadline, "the numbers never come"
        await pilot.pause(0.01)
    await settle(pilot)
