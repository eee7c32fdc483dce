"""Finished and running runs: their scores, their costs, and comparisons session by session."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from kdtui.bundling.answer_sums import AnswerSums
from kdtui.bundling.intent_metrics import IntentScores
from kdtui.bundling.metrics import Scores, has_intent_scores, pair_f1
from kdtui.bundling.truth import true_bundles
from kdtui.distill.applicable import AICL, Applicable, estimate_tokens
from kdtui.distill.student_prompt import session_prompt
from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import PATTERNS, is_endpoint
from kdtui.workflows.runs.cached_scores import cache_scores_of, cached_scores_of
from kdtui.workflows.runs.compared_sessions import ComparedSessions, SessionScores
from kdtui.workflows.runs.costs import RunCost, costs_of
from kdtui.workflows.runs.evaluate import ScoreRow, answered_by, pages_of, score_run, scores_to_json
from kdtui.workflows.runs.floors import CheckedSessions, no_check, score_floors
from kdtui.workflows.runs.intent_cosine import IntentCosine, lacks_cosine
from kdtui.workflows.runs.intent_floors import intent_floors
from kdtui.workflows.runs.session_selection import SessionSelection
from kdtui.workflows.student.limits import intent_writer
from kdtui.workflows.student.settings import uses_evidence
from models.embedded import SHIPPED
from models.errors import ModelError
from models.student_protocol import Form
from store.errors import NotFound, StoreError
from store.predictions import (
    PredictedBundle,
    Prediction,
    answered_among,
    count_answers,
    failures,
    prediction_of,
    predictions_for,
)
from store.records import Session
from store.runs import Run, RunSummary, summary_of
from store.samples import Draw, get_sample
from store.sessions import draw_sessions, get_session
from store.split_sessions import SplitSessions
from store.sqlite import Database

_MOST_SCORED = 10_000
"""Answered sessions of an unfinished run, at most, that floors are scored over. Such floors are not stored."""

_PROMPTS = 5
"""Sessions whose prompts are measured: they are alike, and finding the nearest sessions of each takes a while."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run with its scores over the sessions that it has answered; or None and the reason.

    Attributes:
        cost: of a session.
        ratios: of the parts of its knowledge sample; empty if it used all knowledge, or the sample is gone.
    """

    summary: RunSummary
    scores: Scores | None
    problem: str | None
    cost: RunCost
    ratios: tuple[float, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return a flat object."""
        summary, run = self.summary, self.summary.run
        return {
            "run": run.id,
            "name": run.name,
            "student": run.settings.student,
            "knowledge": list(run.settings.knowledge),
            "sample": run.settings.sample,
            "domains": run.settings.domains,
            "ratio": self.ratios[0] if len(self.ratios) == 1 else list(self.ratios) or None,
            "strategy": run.settings.strategy,
            "adapters": [[name, scale] for name, scale in run.settings.adapters],
            "tags": list(run.tags),
            "note": run.note or None,
            "dataset": run.dataset,
            "split": run.split,
            "limit": run.settings.limit,
            "seed": run.settings.seed,
            "split_sessions": summary.split_size,
            "answered": summary.answered,
            "failed": summary.failed,
            "of": summary.sessions,
            "seconds_per_session": summary.seconds_per_session,
            "created_at": run.created_at,
            "finished_at": run.finished_at,
            "cost": self.cost.to_json(),
            "scores": None if self.scores is None else scores_to_json(self.scores),
        }


def score_runs(
    db: Database, summaries: Iterable[RunSummary], *, check: Callable[[], None] = no_check
) -> Iterator[RunRow]:
    """Score runs, grouping those over the same sessions.

    Args:
        check: called repeatedly; it raises an error to end the work.
    """
    summaries = list(summaries)
    ratios, costs = _ratios_of(db), costs_of(db, summaries)
    groups: dict[SessionSelection, list[RunSummary]] = {}
    for summary in summaries:
        groups.setdefault(SessionSelection.by(summary), []).append(summary)
    for selection, group in groups.items():
        try:
            sessions = CheckedSessions(selection.sessions(db), check)
        except (KdtuiError, StoreError) as error:
            yield from (
                RunRow(summary, None, str(error), costs[summary.run.id], ratios(summary.run)) for summary in group
            )
            continue
        for summary in group:
            try:
                scores, problem = _scores_over(db, summary, sessions), None
            except KdtuiError as error:
                scores, problem = None, str(error)
            yield RunRow(summary, scores, problem, costs[summary.run.id], ratios(summary.run))


def scores_of(db: Database, summary: RunSummary, *, check: Callable[[], None] = no_check) -> Scores:
    """Return the scores of a run, computing them if they are not stored; `check` as for `score_runs`.

    Raises:
        KdtuiError: it has answered no session, or the split is empty.
    """
    return _scores_over(db, summary, CheckedSessions(SessionSelection.by(summary).sessions(db), check))


def _scores_over(db: Database, summary: RunSummary, sessions: CheckedSessions) -> Scores:
    """Return the scores over the sessions of the run."""
    if (cached := cached_scores_of(db, summary.run, summary.answered, summary.failed)) is not None:
        return cached
    scores = score_run(db, summary.run, sessions).scores
    # More sessions can have been answered meanwhile.
    if scores.sessions == summary.answered and not lacks_cosine(scores):
        cache_scores_of(db, summary.run, scores, summary.failed)
    return scores


def _ratios_of(db: Database) -> Callable[[Run], tuple[float, ...]]:
    """Return a function that gives the ratios of the parts of a run's sample with its dataset and its formats."""

    @cache
    def draws(sample: str) -> tuple[Draw, ...]:
        try:
            return get_sample(db, sample).draws
        except NotFound:
            return ()

    def ratios(run: Run) -> tuple[float, ...]:
        settings = run.settings
        parts = draws(settings.sample) if settings.sample is not None else ()
        return tuple(
            dict.fromkeys(
                draw.ratio
                for draw in parts
                if (settings.domains == "all" or draw.dataset == run.dataset) and draw.format in settings.knowledge
            )
        )

    return ratios


def prompt_tokens(db: Database, run: Run) -> float | None:
    """Estimate the tokens of the prompt for a session with the present knowledge; None if unknown.

    Prompts of runs are not stored, so those of a few sessions are made again.
    """
    settings = run.settings
    if settings.student == PATTERNS:
        return 0.0
    if is_endpoint(settings.student) and settings.strategy == AICL:
        # It is asked many times for a session. How often depends on its answers.
        return None
    form: Form = "json" if is_endpoint(settings.student) else "pairs" if settings.strategy == "pairs" else "list"
    try:
        if settings.student == SHIPPED or intent_writer(db, settings) is not None:
            # It is asked about each bundle separately, and their number is not known beforehand.
            return None
        retrieve = None
        if settings.knowledge or settings.strategy == AICL:
            from kdtui.workflows.student.nearest import make_retriever

            retrieve = make_retriever(db, run.dataset, settings, estimate_tokens)
        sizes = [
            sum(
                estimate_tokens(message.content)
                for message in session_prompt(
                    session,
                    Applicable() if retrieve is None else retrieve(session),
                    form,
                    range(1, len(session.items) + 1),
                    has_evidence=uses_evidence(settings),
                )
            )
            for session in draw_sessions(db, run.dataset, run.split, _PROMPTS, settings.seed or 0)
        ]
    except (KdtuiError, ModelError, StoreError):
        # The knowledge, the sample, the vectors or the adapter no longer exist.
        return None
    return sum(sizes) / len(sizes) if sizes else None


@dataclass(frozen=True, slots=True)
class RunDetails:
    """What is known about a run, except its answers.

    Attributes:
        failures: the sessions without an answer, with the reason; `summary.failed` is their full number.
        intent_floors: as in a `ScoreRow`.
    """

    row: RunRow
    floors: tuple[ScoreRow, ...]
    failures: tuple[Prediction, ...]
    prompt_tokens: float | None
    intent_floors: Mapping[str, IntentScores]


def run_details(
    db: Database,
    summary: RunSummary,
    *,
    floors: tuple[ScoreRow, ...],
    most_failures: int | None = None,
    check: Callable[[], None] = no_check,
) -> RunDetails:
    """Return a run with the floors over the same sessions.

    Args:
        floors: over all sessions of the run; empty if they are not computed. An unfinished run gets floors over the
            sessions that it has answered instead, unless these are very many.
        most_failures: that are included; None for all.
        check: as for `score_runs`.
    """
    [row] = score_runs(db, [summary], check=check)
    failed_sessions = failures(db, summary.run, most_failures) if summary.failed else ()
    named: Mapping[str, IntentScores] = {}
    if row.scores is not None and has_intent_scores(row.scores):
        named = intent_floors(db, summary.run, CheckedSessions(SessionSelection.by(summary).sessions(db), check))
    if not summary.is_over:
        floors = _floors_over_answered(db, summary, check)
    return RunDetails(row, floors, tuple(failed_sessions), prompt_tokens(db, summary.run), named)


def _floors_over_answered(db: Database, summary: RunSummary, check: Callable[[], None]) -> tuple[ScoreRow, ...]:
    # The dataset may have lost the split since.
    if not summary.split_size or not 0 < summary.answered <= _MOST_SCORED:
        return ()
    sessions = CheckedSessions(SessionSelection.by(summary).sessions(db), check)
    answered = [session for session, _ in answered_by(db, summary.run, sessions)]
    return tuple(score_floors(db, summary.run.dataset, CheckedSessions(answered, check)))


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs, session by session.

    Attributes:
        rows: the sessions that both have answered; a failed answer has no bundles.
        alone: sessions that only the first or the second run has answered.
        results: of each run, its scores over these sessions, and its mean cost over all its sessions.
        won, lost: sessions on which the second run is better, and worse.
    """

    runs: tuple[Run, Run]
    rows: ComparedSessions
    alone: tuple[int, int]
    results: tuple[ScoreRow, ScoreRow]
    won: int
    lost: int

    @property
    def equal(self) -> int:
        """The number of sessions on which neither is better."""
        return len(self.rows) - self.won - self.lost

    @property
    def means(self) -> tuple[float, float]:
        """Pair F1 of each, over these sessions."""
        one, other = self.results
        return one.scores.pair_f1, other.scores.pair_f1


def why_incomparable(one: Run, other: Run) -> str | None:
    """Say why two runs cannot share sessions, as a sentence without a full stop; None if they can."""
    if one.dataset != other.dataset:
        about = one.dataset, other.dataset
    elif one.split != other.split:
        about = f"the {one.split} split", f"the {other.split} split"
    else:
        return None
    different = f"run {one.id} is about {about[0]}, and run {other.id} about {about[1]}"
    return f"{different}; only runs over the same sessions can be compared"


def compare_runs(db: Database, one: Run, other: Run, *, check: Callable[[], None] = no_check) -> RunComparison:
    """Compare two runs on the sessions that both have answered; those in which the second loses most come first.

    `check` as for `score_runs`.

    Raises:
        KdtuiError: there are no such sessions.
    """
    if (problem := why_incomparable(one, other)) is not None:
        raise KdtuiError(problem)
    rows = ComparedSessions()
    won = lost = 0
    with IntentCosine(db, one.dataset, min(count_answers(db, one), count_answers(db, other))) as cosine:
        sums = AnswerSums(cosine.measure), AnswerSums(cosine.measure)
        for session, answers in cosine.ahead(_answered_by_both(db, one, other), _bundles_of_both):
            check()
            for each, answer in zip(sums, answers, strict=True):
                each.add(session, answer.bundles)
            truth = true_bundles(session)
            answered_bundles = [predicted_bundles(answer) for answer in answers]
            f1 = pair_f1(truth, answered_bundles[0]), pair_f1(truth, answered_bundles[1])
            exact = set(answered_bundles[0]) == set(truth), set(answered_bundles[1]) == set(truth)
            rows.add(SessionScores(session.id, len(session.items), len(truth), f1, exact))
            won += f1[1] > f1[0]
            lost += f1[1] < f1[0]
    if not rows:
        raise KdtuiError(f"runs {one.id} and {other.id} have answered no session in common")
    costs = costs_of(db, [summary_of(db, run.id) for run in (one, other)])
    first, second = (
        ScoreRow(f"run {run.id}: {run.name}", each.scores(), costs[run.id])
        for run, each in zip((one, other), sums, strict=True)
    )
    alone = count_answers(db, one) - len(rows), count_answers(db, other) - len(rows)
    return RunComparison((one, other), rows.in_order(lambda row: row.difference), alone, (first, second), won, lost)


def _answered_by_both(db: Database, one: Run, other: Run) -> Iterator[tuple[Session, tuple[Prediction, Prediction]]]:
    """Yield the sessions that both runs have answered, with their answers."""

    def only_one(numbers: Sequence[int]) -> set[int]:
        """Return sessions that either has not answered. With few answers, most of a split need not be read."""
        return set(numbers).difference(set(answered_among(db, one, numbers)) & set(answered_among(db, other, numbers)))

    for page in pages_of(SplitSessions(db, one.dataset, one.split).without(only_one)):
        ids = [session.id for session in page]
        answers = predictions_for(db, one, ids), predictions_for(db, other, ids)
        for session in page:
            if session.id in answers[0] and session.id in answers[1]:
                yield session, (answers[0][session.id], answers[1][session.id])


def _bundles_of_both(answers: tuple[Prediction, Prediction]) -> list[PredictedBundle]:
    return [bundle for answer in answers for bundle in answer.bundles or ()]


def predicted_bundles(prediction: Prediction) -> list[frozenset[int]]:
    """Return the bundles of an answer that count: those of two products or more."""
    return [frozenset(bundle.positions) for bundle in prediction.bundles or () if len(bundle.positions) > 1]


@dataclass(frozen=True, slots=True)
class BothAnswers:
    """A session, and the answers of two runs; None for a run that has been deleted."""

    session: Session
    answers: tuple[Prediction | None, Prediction | None]


def read_both_answers(db: Database, one: Run, other: Run, session: str) -> BothAnswers:
    """Return a session with the answers of two runs.

    Raises:
        NotFound: there is no such session.
    """
    return BothAnswers(
        get_session(db, one.dataset, session), (prediction_of(db, one, session), prediction_of(db, other, session))
    )
