"""The task that calibrates a student: its progress and its result."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.table import Table
from rich.text import Text
from textual.message import Message

from kdtui.bundling.subset import subset_in_words
from kdtui.text import counted, one_line
from kdtui.tui.core.task import Task
from kdtui.workflows.student.learning import LearningProgress
from kdtui.workflows.student.settings import student_name

if TYPE_CHECKING:
    from kdtui.workflows.student.calibrate import CalibrationResult
    from store.records import RunSettings
    from store.sqlite import Database


class CalibrationTask(Task):
    """A student judges the validation sessions of a dataset with several strategies.

    Args:
        limit: the number of sessions, drawn at random; None for all.
        seed: the random seed of the sample.
    """

    kind: ClassVar[str] = "calibration"
    action: ClassVar[str] = "models.calibrate"

    def __init__(
        self,
        database: Path,
        dataset: str,
        settings: "RunSettings",
        strategies: Sequence[str],
        limit: int | None,
        seed: int,
        post: Callable[[Message], object],
    ) -> None:
        self._strategies = strategies
        self._sessions = 0
        self._judged: Counter[str] = Counter()
        self._notes: list[str] = []
        self._about = ""
        self._results: list[CalibrationResult] = []

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.student.calibrate import calibrate_strategies, sessions_to_learn_from
            from store.sessions import split_size

            sessions = sessions_to_learn_from(db, dataset, limit, seed)
            self._sessions = len(sessions)
            self._about = counted(len(sessions), "validation session")
            if limit is not None:
                self._about = subset_in_words("valid", len(sessions), split_size(db, dataset, "valid"), seed)
            yield from calibrate_strategies(db, dataset, settings, strategies, sessions, self.report)

        super().__init__(f"calibrating {student_name(settings)} on {dataset}", database, work, post)

    def record(self, event: object) -> None:
        """Record a judged session, a strategy that is left out, or a result."""
        from kdtui.workflows.student.calibrate import Calibrated, ChoiceStays, SessionJudged, StrategyLeftOut
        from kdtui.workflows.student.earlier_calibration import CalibrationsCompared

        match event:
            case SessionJudged(strategy):
                self._judged[strategy] += 1
            case str():
                self._notes.append(event)
            case StrategyLeftOut(strategy, reason):
                self._notes.append(f"{strategy} is left out; {reason}")
            case CalibrationsCompared() | ChoiceStays():
                self._notes.append(event.in_words)
            case Calibrated():
                self._results = event.results
        done = [f"{name} {self._judged[name]:,}" for name in self._strategies if self._judged[name]]
        self.step = f"{', '.join(done)} of {counted(self._sessions, 'session')}" if done else ""
        if isinstance(event, LearningProgress) and event.done < event.total:
            self.step = event.in_short

    @property
    def is_done(self) -> bool:
        """Whether the results are stored."""
        return bool(self._results)

    @property
    def outcome(self) -> str:
        """Which strategy was chosen."""
        chosen = next((each.calibration for each in self._results if each.calibration.chosen), None)
        if chosen is None:
            return f"{self.name}: none of the strategies is chosen"
        return f"{self.name}: {chosen.strategy} is chosen, with a pair F1 of {chosen.pair_f1:.3f}"

    @property
    def details(self) -> str:
        """The table and the remarks as text."""
        return "\n".join(["\t".join(row) for row in self._rows] + self._remarks)

    @property
    def _rows(self) -> list[tuple[str, ...]]:
        return [
            ("strategy", "pair F1", "calibration error", "s/session", "", "", "sessions"),
            *(
                (
                    each.strategy,
                    f"{each.pair_f1:.3f}",
                    "–" if each.calibration_error is None else f"{each.calibration_error:.3f}",
                    f"{each.seconds_per_session:.2f}",
                    "chosen" if each.chosen else "",
                    "new" if is_new else "as before",
                    f"{each.sessions:,}",
                )
                for each, is_new in ((result.calibration, result.is_new) for result in self._results)
            ),
        ]

    @property
    def _remarks(self) -> list[str]:
        return [f"over {self._about}, each scored by a calibration fitted on the others", *self._notes]

    def as_table(self) -> Table:
        """Return a table of the strategies, with the remarks below."""
        [titles, *rows] = self._rows
        table = Table(box=None, expand=False, caption=Text(one_line("; ".join(self._remarks), 600)))
        table.caption_justify = "left"
        for title in titles:
            table.add_column(title, justify="left" if title in ("strategy", "") else "right")
        for row in rows:
            table.add_row(*row)
        return table
