"""A study as the store has it at one moment, and the scores of its cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from kdtui.tui.core.store_worker import named_database
from kdtui.tui.places.runs.scoring import MissingNumbers
from kdtui.tui.places.studies.matrix import MatrixLayout, lay_out

if TYPE_CHECKING:
    from kdtui.bundling.metrics import Scores
    from kdtui.workflows.runs.evaluate import ScoreRow
    from kdtui.workflows.runs.runs import RunRow
    from kdtui.workflows.runs.session_selection import SessionSelection
    from kdtui.workflows.studies.overview import StudyRow
    from kdtui.workflows.studies.plan import StudyPlan
    from kdtui.workflows.studies.progress import CellProgress
    from store.runs import RunSummary
    from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class StudySnapshot:
    """A study as the store has it.

    Attributes:
        layouts: the matrix of each question.
        names: names of the cells, by key.
        runs: runs of the cells that have begun, by number.
        named_database: the path by which a command names the store, or None for the default.
    """

    row: "StudyRow"
    plan: "StudyPlan"
    progress: "Mapping[str, CellProgress]"
    layouts: Sequence[MatrixLayout]
    names: Mapping[str, str]
    runs: "Mapping[int, RunSummary]"
    named_database: Path | None

    def run_of(self, key: str) -> "RunSummary | None":
        """Return the run of a cell, or None if it has not begun."""
        return self.runs.get(self.progress[key].run or 0)


def read_snapshot(db: "Database", database: Path, name: str, begun: frozenset[str]) -> StudySnapshot:
    """Read a study from the store; for worker threads.

    Args:
        begun: keys of the steps that this app runs now.
    """
    from kdtui.workflows.studies.lock import runner_of
    from kdtui.workflows.studies.overview import open_study, study_row
    from kdtui.workflows.studies.progress import cell_progress
    from store.runs import list_runs

    stored, plan = open_study(db, name)
    progress = cell_progress(db, plan, begun)
    numbers = {each.run for each in progress.values()}
    runs = {summary.run.id: summary for summary in list_runs(db) if summary.run.id in numbers}
    row = study_row(stored, plan, runner_of(db))
    layouts = [lay_out(grid) for grid in plan.grids]
    return StudySnapshot(row, plan, progress, layouts, plan.cell_names, runs, named_database(database))


class CellScores:
    """The scores of cells, and the floors over their sessions, as far as they are computed."""

    def __init__(self) -> None:
        self._scores: dict[tuple[int, int, int], RunRow] = {}
        self._floors: dict[SessionSelection, list[ScoreRow]] = {}

    def add_scores(self, row: "RunRow") -> None:
        """Note the scores of a run."""
        self._scores[row.summary.version] = row

    def add_floors(self, selection: "SessionSelection", rows: "list[ScoreRow]") -> None:
        """Note the floors over some sessions."""
        self._floors[selection] = rows

    def floors_over(self, selection: "SessionSelection") -> "list[ScoreRow] | None":
        """Return the floors over some sessions; None if they are not computed yet."""
        return self._floors.get(selection)

    def missing(self, study: StudySnapshot) -> MissingNumbers | None:
        """Return the numbers of finished cells that are still to compute; None if all are known."""
        from kdtui.workflows.runs.session_selection import SessionSelection

        done = [
            study.runs[each.run]
            for each in study.progress.values()
            if each.state == "done" and each.run is not None and each.run in study.runs
        ]
        unscored = [each for each in dict.fromkeys(done) if each.version not in self._scores]
        floorless = [
            each for each in dict.fromkeys(SessionSelection.by(run) for run in done) if each not in self._floors
        ]
        return MissingNumbers(unscored, floorless, []) if unscored or floorless else None

    def of(self, study: StudySnapshot, key: str) -> "RunRow | None":
        """Return the scores of a cell; None if it has none, or they are not computed yet."""
        summary = study.run_of(key)
        return None if summary is None else self._scores.get(summary.version)

    def values(self, study: StudySnapshot, keys: Sequence[str], metric: str) -> dict[str, float | None]:
        """Return a metric of the scored cells, by key; None for a cell without a finite value."""
        rows = {key: row for key in keys if (row := self.of(study, key)) is not None}
        return {key: _metric(row.scores, metric) for key, row in rows.items()}


def _metric(scores: "Scores | None", metric: str) -> float | None:
    value = None if scores is None else float(getattr(scores, metric))
    return value if value is not None and isfinite(value) else None
