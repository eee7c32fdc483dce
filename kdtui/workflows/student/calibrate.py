"""Calibrate a student where the truth is known: how far to trust its judgement, and which strategy suits it.

Every strategy is fitted and judged on the same sessions, each session by a fit on the others, so that none gains by its
number of weights. The fastest of the strategies that are as good as the best is chosen.

An earlier calibration is never replaced by a worse one. The two are compared on the same sessions: the earlier one by
its stored results for sessions that it was not fitted on, or else by applying its weights to the student's present
scores. The calibration that was fitted on more sessions is used, unless the other one is better by more than one
standard error. One that was fitted on other weights does not count.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan
from statistics import mean
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec

from kdtui.bundling.truth import true_bundles
from kdtui.distill.applicable import AICL
from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.workflows.student.cross_validation import (
    Found,
    JudgedStrategy,
    PairScores,
    choose,
    cross_validate_pairs,
    judge_lists,
)
from kdtui.workflows.student.earlier_calibration import (
    CalibrationsCompared,
    compare_calibrations,
    known_f1,
    usable_calibration,
)
from kdtui.workflows.student.learning import Tell, tell_nobody
from kdtui.workflows.student.limits import check_calibratable
from kdtui.workflows.student.model import open_model
from kdtui.workflows.student.settings import check_settings
from kdtui.workflows.student.valid_calibrations import describe_weights, valid_calibrations
from models.llama.strategies import make_strategy
from models.llama.strategies.base import given_scores
from models.llama.strategies.listing import ListStrategy
from models.pairs.calibration import (
    UNCALIBRATED,
    Calibration,
)
from models.pairs.clustering import Matrix
from models.student_protocol import STRATEGIES, Answered, Refused, SessionTask, StrategyName
from store.calibrations import StoredCalibration, keep_calibrations
from store.records import RunSettings, Session
from store.sessions import iter_sessions
from store.sqlite import Database
from store.subsets import draw_subset

if TYPE_CHECKING:
    from models.llama.student import Student

LEAST_SESSIONS = 20
"""With fewer sessions, strategies cannot be distinguished."""

_TIMED = 16
"""Sessions that a strategy answers completely to measure its speed."""


@dataclass(frozen=True, slots=True)
class SessionJudged:
    """A strategy has judged another session."""

    strategy: StrategyName


@dataclass(frozen=True, slots=True)
class StrategyLeftOut:
    """A strategy cannot answer one of the sessions, so it cannot be compared with the others."""

    strategy: StrategyName
    reason: str


@dataclass(frozen=True, slots=True)
class ChoiceStays:
    """The earlier choice of a strategy is kept, because that strategy was not tried on these sessions."""

    strategy: str

    @property
    def in_words(self) -> str:
        """The same as a sentence without a full stop."""
        return f"{self.strategy} remains the chosen strategy: it was not tried on these sessions"


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """A strategy and its calibration from now on. Strategies that were not tried now are included.

    Attributes:
        is_new: whether it was fitted now.
    """

    calibration: StoredCalibration
    is_new: bool


@dataclass(frozen=True, slots=True)
class Calibrated:
    """All strategies are calibrated, and new calibrations are stored."""

    results: list[CalibrationResult]


CalibrateEvent: TypeAlias = SessionJudged | StrategyLeftOut | CalibrationsCompared | ChoiceStays | Calibrated


def sessions_to_learn_from(db: Database, dataset: str, limit: int | None = None, seed: int = 0) -> list[Session]:
    """Return the validation sessions of a dataset that have pairs of products.

    Args:
        limit: sessions at most, drawn by chance; None for all.
        seed: of the draw.

    Raises:
        NotFound: there is no such dataset.
        KdtuiError: there are too few.
    """
    usable = [each for each in iter_sessions(db, dataset, split="valid") if len(each.items) > 1]
    if len(usable) < LEAST_SESSIONS:
        raise KdtuiError(
            f"dataset {dataset!r} has {counted(len(usable), 'validation session')} to calibrate on; "
            f"{LEAST_SESSIONS} are needed"
        )
    if limit is None or limit >= len(usable):
        return usable
    if limit < LEAST_SESSIONS:
        raise KdtuiError(
            f"a limit of {counted(limit, 'session')} leaves too few to calibrate on; {LEAST_SESSIONS} are needed, and "
            f"dataset {dataset!r} has {counted(len(usable), 'validation session')}"
        )
    return draw_subset(usable, limit, seed, lambda session: session.id)


def calibrate_strategies(
    db: Database,
    dataset: str,
    settings: RunSettings,
    strategies: Sequence[str],
    sessions: Sequence[Session],
    tell: Tell = tell_nobody,
) -> Iterator[CalibrateEvent]:
    """Calibrate strategies of a student on sessions with known bundles, and choose one.

    See above for what happens to earlier calibrations.

    Args:
        tell: gets what takes long before the student judges, or cannot be done as usual.

    Raises:
        KdtuiError: the student is not a language model, it cannot be used with these settings, there is no such
            strategy, or none can answer all of the sessions.
        ModelError: the model cannot be loaded, or fails.
    """
    check_calibratable(db, settings)
    for name in strategies:
        if name == AICL:
            raise KdtuiError(f"{AICL} is a way to ask and cannot be calibrated; there are: {', '.join(STRATEGIES)}")
        check_settings(msgspec.structs.replace(settings, strategy=name), dataset)
    ids = [session.id for session in sessions]
    f1: dict[str, list[float]] = {}
    results: dict[str, CalibrationResult] = {}
    with open_model(db, dataset, settings, tell) as model:
        student = model.student
        tasks = [model.task(session) for session in sessions]
        before = valid_calibrations(db, dataset, settings)
        weights = describe_weights(db, settings)
        timed = draw_subset(tasks, _TIMED, 0, lambda task: cast("Session", task.key).id)
        for name in cast("Sequence[StrategyName]", strategies):
            try:
                judged = yield from _judge(student, tasks, name)
            except _Unanswered as problem:
                yield StrategyLeftOut(name, str(problem))
                continue
            stored = before.get(name)
            earlier = usable_calibration(stored, weights)
            used, f1[name], is_new = judged.calibration, judged.f1, True
            if earlier is not None:
                compared, earlier_f1 = compare_calibrations(name, earlier, judged, ids)
                yield compared
                if compared.is_kept:
                    used, f1[name], is_new = earlier.calibration, earlier_f1, False
            seconds = _seconds_per_session(student, timed, name, used)
            if is_new or stored is None:
                stored = StoredCalibration(
                    name,
                    msgspec.json.encode(used).decode(),
                    len(ids),
                    mean(f1[name]),
                    None if isnan(judged.error) or not is_new else judged.error,
                    seconds,
                    chosen=False,
                    session_f1=dict(zip(ids, f1[name], strict=True)),
                    model=weights,
                )
            results[name] = CalibrationResult(replace(stored, seconds_per_session=seconds), is_new)
    if not results:
        raise KdtuiError("no strategy can answer all of the validation sessions, so nothing was changed")
    times = {name: each.calibration.seconds_per_session for name, each in results.items()}
    for name, stored in before.items():
        # A strategy that was not tried now can be chosen too, if its results on the same sessions are stored.
        known = known_f1(stored, weights)
        if name not in results and all(session in known for session in ids):
            f1[name], times[name] = [known[session] for session in ids], stored.seconds_per_session
    chosen = next((each.strategy for each in before.values() if each.chosen), None)
    if chosen is not None and chosen not in f1:
        yield ChoiceStays(chosen)
    else:
        chosen = choose(f1, times)
    new = [each.calibration for each in results.values() if each.is_new]
    results |= {name: CalibrationResult(stored, is_new=False) for name, stored in before.items() if name not in results}
    keep_calibrations(db, dataset, settings, new, chosen)
    yield Calibrated(
        [
            CalibrationResult(replace(each.calibration, chosen=name == chosen), each.is_new)
            for name, each in results.items()
        ]
    )


class _Unanswered(Exception):
    """The student refuses a session; the message says which, and why."""


def _judge(
    student: "Student", tasks: Sequence[SessionTask], name: StrategyName
) -> Generator[SessionJudged, None, JudgedStrategy]:
    """Have a strategy judge the sessions, which are the keys of their tasks.

    Raises:
        _Unanswered: it cannot answer one of them.
    """
    # Sessions arrive in any order, but are compared with those of other strategies one by one.
    sessions = [cast("Session", task.key) for task in tasks]
    lists: dict[object, Found] = {}
    matrices: dict[object, Matrix] = {}
    strategy = make_strategy(name, Calibration(UNCALIBRATED) if name == "list" else None)
    if isinstance(strategy, ListStrategy):
        for event in student.answer(tasks, strategy):
            if isinstance(event, Answered):
                lists[event.key] = [(bundle.confidence, bundle.positions) for bundle in event.bundles]
                yield SessionJudged(name)
            elif isinstance(event, Refused):
                raise _refusal(event)
        return judge_lists([(true_bundles(each), lists[each], len(each.items)) for each in sessions])
    for judged in student.score_pairs(tasks, strategy):
        if isinstance(judged, Refused):
            raise _refusal(judged)
        key, matrix = judged
        matrices[key] = matrix
        yield SessionJudged(name)
    evidence = {task.key: given_scores(task) for task in tasks}
    scores = [PairScores(true_bundles(each), matrices[each], evidence[each]) for each in sessions]
    return replace(cross_validate_pairs(scores), scores=scores)


def _refusal(event: Refused) -> _Unanswered:
    return _Unanswered(f"session {cast('Session', event.key).id}: {event.reason}")


def _seconds_per_session(
    student: "Student", tasks: Sequence[SessionTask], name: StrategyName, calibration: Calibration
) -> float:
    started = perf_counter()
    for _ in student.answer(tasks, make_strategy(name, calibration)):
        pass
    return (perf_counter() - started) / len(tasks)
