"""The runs that there are, with all that has been computed of them so far."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdtui.tui.places.runs.rows import Entry
from kdtui.tui.places.runs.scoring import Missing

if TYPE_CHECKING:
    from kdtui.bundling.metrics import Scores
    from kdtui.tui.places.runs.evaluation import EvaluationActivity
    from kdtui.workflows.runs.evaluate import ScoreRow
    from kdtui.workflows.runs.runs import RunRow
    from kdtui.workflows.runs.scored import ScoredSessions
    from store.runs import RunSummary

COMING = "coming"
"""The key of a run that has not begun."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The runs, the oldest first, and the sessions that each is about.

    Attributes:
        datasets: those that there are.
        named_database: how a command names the store.
    """

    summaries: "list[RunSummary]"
    scored: "dict[int, ScoredSessions]"
    datasets: list[str]
    named_database: Path | None


class KnownRuns:
    """Runs and floors, as entries of a table that get more numbers as these are computed.

    Attributes:
        listing: what the store has.
    """

    def __init__(self) -> None:
        self.listing = Listing([], {}, [], None)
        self._scores: dict[tuple[int, int, int], RunRow] = {}
        self._floors: dict[ScoredSessions, list[ScoreRow]] = {}
        self._tokens: dict[int, float | None] = {}
        self._made: dict[str, Entry] = {}

    def forget_numbers(self) -> None:
        """Have all of them missing again."""
        self._scores.clear()
        self._floors.clear()
        self._tokens.clear()

    def add_scores(self, row: "RunRow") -> None:
        """Note the scores of a run."""
        self._scores[row.summary.version] = row

    def add_floors(self, scored: "ScoredSessions", rows: "list[ScoreRow]") -> None:
        """Note the floors over some sessions."""
        self._floors[scored] = rows

    def add_tokens(self, run: int, tokens: float | None) -> None:
        """Note what a run reads."""
        self._tokens[run] = tokens

    def floors_over(self, scored: "ScoredSessions") -> "list[ScoreRow] | None":
        """The floors over some sessions; None where they are not computed yet."""
        return self._floors.get(scored)

    def missing(self, *, tokens: bool) -> Missing | None:
        """What is not known yet, of the newest runs first; None where all is known.

        Args:
            tokens: whether the size of prompts is asked for: it takes the longest.
        """
        newest_first = self.listing.summaries[::-1]
        unscored = [each for each in newest_first if each.answered and each.version not in self._scores]
        scored = dict.fromkeys(reversed(self.listing.scored.values()))
        floorless = [each for each in scored if each not in self._floors]
        unmeasured = [each.run for each in newest_first if tokens and each.run.id not in self._tokens]
        return Missing(unscored, floorless, unmeasured) if unscored or floorless or unmeasured else None

    def entries(self, work: "EvaluationActivity | None", *, with_floors: bool, resume: str) -> list[Entry]:
        """All of them.

        Args:
            work: the evaluation that is at work.
            resume: the key that goes on with a run.
        """
        coming = [_coming(work)] if work is not None and work.run is None else []
        return [*coming, *self._runs(work, resume), *(self._floor_entries() if with_floors else [])]

    def _runs(self, work: "EvaluationActivity | None", resume: str) -> Iterator[Entry]:
        """The runs, with what is known of them."""
        for summary in self.listing.summaries:
            number = summary.run.id
            key = f"run {number}"
            row, tokens = self._scores.get(summary.version), self._tokens.get(number)
            if work is not None and work.run == number:
                answered, state = work.answered, work.state
            else:
                answered, state = summary.answered, "finished" if summary.is_over else f"{resume} goes on"
            if summary.failed:
                state += f", {summary.failed:,} failed"
            # There may be a thousand, and while numbers come in few of them change.
            before = self._made.get(key)
            known = (summary, row and row.scores, tokens, answered, state)
            if before is not None and known == (
                before.summary,
                before.scores,
                before.tokens,
                before.answered,
                before.state,
            ):
                yield before
                continue
            self._made[key] = Entry(
                key,
                summary.run.name,
                self.listing.scored[number],
                state,
                summary,
                answered,
                summary.sessions,
                None if row is None else row.scores,
                summary.seconds_per_session,
                tokens,
            )
            yield self._made[key]

    def _floor_entries(self) -> Iterator[Entry]:
        """The floors over the sessions of runs: for all of them together the best, which is the one to beat."""
        for scored in dict.fromkeys(reversed(self.listing.scored.values())):
            rows = self._floors.get(scored)
            key = f"floors {scored.dataset}/{scored.split}/{scored.limit}/{scored.seed}"
            best = best_floor(rows or [])
            known: tuple[str, Scores | None, str]
            if best is not None:
                known = f"floors: best is {best.name}", best.scores, "floors"
            elif rows is None:
                known = "floors", None, "computing…"
            else:
                # They cannot be computed.
                continue
            before = self._made.get(key)
            if before is None or (before.name, before.scores, before.state) != known:
                name, scores, state = known
                self._made[key] = Entry(key, name, scored, state, scores=scores)
            yield self._made[key]


def best_floor(rows: "Sequence[ScoreRow]") -> "ScoreRow | None":
    """The floor of the best pair F1, which is what a student has to beat; None where there are none."""
    return max((row for row in rows if row.name != "truth"), key=lambda row: row.scores.pair_f1, default=None)


def _coming(work: "EvaluationActivity") -> Entry:
    """The run that is about to begin."""
    from kdtui.workflows.runs.scored import ScoredSessions
    from kdtui.workflows.student.settings import student_name

    wanted = work.wanted
    scored = ScoredSessions(wanted.dataset, wanted.split, wanted.settings.limit, wanted.settings.seed)
    return Entry(COMING, student_name(wanted.settings), scored, work.state, answered=0, sessions=0)
