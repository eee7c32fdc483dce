"""Runs that are over, or under way: their scores, what they cost, and two of them compared session by session."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from kdtui.bundling.metrics import Scores, pair_f1
from kdtui.bundling.truth import true_bundles
from kdtui.distill.applicable import AICL, Applicable, roughly
from kdtui.errors import KdtuiError
from kdtui.workflows.evaluate import ResultRow, score_floors, score_run, scores_to_json, split_to_score
from kdtui.workflows.model_names import PATTERNS, is_endpoint
from kdtui.workflows.students import prompt, uses_evidence
from models.answers import Form
from models.errors import ModelError
from store.datasets import get_session, iter_sessions
from store.errors import StoreError
from store.records import Session, Split
from store.runs import Prediction, Run, RunSummary, failures, prediction_of, predictions
from store.sqlite import Database

_PROMPTS = 5
"""Sessions whose prompts are measured: they are alike, and what is nearest to one takes a while to find."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Sessions that runs are compared on: those of a split, or the first `limit` of them (None: all)."""

    dataset: str
    split: Split
    limit: int | None

    @classmethod
    def by(cls, summary: RunSummary) -> "Scored":
        """The sessions of a run."""
        limit = summary.run.settings.limit
        # A limit that leaves nothing out makes no difference.
        return cls(
            summary.run.dataset, summary.run.split, limit if limit is not None and limit <= summary.sessions else None
        )


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run with its scores over what it has answered; None where there are none, and why."""

    summary: RunSummary
    scores: Scores | None
    problem: str | None

    def to_json(self) -> dict[str, object]:
        """A flat object."""
        summary, run = self.summary, self.summary.run
        return {
            "run": run.id,
            "name": run.name,
            "dataset": run.dataset,
            "split": run.split,
            "answered": summary.answered,
            "failed": summary.failed,
            "of": summary.sessions,
            "seconds_per_session": summary.seconds_per_session,
            "created_at": run.created_at,
            "finished_at": run.finished_at,
            "scores": None if self.scores is None else scores_to_json(self.scores),
        }


class Sessions(list[Session]):
    """Sessions that call a function before each step through them; what it raises ends the walk.

    A hundred thousand take minutes, and whoever asked for them may be gone by then.
    """

    def __init__(self, sessions: Iterable[Session], check: Callable[[], None]) -> None:
        super().__init__(sessions)
        self._check = check

    def __iter__(self) -> Iterator[Session]:
        """Each session, after the check."""
        for session in super().__iter__():
            self._check()
            yield session


def _unchecked() -> None:
    """The check of who waits to the end."""


def score_runs(
    db: Database, summaries: Iterable[RunSummary], *, check: Callable[[], None] = _unchecked
) -> Iterator[RunRow]:
    """Score runs, those one after the other that are about the same sessions.

    Args:
        check: called again and again; it raises an error to end the work.
    """
    groups: dict[Scored, list[RunSummary]] = {}
    for summary in summaries:
        groups.setdefault(Scored.by(summary), []).append(summary)
    for scored, group in groups.items():
        try:
            sessions = Sessions(split_to_score(db, scored.dataset, scored.split, scored.limit), check)
        except (KdtuiError, StoreError) as error:
            yield from (RunRow(summary, None, str(error)) for summary in group)
            continue
        for summary in group:
            try:
                yield RunRow(summary, score_run(db, summary.run, sessions).scores, None)
            except KdtuiError as error:
                yield RunRow(summary, None, str(error))


def floors_of(db: Database, scored: Scored, *, check: Callable[[], None] = _unchecked) -> list[ResultRow]:
    """The rows that need no model, over these sessions; `check` as for `score_runs`.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: the split is empty.
    """
    sessions = split_to_score(db, scored.dataset, scored.split, scored.limit)
    return list(score_floors(db, scored.dataset, Sessions(sessions, check)))


def prompt_tokens(db: Database, run: Run) -> float | None:
    """Tokens of the prompt for a session, about, with the knowledge of today; None where that is not known.

    Nothing that is kept of a run says what its prompts were: the first of its sessions are asked for once more.
    """
    settings = run.settings
    if settings.student == PATTERNS:
        return 0.0
    if is_endpoint(settings.student) and settings.strategy == AICL:
        # It is asked many times for a session, and how often depends on what it answers.
        return None
    form: Form = "json" if is_endpoint(settings.student) else "pairs" if settings.strategy == "pairs" else "list"
    try:
        retrieve = None
        if settings.knowledge or settings.strategy == AICL:
            from kdtui.distill.retrieval import Retriever
            from kdtui.workflows.nearest import nearest_for

            retrieve = Retriever(db, run.dataset, settings, nearest_for(db, run.dataset, settings), roughly)
        sizes = [
            sum(
                roughly(message.content)
                for message in prompt(
                    session,
                    Applicable() if retrieve is None else retrieve(session),
                    form,
                    range(1, len(session.items) + 1),
                    has_evidence=uses_evidence(settings),
                )
            )
            for session in islice(iter_sessions(db, run.dataset, split=run.split, limit=_PROMPTS), _PROMPTS)
        ]
    except (KdtuiError, ModelError, StoreError):
        # The knowledge, the sample or the vectors are gone.
        return None
    return sum(sizes) / len(sizes) if sizes else None


@dataclass(frozen=True, slots=True)
class RunInFull:
    """All there is to say of a run, but for its answers."""

    row: RunRow
    floors: tuple[ResultRow, ...]
    failures: tuple[Prediction, ...]
    prompt_tokens: float | None


def run_in_full(
    db: Database,
    summary: RunSummary,
    *,
    floors: tuple[ResultRow, ...] | None = None,
    check: Callable[[], None] = _unchecked,
) -> RunInFull:
    """A run beside the floors over the same sessions, which are computed where they are not given; `check` as for
    `score_runs`."""
    [row] = score_runs(db, [summary], check=check)
    if floors is None:
        try:
            floors = tuple(floors_of(db, Scored.by(summary), check=check))
        except KdtuiError:
            # The dataset has no such split any more; what the run is stays true.
            floors = ()
    return RunInFull(row, floors, tuple(failures(db, summary.run)), prompt_tokens(db, summary.run))


@dataclass(frozen=True, slots=True)
class SessionScores:
    """How two runs did on a session: pair F1 of each, and whether its set of bundles is the true one.

    Attributes:
        products, bundles: how many the session has.
    """

    session: str
    products: int
    bundles: int
    f1: tuple[float, float]
    exact: tuple[bool, bool]

    @property
    def difference(self) -> float:
        """By how much the second one is better."""
        return self.f1[1] - self.f1[0]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, session by session.

    Attributes:
        rows: the sessions that both have answered; an answer without bundles, for whatever reason, has none.
        alone: how many sessions only the one or the other has answered.
    """

    runs: tuple[Run, Run]
    rows: list[SessionScores]
    alone: tuple[int, int]

    @property
    def won(self) -> int:
        """On how many sessions the second one is better."""
        return sum(row.difference > 0 for row in self.rows)

    @property
    def lost(self) -> int:
        """On how many sessions the first one is better."""
        return sum(row.difference < 0 for row in self.rows)

    @property
    def equal(self) -> int:
        """On how many sessions neither is better."""
        return len(self.rows) - self.won - self.lost

    @property
    def means(self) -> tuple[float, float]:
        """Pair F1 of each, over these sessions."""
        one, other = (sum(row.f1[which] for row in self.rows) / len(self.rows) for which in (0, 1))
        return one, other


def why_incomparable(one: Run, other: Run) -> str | None:
    """In what the sessions of two runs differ, as a sentence without a full stop; None where they may have some in
    common."""
    if one.dataset != other.dataset:
        about = one.dataset, other.dataset
    elif one.split != other.split:
        about = f"the {one.split} split", f"the {other.split} split"
    else:
        return None
    different = f"run {one.id} is about {about[0]}, and run {other.id} about {about[1]}"
    return f"{different}; only runs over the same sessions can be compared"


def compare_runs(db: Database, one: Run, other: Run, *, check: Callable[[], None] = _unchecked) -> Comparison:
    """Compare two runs on the sessions that both have answered, those first where the second does worst; `check` as for
    `score_runs`.

    Raises:
        KdtuiError: there are no such sessions.
    """
    if (problem := why_incomparable(one, other)) is not None:
        raise KdtuiError(problem)
    answers = predictions(db, one), predictions(db, other)
    rows = []
    for session in iter_sessions(db, one.dataset, split=one.split):
        check()
        if session.id in answers[0] and session.id in answers[1]:
            truth = true_bundles(session)
            found = [bundles_of(each[session.id]) for each in answers]
            rows.append(
                SessionScores(
                    session.id,
                    len(session.items),
                    len(truth),
                    (pair_f1(truth, found[0]), pair_f1(truth, found[1])),
                    (set(found[0]) == set(truth), set(found[1]) == set(truth)),
                )
            )
    if not rows:
        raise KdtuiError(f"runs {one.id} and {other.id} have answered no session in common")
    rows.sort(key=lambda row: row.difference)
    return Comparison((one, other), rows, (len(answers[0]) - len(rows), len(answers[1]) - len(rows)))


def bundles_of(prediction: Prediction) -> list[frozenset[int]]:
    """The bundles of an answer that count: those of two products or more."""
    return [frozenset(bundle.positions) for bundle in prediction.bundles or () if len(bundle.positions) > 1]


@dataclass(frozen=True, slots=True)
class AnsweredTwice:
    """A session, and what two runs answered; None where a run has been deleted meanwhile."""

    session: Session
    answers: tuple[Prediction | None, Prediction | None]


def answered_twice(db: Database, one: Run, other: Run, session: str) -> AnsweredTwice:
    """A session with the answers of two runs.

    Raises:
        NotFound: there is no such session.
    """
    return AnsweredTwice(
        get_session(db, one.dataset, session), (prediction_of(db, one, session), prediction_of(db, other, session))
    )
