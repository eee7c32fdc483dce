"""Have a student answer a split, and store and score its answers."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from math import inf, isnan
from time import monotonic
from typing import TypeAlias

from kdtui.bundling.answer_sums import AnswerSums
from kdtui.bundling.intent_metrics import IntentScores
from kdtui.bundling.metrics import Scores
from kdtui.errors import KdtuiError
from kdtui.workflows.claims import claimed
from kdtui.workflows.runs.costs import NOT_KNOWN, RunCost, record_costs
from kdtui.workflows.runs.intent_cosine import IntentCosine
from kdtui.workflows.runs.ratings import Ratings
from kdtui.workflows.student.generate import GenerateEvent, SessionAnswered, generate_bundles
from kdtui.workflows.student.learning import Tell, tell_nobody
from kdtui.workflows.student.open import open_student
from kdtui.workflows.student.session_student import SessionStudent
from kdtui.workflows.student.settings import check_settings
from kdtui.workflows.student.strategy import with_strategy
from models.errors import ModelError
from store.predictions import Prediction, add_predictions, answered_among, count_answers, predictions_for
from store.records import RunSettings, Session, Split
from store.runs import Run, check_tags, delete_run, finish_run, start_run
from store.split_sessions import SplitSessions
from store.sqlite import Database

_AT_RISK = 0.5
"""Seconds of free work that can be lost if the process ends."""

_PAGE = 1000
"""Sessions whose answers are looked up at once."""


@dataclass(frozen=True, slots=True)
class RunBegun:
    """The student is ready, and begins or resumes answering.

    Attributes:
        answered: sessions that have an answer already.
    """

    run: Run
    answered: int
    sessions: int


class NothingAnswered(ModelError):
    """The student failed before its first answer. Its run is not kept."""


EvaluateEvent: TypeAlias = RunBegun | GenerateEvent


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A row of a table of scores: a student, its scores, and its costs.

    Attributes:
        intent_floors: scores of other names for the same bundles; see `kdtui.workflows.runs.intent_floors`.
        ratings: of the intents by a judge; None without a judge.
    """

    name: str
    scores: Scores
    cost: RunCost = NOT_KNOWN
    intent_floors: Mapping[str, IntentScores] = field(default_factory=dict)
    ratings: Ratings | None = None

    def to_json(self) -> dict[str, object]:
        """Return an object; null if a metric has no session or no hit to average, or a cost is unknown."""
        return {
            "name": self.name,
            **scores_to_json(self.scores),
            "intent_floors": {name: scores.to_json() for name, scores in self.intent_floors.items()} or None,
            **self.cost.to_json(),
        }


def scores_to_json(scores: Scores) -> dict[str, object]:
    """Return a flat object; null if a metric has no session or no hit to average."""
    return {key: None if isinstance(value, float) and isnan(value) else value for key, value in asdict(scores).items()}


def split_to_score(
    db: Database, dataset: str, split: Split, limit: int | None = None, seed: int | None = 0
) -> SplitSessions:
    """Return the sessions of a split, or some of them. They are read while they are iterated over.

    Args:
        limit: sessions at most; None for all.
        seed: of the draw; None for the first ones as imported, which runs of earlier versions have.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: the split is empty.
    """
    sessions = SplitSessions(db, dataset, split, limit, seed)
    if not sessions:
        raise KdtuiError(f"dataset {dataset!r} has no sessions in its {split} split; there is nothing to score")
    return sessions


def evaluate_split(
    db: Database,
    dataset: str,
    split: Split,
    settings: RunSettings,
    sessions: Collection[Session],
    tags: Sequence[str] = (),
    tell: Tell = tell_nobody,
) -> Iterator[EvaluateEvent]:
    """Answer the sessions of a split in a new run, which begins when the student is ready.

    A run in which the student fails before the first answer is not kept.

    Args:
        tags: of the run.
        tell: gets what takes long before the run begins, or cannot be done as usual.

    Raises:
        KdtuiError: the settings are refused, or need something that does not exist.
        ModelError: the model cannot be loaded, or fails: `NothingAnswered` before the first answer.
        StoreError: a tag is invalid.
    """
    check_settings(settings, dataset)
    check_tags(tags)
    settings = with_strategy(db, dataset, settings)
    with open_student(db, dataset, settings, tell) as student, ExitStack() as claims:
        # Together: others see the run when it is claimed, and a run that cannot be claimed does not begin.
        with db.atomic():
            run = start_run(db, dataset, split, student.name, settings, tags)
            claims.enter_context(claimed_run(db, run))
        yield RunBegun(run, 0, len(sessions))
        try:
            yield from record_costs(db, run, answer_split(db, run, sessions, student))
        except ModelError as error:
            if count_answers(db, run):
                raise
            # The server cannot be reached, for example: there is nothing to resume.
            delete_run(db, run.id)
            raise NothingAnswered(f"{error}; no session was answered, and run {run.id} is not kept") from error


def resume_run(
    db: Database, run: Run, sessions: Collection[Session], tell: Tell = tell_nobody
) -> Iterator[EvaluateEvent]:
    """Resume a run; a complete one is left unchanged. Otherwise like `evaluate_split`.

    Raises:
        KdtuiError: another process answers it at the moment.
    """
    answered = count_answers(db, run)
    if run.finished_at is not None and answered >= len(sessions):
        return
    with claimed_run(db, run), open_student(db, run.dataset, run.settings, tell) as student:
        yield RunBegun(run, count_answers(db, run), len(sessions))
        yield from record_costs(db, run, answer_split(db, run, sessions, student))


def claimed_run(db: Database, run: Run) -> AbstractContextManager[None]:
    """Let only one process answer a run at a time: two would answer, and pay for, the same sessions.

    Raises:
        KdtuiError: another process answers it.
    """
    return claimed(
        db,
        claim_on(run),
        f"another kdtui answers run {run.id} at the moment; wait until it is done, or stop it: its answers are kept",
    )


def claim_on(run: Run) -> str:
    """Name the work of answering a run; see `kdtui.workflows.claims`."""
    return f"run {run.id}"


def answer_split(
    db: Database, run: Run, sessions: Iterable[Session], student: SessionStudent
) -> Iterator[GenerateEvent]:
    """Answer the sessions that the run has no answer for yet. Each is stored before it is yielded.

    The answers of a student that costs nothing are stored together, about half a second of work at a time: committing
    each of them would take longer than computing it. Other answers are stored at once, and the sessions of a split are
    asked about in random order: in real data the first are the shortest, and the answers of an interrupted run are to
    be a fair sample.
    """
    events: list[GenerateEvent] = []
    work, began = 0.0, monotonic()

    def keep() -> list[GenerateEvent]:
        """Store the answers among the events, and return all events."""
        kept, events[:] = events[:], []
        if answers := [event.prediction for event in kept if isinstance(event, SessionAnswered)]:
            # They may be paid for, and they took time: wait for other writers, however long that takes.
            with db.waiting(inf):
                add_predictions(db, run, answers)
        return kept

    try:
        for event in generate_bundles(student, _unanswered(db, run, sessions, student)):
            if not events:
                work, began = 0.0, monotonic()
            events.append(event)
            if isinstance(event, SessionAnswered):
                work += event.prediction.seconds
            if not student.costs_nothing or max(work, monotonic() - began) >= _AT_RISK:
                yield from keep()
        yield from keep()
    finally:
        # Store the answers, whatever ended the loop.
        keep()
    finish_run(db, run)


def _unanswered(db: Database, run: Run, sessions: Iterable[Session], student: SessionStudent) -> Iterator[Session]:
    """Yield the sessions that the run has no answer for."""
    if isinstance(sessions, SplitSessions):
        # A student whose answers take milliseconds is faster in the order of the rows, and seldom interrupted.
        seed = None if student.costs_nothing else run.settings.seed or 0
        yield from sessions.without(partial(answered_among, db, run), shuffled_by=seed)
        return
    for page in pages_of(sessions):
        answered = predictions_for(db, run, [session.id for session in page])
        yield from (session for session in page if session.id not in answered)


def pages_of(sessions: Iterable[Session]) -> Iterator[list[Session]]:
    """Yield the sessions in parts that are each looked up in one query."""
    remaining = iter(sessions)
    while page := list(islice(remaining, _PAGE)):
        yield page


def score_run(db: Database, run: Run, sessions: Collection[Session]) -> ScoreRow:
    """Score a run over the sessions that it has answered.

    Raises:
        KdtuiError: it has answered none of them.
    """
    with IntentCosine(db, run.dataset, len(sessions)) as cosine:
        sums = AnswerSums(cosine.measure)
        for session, answer in cosine.ahead(answered_by(db, run, sessions), lambda answer: answer.bundles):
            sums.add(session, answer.bundles)
    scores = sums.scores()
    if not scores.sessions:
        raise KdtuiError(f"run {run.id} has no answers yet; resume it with: kdtui evaluate --resume {run.id}")
    return ScoreRow(run.name, scores)


def answered_by(db: Database, run: Run, sessions: Iterable[Session]) -> Iterator[tuple[Session, Prediction]]:
    """Yield the sessions that a run has answered, with its answers."""
    for page in pages_of(sessions):
        answers = predictions_for(db, run, [session.id for session in page])
        yield from ((session, answers[session.id]) for session in page if session.id in answers)
