"""A calibration in the app: what it is about, how far it is, and what it has found."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.table import Table
from rich.text import Text
from textual.message import Message

from kdtui.bundling.text import counted, one_line
from kdtui.tui.task import Task
from kdtui.workflows.students import student_name
from models.answers import STRATEGIES
from models.embedded import SHIPPED

if TYPE_CHECKING:
    from store.calibrations import StoredCalibration
    from store.records import RunSettings
    from store.sqlite import Database


def usual_strategies(student: str) -> tuple[str, ...]:
    """Those that are compared where none are named: the shipped student is trained for one of them."""
    return ("pairs",) if student == SHIPPED else tuple(STRATEGIES)


class Calibration(Task):
    """A student judges the validation sessions of a dataset by some strategies.

    Args:
        limit: how many sessions at most; all by default.
        values: what the form was filled in with.
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
        values: Mapping[str, str],
        post: Callable[[Message], object],
    ) -> None:
        self._strategies = strategies
        self._sessions = 0
        self._judged: Counter[str] = Counter()
        self._left_out: list[str] = []
        self._results: list[StoredCalibration] = []

        def work(db: "Database") -> Iterator[object]:
            from kdtui.workflows.calibrate import calibrate, sessions_to_learn_from

            sessions = sessions_to_learn_from(db, dataset, limit)
            self._sessions = len(sessions)
            yield from calibrate(db, dataset, settings, strategies, sessions)

        super().__init__(f"calibrating {student_name(settings)} on {dataset}", database, work, post, values)

    def note(self, event: object) -> None:
        """Note what has been judged, left out, or found."""
        from kdtui.workflows.calibrate import Calibrated, SessionJudged, StrategyLeftOut

        match event:
            case SessionJudged(strategy):
                self._judged[strategy] += 1
            case StrategyLeftOut(strategy, reason):
                self._left_out.append(f"{strategy} is left out; {reason}")
            case Calibrated():
                self._results = event.results
        done = [f"{name} {self._judged[name]:,}" for name in self._strategies if self._judged[name]]
        self.step = f"{', '.join(done)} of {counted(self._sessions, 'session')}" if done else ""

    @property
    def is_done(self) -> bool:
        """Whether the results are stored."""
        return bool(self._results)

    @property
    def outcome(self) -> str:
        """Which strategy was chosen."""
        chosen = next((each for each in self._results if each.chosen), None)
        if chosen is None:
            return f"{self.name}: none of the strategies is chosen"
        return f"{self.name}: {chosen.strategy} is chosen, with a pair F1 of {chosen.pair_f1:.3f}"

    @property
    def details(self) -> str:
        """The table as text."""
        return "\n".join(["\t".join(row) for row in self._rows] + self._remarks)

    @property
    def _rows(self) -> list[tuple[str, ...]]:
        return [
            ("strategy", "pair F1", "calibration error", "s/session", ""),
            *(
                (
                    each.strategy,
                    f"{each.pair_f1:.3f}",
                    "–" if each.calibration_error is None else f"{each.calibration_error:.3f}",
                    f"{each.seconds_per_session:.2f}",
                    "chosen" if each.chosen else "",
                )
                for each in self._results
            ),
        ]

    @property
    def _remarks(self) -> list[str]:
        sessions = counted(self._results[0].sessions, "validation session")
        return [f"over {sessions}, each judged by a fit on the others", *self._left_out]

    def as_table(self) -> Table:
        """The strategies, side by side, with what there is to say of them."""
        [titles, *rows] = self._rows
        table = Table(box=None, expand=False, caption=Text(one_line("; ".join(self._remarks), 600)))
        table.caption_justify = "left"
        for title in titles:
            table.add_column(title, justify="left" if title in ("strategy", "") else "right")
        for row in rows:
            table.add_row(*row)
        return table
