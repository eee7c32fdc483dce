"""A student answers a split; its answers are kept, and scored beside the floors."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import inf, isnan
from typing import TypeAlias

from kdtui.bundling import floors
from kdtui.bundling.answer_sums import AnswerSums, Named
from kdtui.bundling.metrics import Scores
from kdtui.bundling.truth import minimal_bundles
from kdtui.errors import KdtuiError
from kdtui.workflows.generate import GenerateEvent, SessionAnswered, generate
from kdtui.workflows.learning import Tell, untold
from kdtui.workflows.model_names import PATTERNS
from kdtui.workflows.students import SessionStudent, check_settings, open_student, resolved
from models.answers import Answered
from models.errors import ModelError
from store.datasets import iter_sessions, some_sessions
from store.records import Bundle, RunSettings, Session, Split
from store.runs import Run, add_prediction, check_tags, delete_run, finish_run, predictions, start_run
from store.sqlite import Database


@dataclass(frozen=True, slots=True)
class RunBegun:
    """The student is ready, and begins to answer, or goes on with it.

    Attributes:
        answered: how many of the sessions have an answer already.
    """

    run: Run
    answered: int
    sessions: int


class NothingAnswered(ModelError):
    """The student failed before its first answer; its run is not kept."""


EvaluateEvent: TypeAlias = RunBegun | GenerateEvent


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row of the table: who, and how well."""

    name: str
    scores: Scores

    def to_json(self) -> dict[str, object]:
        """A flat object; null where a metric has no session or no hit to average over."""
        return {"name": self.name, **scores_to_json(self.scores)}


def scores_to_json(scores: Scores) -> dict[str, object]:
    """A flat object; null where a metric has no session or no hit to average over."""
    return {key: None if isinstance(value, float) and isnan(value) else value for key, value in asdict(scores).items()}


def split_to_score(
    db: Database, dataset: str, split: Split, limit: int | None = None, seed: int | None = 0
) -> list[Session]:
    """So many sessions of a split, or all.

    Args:
        limit: how many; None for all.
        seed: by which they are drawn; None for the first as imported, which is what runs of earlier versions have.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: the split is empty.
    """
    if limit is None or seed is None:
        sessions = list(iter_sessions(db, dataset, split=split, limit=limit))
    else:
        sessions = list(some_sessions(db, dataset, split, limit, seed))
    if not sessions:
        raise KdtuiError(f"dataset {dataset!r} has no sessions in its {split} split; there is nothing to score")
    return sessions


def evaluate(
    db: Database,
    dataset: str,
    split: Split,
    settings: RunSettings,
    sessions: Sequence[Session],
    tags: Sequence[str] = (),
    tell: Tell = untold,
) -> Iterator[EvaluateEvent]:
    """Answer the sessions of a split in a new run, which begins when the student is ready.

    A run in which the student fails before the first answer is not kept.

    Args:
        tags: of the run.
        tell: gets what takes long before the run begins, or cannot be done as usual.

    Raises:
        KdtuiError: the settings are refused, or what they need is not there.
        ModelError: the model cannot be loaded, or fails: `NothingAnswered` before the first answer.
        StoreError: a tag is none.
    """
    check_settings(settings, dataset)
    check_tags(tags)
    settings = resolved(db, dataset, settings)
    with open_student(db, dataset, settings, tell) as student:
        run = start_run(db, dataset, split, student.name, settings, tags)
        yield RunBegun(run, 0, len(sessions))
        try:
            yield from answer_split(db, run, sessions, student)
        except ModelError as error:
            if predictions(db, run):
                raise
            # A server that is not there, say: there is nothing to go on with.
            delete_run(db, run.id)
            raise NothingAnswered(f"{error}; no session was answered, and run {run.id} is not kept") from error


def resume(db: Database, run: Run, sessions: Sequence[Session], tell: Tell = untold) -> Iterator[EvaluateEvent]:
    """Go on with a run; nothing is done where there is nothing left. Otherwise as `evaluate`."""
    answered = len(predictions(db, run))
    if run.finished_at is not None and answered >= len(sessions):
        return
    with open_student(db, run.dataset, run.settings, tell) as student:
        yield RunBegun(run, answered, len(sessions))
        yield from answer_split(db, run, sessions, student)


def answer_split(
    db: Database, run: Run, sessions: Sequence[Session], student: SessionStudent
) -> Iterator[GenerateEvent]:
    """Answer the sessions that the run has no answer for yet, each stored before it is yielded."""
    answered = predictions(db, run)
    for event in generate(student, [session for session in sessions if session.id not in answered]):
        if isinstance(event, SessionAnswered):
            # It may be paid for, and has taken its time: however long others write, it is not given up.
            with db.waiting(inf):
                add_prediction(db, run, event.prediction)
        yield event
    finish_run(db, run)


def score_run(db: Database, run: Run, sessions: Sequence[Session]) -> ResultRow:
    """The row of a run over those of the sessions that it has answered.

    Raises:
        KdtuiError: it has answered none of them.
    """
    answers = predictions(db, run)
    done = [session for session in sessions if session.id in answers]
    if not done:
        raise KdtuiError(f"run {run.id} has no answers yet; go on with: kdtui evaluate --resume {run.id}")
    return ResultRow(run.name, score_answers(done, [answers[session.id].bundles for session in done]))


def score_answers(sessions: Sequence[Session], answers: Iterable[Iterable[Named] | None]) -> Scores:
    """Score the bundles of sessions and their intents; None stands for a session that the student failed on."""
    sums = AnswerSums()
    for session, answer in zip(sessions, answers, strict=True):
        sums.add(session, answer)
    return sums.scores()


FLOOR_NAMES = (
    "whole session",
    *(f"category {level}" for level in floors.CATEGORY_LEVELS),
    PATTERNS,
    "truth",
)
"""The rows that need no model, in the order in which they are computed; the pattern student takes the longest."""


def score_floors(db: Database, dataset: str, sessions: Sequence[Session]) -> Iterator[ResultRow]:
    """The rows that need no model: whole session, categories, the pattern student where it can learn, and the truth."""

    def row(name: str, bundles_of: Callable[[Session], list[frozenset[int]]]) -> ResultRow:
        unnamed = [[Bundle(tuple(sorted(each))) for each in bundles_of(session)] for session in sessions]
        return ResultRow(name, score_answers(sessions, unnamed))

    yield row("whole session", floors.whole_session)
    for level in floors.CATEGORY_LEVELS:
        yield row(f"category {level}", lambda session, level=level: floors.by_category(session, level))  # type: ignore[misc]
    try:
        with open_student(db, dataset, RunSettings(PATTERNS)) as student:
            answers = {event.key: event.bundles for event in student.answer(sessions) if isinstance(event, Answered)}
        yield ResultRow(PATTERNS, score_answers(sessions, [answers[session] for session in sessions]))
    except KdtuiError:
        # A dataset without training sessions has no learned floor; the other rows stand.
        pass
    yield ResultRow("truth", score_answers(sessions, [minimal_bundles(session.bundles) for session in sessions]))
