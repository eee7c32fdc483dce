"""Score the floors over the sessions of runs. They are stored until the code that computes them changes."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from functools import cache
from itertools import islice
from typing import Any, cast

import msgspec

from kdtui.bundling import floors
from kdtui.bundling.answer_sums import AnswerSums, BundleWithIntent
from kdtui.bundling.truth import minimal_bundles
from kdtui.errors import KdtuiError
from kdtui.workflows.code_version import code_version
from kdtui.workflows.model_names import PATTERNS
from kdtui.workflows.runs.cached_scores import as_scores, cache_scores_of
from kdtui.workflows.runs.evaluate import ScoreRow, answered_by
from kdtui.workflows.runs.intent_cosine import IntentCosine, lacks_cosine
from kdtui.workflows.runs.session_selection import SessionSelection
from kdtui.workflows.student.open import open_student
from kdtui.workflows.student.session_student import SessionStudent
from models.student_protocol import Answered, Refused
from store.floors import cache_floors, cached_floors
from store.predictions import count_answers, count_failures
from store.records import Bundle, RunSettings, Session
from store.runs import Run, plain_runs
from store.sqlite import Database

_COMPUTED_BY = (
    ("kdtui.bundling", ""),
    ("kdtui.distill", ""),
    ("kdtui.workflows.student", "pair_evidence.py"),
    ("kdtui.workflows.student", "open.py"),
    ("kdtui.workflows.runs", "floors.py"),
    ("kdtui.workflows.runs", "evaluate.py"),
    ("kdtui.workflows.runs", "intent_cosine.py"),
    ("models.pairs", "clustering.py"),
    ("models.pairs", "logistic.py"),
    ("models.pairs", "partitions.py"),
    ("store", "subsets.py"),
)
"""The packages and files whose code the scores of floors depend on."""


FLOOR_NAMES = (*floors.NAMES, PATTERNS, "truth")
"""The rows that need no language model, in their order; the pattern student takes the longest."""

_COMPARED = 100
"""Answers of a run that are compared with present ones, before the others are assumed to be the same."""


class CheckedSessions(Collection[Session]):
    """Sessions that call a function before each step of an iteration. An error from it ends the iteration.

    A hundred thousand sessions take minutes, and the caller may no longer need the result.
    """

    def __init__(self, sessions: Collection[Session], check: Callable[[], None]) -> None:
        self._sessions = sessions
        self._check = check

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, session: object) -> bool:
        return session in self._sessions

    def __iter__(self) -> Iterator[Session]:
        """Yield each session, after the check."""
        for session in self._sessions:
            self._check()
            yield session


def no_check() -> None:
    """Check nothing, for callers that always wait for the end."""


def floors_over(db: Database, selection: SessionSelection, *, check: Callable[[], None] = no_check) -> list[ScoreRow]:
    """Return the floors over these sessions, in the order of `FLOOR_NAMES`.

    Unless they are stored, this takes about a second for a thousand sessions.

    Args:
        check: called before each session; it raises an error to end the work.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: the split is empty.
    """
    subset = (selection.limit, selection.seed)
    cached = cached_floors(db, selection.dataset, selection.split, subset, _version())
    if cached is not None and (rows := _decoded_rows(cached)) is not None:
        return rows
    sessions = selection.sessions(db)
    answered = _answered_before(db, selection, sessions)
    rows = score_floors(db, selection.dataset, CheckedSessions(sessions, check), answered)
    if any(lacks_cosine(row.scores) for row in rows):
        return rows
    if answered is not None:
        # The floor and that run have the same scores, so the run need not be scored again.
        failed = sum(count_failures(db, [answered.id]).get(answered.id, {}).values())
        cache_scores_of(db, answered, next(row.scores for row in rows if row.name == PATTERNS), failed)
    cache_floors(db, selection.dataset, selection.split, subset, _version(), _encoded_rows(rows))
    return rows


def score_floors(
    db: Database, dataset: str, sessions: Collection[Session], answered: Run | None = None
) -> list[ScoreRow]:
    """Score the floors: whole session, categories, the pattern student if it can learn, and the truth.

    Args:
        answered: a run in which the pattern student answered these sessions; None to have it answer them now.
    """
    with ExitStack() as stack:
        learned: Iterator[tuple[Session, Sequence[BundleWithIntent] | None]] | None = None
        if answered is not None:
            learned = ((session, answer.bundles) for session, answer in answered_by(db, answered, sessions))
        else:
            # A dataset without training sessions has no learned floor. The other rows remain.
            with suppress(KdtuiError):
                student = stack.enter_context(open_student(db, dataset, RunSettings(PATTERNS)))
                learned = answers_of(student, sessions)
        cosine = stack.enter_context(IntentCosine(db, dataset, len(sessions)))
        sums = {name: AnswerSums(cosine.measure) for name in FLOOR_NAMES if name != PATTERNS or learned is not None}
        answers = ((session, None) for session in sessions) if learned is None else learned
        for session, bundles in cosine.ahead(answers, lambda bundles: bundles):
            for name, floor_bundles in zip(floors.NAMES, floors.floors_of(session), strict=True):
                sums[name].add(session, [Bundle(tuple(sorted(each))) for each in floor_bundles])
            if learned is not None:
                sums[PATTERNS].add(session, bundles)
            sums["truth"].add(session, minimal_bundles(session.bundles))
    return [ScoreRow(name, each.scores()) for name, each in sums.items()]


def answers_of(
    student: SessionStudent, sessions: Iterable[Session]
) -> Iterator[tuple[Session, Sequence[BundleWithIntent] | None]]:
    """Yield the sessions with the answers of a student: None for one that it cannot answer."""
    for event in student.answer(sessions):
        if isinstance(event, Answered | Refused):
            yield cast("Session", event.key), event.bundles if isinstance(event, Answered) else None


def _answered_before(db: Database, selection: SessionSelection, sessions: Collection[Session]) -> Run | None:
    """Return a run in which the pattern student answered all of these sessions as it would now, if there is one."""
    for run in plain_runs(db, selection.dataset, selection.split, PATTERNS):
        if (
            run.finished_at is not None
            and SessionSelection.of(run, selection.split_size or len(sessions)) == selection
            and count_answers(db, run) >= len(sessions)
        ):
            return run if _answers_the_same(db, selection, run) else None
    return None


def _answers_the_same(db: Database, selection: SessionSelection, run: Run) -> bool:
    """Return whether the pattern student answers some sessions as it did in a run, which can be of another version."""
    sessions = (
        SessionSelection(selection.dataset, selection.split, _COMPARED, 0) if selection.limit is None else selection
    )
    few = list(islice(sessions.sessions(db), _COMPARED))
    before = {session.id: _comparable(answer.bundles) for session, answer in answered_by(db, run, few)}
    with open_student(db, selection.dataset, RunSettings(PATTERNS)) as student:
        return all(before.get(session.id) == _comparable(bundles) for session, bundles in answers_of(student, few))


def _comparable(bundles: Iterable[BundleWithIntent] | None) -> list[tuple[tuple[int, ...], str]] | None:
    return None if bundles is None else [(bundle.positions, bundle.intent) for bundle in bundles]


@cache
def _version() -> str:
    return code_version(_COMPUTED_BY)


def _encoded_rows(rows: Iterable[ScoreRow]) -> str:
    # Values that are not finite become null.
    return msgspec.json.encode([(row.name, asdict(row.scores)) for row in rows]).decode()


def _decoded_rows(text: str) -> list[ScoreRow] | None:
    """Decode the rows; None if somebody has edited them."""
    try:
        decoded = msgspec.json.decode(text, type=list[tuple[str, dict[str, Any]]])
        return [ScoreRow(name, as_scores(values)) for name, values in decoded]
    except msgspec.MsgspecError:
        return None
