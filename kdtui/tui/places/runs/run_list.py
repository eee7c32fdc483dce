"""The runs of the store, with the numbers computed so far."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdtui.tui.places.runs.rows import Entry
from kdtui.tui.places.runs.scoring import MissingNumbers

if TYPE_CHECKING:
    from kdtui.bundling.metrics import Scores
    from kdtui.tui.places.runs.evaluation import EvaluationActivity
    from kdtui.workflows.runs.evaluate import ScoreRow
    from kdtui.workflows.runs.runs import RunRow
    from kdtui.workflows.runs.session_selection import SessionSelection
    from store.runs import RunSummary

UPCOMING = "coming"
"""The key of a run that has not begun."""


@dataclass(frozen=True, slots=True)
class RunListing:
    """The runs, oldest first, and the sessions that each answers.

    Attributes:
        datasets: names of all datasets.
        named_database: the path by which a command names the store, or None for the default.
    """

    summaries: "list[RunSummary]"
    selections: "dict[int, SessionSelection]"
    datasets: list[str]
    named_database: Path | None


class KnownRuns:
    """Runs and floors as table entries, whose numbers come in gradually.

    Attributes:
        listing: the runs of the store.
    """

    def __init__(self) -> None:
        self.listing = RunListing([], {}, [], None)
        self._scores: dict[tuple[int, int, int], RunRow] = {}
        self._floors: dict[SessionSelection, list[ScoreRow]] = {}
        self._tokens: dict[int, float | None] = {}
        self._entries: dict[str, Entry] = {}

    def forget_numbers(self) -> None:
        """Discard all numbers, so that they are computed again."""
        self._scores.clear()
        self._floors.clear()
        self._tokens.clear()

    def add_scores(self, row: "RunRow") -> None:
        self._scores[row.summary.version] = row

    def add_floors(self, selection: "SessionSelection", rows: "list[ScoreRow]") -> None:
        self._floors[selection] = rows

    def add_tokens(self, run: int, tokens: float | None) -> None:
        """Note the prompt size of a run."""
        self._tokens[run] = tokens

    def floors_over(self, selection: "SessionSelection") -> "list[ScoreRow] | None":
        """Return the floors over some sessions; None if they are not computed yet."""
        return self._floors.get(selection)

    def missing(self, *, tokens: bool) -> MissingNumbers | None:
        """Return the numbers still to compute, newest runs first; None if all are known.

        Args:
            tokens: whether to include prompt sizes, which take longest.
        """
        newest_first = self.listing.summaries[::-1]
        unscored = [each for each in newest_first if each.answered and each.version not in self._scores]
        selections = dict.fromkeys(reversed(self.listing.selections.values()))
        floorless = [each for each in selections if each not in self._floors]
        unmeasured = [each.run for each in newest_first if tokens and each.run.id not in self._tokens]
        return MissingNumbers(unscored, floorless, unmeasured) if unscored or floorless or unmeasured else None

    def entries(self, evaluation: "EvaluationActivity | None", *, with_floors: bool, resume_key: str) -> list[Entry]:
        """Return all entries.

        Args:
            evaluation: the running evaluation, if any.
            resume_key: the key that resumes a run.
        """
        upcoming = [_upcoming(evaluation)] if evaluation is not None and evaluation.run is None else []
        floors = self._floor_entries() if with_floors else []
        return [*upcoming, *self._run_entries(evaluation, resume_key), *floors]

    def _run_entries(self, evaluation: "EvaluationActivity | None", resume_key: str) -> Iterator[Entry]:
        for summary in self.listing.summaries:
            number = summary.run.id
            key = f"run {number}"
            row, tokens = self._scores.get(summary.version), self._tokens.get(number)
            if evaluation is not None and evaluation.run == number:
                answered, state = evaluation.answered, evaluation.state
            else:
                answered, state = summary.answered, "finished" if summary.is_over else f"{resume_key} resumes"
            if summary.failed:
                state += f", {summary.failed:,} failed"
            # There can be a thousand runs, and few of them change while numbers come in.
            before = self._entries.get(key)
            current = (summary, row and row.scores, tokens, answered, state)
            if before is not None and current == (
                before.summary,
                before.scores,
                before.tokens,
                before.answered,
                before.state,
            ):
                yield before
                continue
            self._entries[key] = Entry(
                key,
                summary.run.name,
                self.listing.selections[number],
                state,
                summary,
                answered,
                summary.sessions,
                None if row is None else row.scores,
                summary.seconds_per_session,
                tokens,
            )
            yield self._entries[key]

    def _floor_entries(self) -> Iterator[Entry]:
        """Yield, for each set of sessions with runs, the best floor, which is the one to beat."""
        for selection in dict.fromkeys(reversed(self.listing.selections.values())):
            rows = self._floors.get(selection)
            key = f"floors {selection.dataset}/{selection.split}/{selection.limit}/{selection.seed}"
            best = best_floor(rows or [])
            current: tuple[str, Scores | None, str]
            if best is not None:
                current = f"floors: best is {best.name}", best.scores, "floors"
            elif rows is None:
                current = "floors", None, "computing…"
            else:
                # The floors cannot be computed.
                continue
            before = self._entries.get(key)
            if before is None or (before.name, before.scores, before.state) != current:
                name, scores, state = current
                self._entries[key] = Entry(key, name, selection, state, scores=scores)
            yield self._entries[key]


def best_floor(rows: "Sequence[ScoreRow]") -> "ScoreRow | None":
    """Return the floor with the best pair F1, which is the one to beat; None if there are no floors."""
    return max((row for row in rows if row.name != "truth"), key=lambda row: row.scores.pair_f1, default=None)


def _upcoming(evaluation: "EvaluationActivity") -> Entry:
    """Return the entry of a run that is about to begin."""
    from kdtui.workflows.runs.session_selection import SessionSelection
    from kdtui.workflows.student.settings import student_name

    request = evaluation.request
    selection = SessionSelection(request.dataset, request.split, request.settings.limit, request.settings.seed)
    name = student_name(request.settings)
    return Entry(UPCOMING, name, selection, evaluation.state, answered=0, sessions=0)
