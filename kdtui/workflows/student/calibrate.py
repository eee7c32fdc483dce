"""How far a student's judgement can be trusted, and which strategy suits it: found out where the truth is known.

Every strategy is fitted and judged on the same sessions, each session by a fit on the others, so that none gains by its
number of weights. The fastest of those that are as good as the best is chosen.

What was known before gives way to nothing worse. The two are compared on the same sessions: the earlier calibration by
what it made of a session when that was none of those it was fitted on, if that is kept, and else by its weights on what
the student says now. The one that is fitted on more sessions is taken, unless the other is better by more than one
standard error.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, sqrt
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec
import numpy as np
import numpy.typing as npt

from kdtui.bundling.metrics import pair_f1
from kdtui.bundling.threshold import best_threshold
from kdtui.bundling.truth import true_bundles
from kdtui.distill.applicable import AICL
from kdtui.errors import KdtuiError
from kdtui.text import counted
from kdtui.workflows.student.learning import Tell, untold
from kdtui.workflows.student.limits import check_calibratable
from kdtui.workflows.student.model import open_model
from kdtui.workflows.student.settings import check_settings
from kdtui.workflows.student.strategy import weights_of
from models.llama.strategies import make_strategy
from models.llama.strategies.base import given_scores
from models.llama.strategies.listing import ListStrategy
from models.pairs.calibration import (
    UNCALIBRATED,
    Calibration,
    PairCalibration,
    expected_calibration_error,
    fit_bundles,
    fit_pairs,
)
from models.pairs.clustering import Matrix, likely_bundles
from models.student_protocol import STRATEGIES, Adapter, Answered, Refused, SessionTask, StrategyName
from store.calibrations import StoredCalibration, calibrations, keep_calibrations
from store.records import RunSettings, Session
from store.sessions import iter_sessions
from store.sqlite import Database
from store.subsets import draw_subset

if TYPE_CHECKING:
    from models.llama.student import Student

LEAST_SESSIONS = 20
"""Fewer cannot tell one strategy from another."""

_FOLDS = 5
_TIMED = 16
"""Sessions that a strategy answers whole, to see how long it takes."""

Truth = list[frozenset[int]]
Found = list[tuple[float, tuple[int, ...]]]
"""Bundles with the probability that the model gives them."""


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
class Compared:
    """A calibration that there was before has been compared with the new one, on the same sessions.

    Attributes:
        is_kept: whether the earlier one stays.
        fitted_on: how many sessions it was fitted on.
        seen: on how many of the sessions it had to be judged though it may have been fitted on them.
        f1: pair F1 of the earlier one, and of the new one.
        sessions: how many both were judged on.
    """

    strategy: StrategyName
    is_kept: bool
    fitted_on: int
    seen: int
    f1: tuple[float, float]
    sessions: int

    @property
    def in_words(self) -> str:
        """What was done, and why, as a sentence without a full stop."""
        before = f"the earlier calibration, over {counted(self.fitted_on, 'session')},"
        done = "stays" if self.is_kept else "is replaced"
        favour = f" (on {self.seen:,} of them it was judged as it is, which may favour it)" if self.seen else ""
        return (
            f"{self.strategy}: {before} {done}; on these {self.sessions:,} sessions its pair F1 is {self.f1[0]:.3f}"
            f"{favour}, and that of the new one {self.f1[1]:.3f}"
        )


@dataclass(frozen=True, slots=True)
class ChoiceStays:
    """The strategy that was chosen before stays chosen, for it was not tried on these sessions."""

    strategy: str

    @property
    def in_words(self) -> str:
        """The same as a sentence without a full stop."""
        return f"{self.strategy} stays chosen: it was not tried on these sessions"


@dataclass(frozen=True, slots=True)
class Result:
    """A strategy, with the calibration that is used from now on; those that were not tried now are among them.

    Attributes:
        is_new: whether it is the one that was fitted now.
    """

    calibration: StoredCalibration
    is_new: bool


@dataclass(frozen=True, slots=True)
class Calibrated:
    """All strategies have been calibrated, and what is new is stored."""

    results: list[Result]


CalibrateEvent: TypeAlias = SessionJudged | StrategyLeftOut | Compared | ChoiceStays | Calibrated


@dataclass(frozen=True, slots=True)
class Judged:
    """What a strategy made of the sessions, each by a fit on the others.

    Attributes:
        calibration: the fit on all of them.
        found: the bundles of each session.
        f1: pair F1 of each session.
        error: how far confidences are from the share that is right.
        scores: of each session, what another calibration can be tried on; None where there is nothing but bundles.
    """

    calibration: Calibration
    found: list[Found]
    f1: list[float]
    error: float
    scores: "Sequence[PairScores] | None" = None


@dataclass(frozen=True, slots=True)
class Earlier:
    """A calibration that there is already.

    Attributes:
        fitted_on: how many sessions it was fitted on.
        f1: by session id, of those that it was fitted on, each judged by a fit on the others; empty where that is not
            known, or the model has changed since.
    """

    calibration: Calibration
    fitted_on: int
    f1: Mapping[str, float]


def sessions_to_learn_from(db: Database, dataset: str, limit: int | None = None, seed: int = 0) -> list[Session]:
    """The validation sessions of a dataset that have pairs of products, or so many of them.

    Args:
        limit: how many, drawn by chance; None for all.
        seed: by which they are drawn.

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


def calibrate(
    db: Database,
    dataset: str,
    settings: RunSettings,
    strategies: Sequence[str],
    sessions: Sequence[Session],
    tell: Tell = untold,
) -> Iterator[CalibrateEvent]:
    """Calibrate strategies of a student on sessions whose bundles are known, and choose one; see above what becomes of
    earlier calibrations.

    Args:
        tell: gets what takes long before the student judges, or cannot be done as usual.

    Raises:
        KdtuiError: the student is no language model, it cannot be used as the settings say, there is no such strategy,
            or none can answer all of the sessions.
        ModelError: the model cannot be loaded, or fails.
    """
    check_calibratable(db, settings)
    for name in strategies:
        if name == AICL:
            raise KdtuiError(f"{AICL} is a way to ask, and cannot be calibrated; there are: {', '.join(STRATEGIES)}")
        check_settings(msgspec.structs.replace(settings, strategy=name), dataset)
    before = calibrations(db, dataset, settings)
    ids = [session.id for session in sessions]
    f1: dict[str, list[float]] = {}
    found: dict[str, Result] = {}
    with open_model(db, dataset, settings, tell) as model:
        student = model.student
        tasks = [model.task(session) for session in sessions]
        files = _files(student.model.path, tasks[0].adapters)
        timed = draw_subset(tasks, _TIMED, 0, lambda task: cast("Session", task.key).id)
        for name in cast("Sequence[StrategyName]", strategies):
            try:
                judged = yield from _judge(student, tasks, name)
            except _Unanswered as problem:
                yield StrategyLeftOut(name, str(problem))
                continue
            stored = before.get(name)
            earlier = _earlier(stored, files)
            used, f1[name], is_new = judged.calibration, judged.f1, True
            if earlier is not None:
                compared, earlier_f1 = compare(name, earlier, judged, ids)
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
                    model=files,
                )
            found[name] = Result(replace(stored, seconds_per_session=seconds), is_new)
    if not found:
        raise KdtuiError("no strategy can answer all of the validation sessions, so nothing is changed")
    times = {name: each.calibration.seconds_per_session for name, each in found.items()}
    for name, stored in before.items():
        # One that was not tried now is chosen from too, where it is known how it did on the same sessions.
        known = _f1_of(stored, files)
        if name not in found and all(session in known for session in ids):
            f1[name], times[name] = [known[session] for session in ids], stored.seconds_per_session
    chosen = next((each.strategy for each in before.values() if each.chosen), None)
    if chosen is not None and chosen not in f1:
        yield ChoiceStays(chosen)
    else:
        chosen = choose(f1, times)
    new = [each.calibration for each in found.values() if each.is_new]
    found |= {name: Result(stored, is_new=False) for name, stored in before.items() if name not in found}
    keep_calibrations(db, dataset, settings, new, chosen)
    yield Calibrated(
        [Result(replace(each.calibration, chosen=name == chosen), each.is_new) for name, each in found.items()]
    )


def _earlier(stored: StoredCalibration | None, files: str) -> Earlier | None:
    """The calibration that a strategy is used with as yet; None where there is none that can be used."""
    if stored is not None:
        try:
            return Earlier(weights_of(stored), stored.sessions, _f1_of(stored, files))
        except KdtuiError:
            # What cannot be used is replaced.
            return None
    return None


def _f1_of(stored: StoredCalibration, files: str) -> Mapping[str, float]:
    """How a calibration did, by session, if that is known of these files."""
    return stored.session_f1 or {} if stored.model == files else {}


def compare(
    strategy: StrategyName, earlier: Earlier, judged: Judged, ids: Sequence[str]
) -> tuple[Compared, list[float]]:
    """Compare an earlier calibration with a new one on the same sessions, and say which is to be used.

    Returns:
        also the pair F1 of the earlier one, session by session.
    """
    f1 = [
        known if (known := earlier.f1.get(session)) is not None else _f1_by(earlier.calibration, judged, number)
        for number, session in enumerate(ids)
    ]
    gains = [new - old for new, old in zip(judged.f1, f1, strict=True)]
    error = stdev(gains) / sqrt(len(gains))
    has_as_many = len(ids) >= earlier.fitted_on
    is_kept = mean(gains) < -error if has_as_many else mean(gains) <= error
    # One that says which sessions it was fitted on has not been fitted on the others.
    seen = 0 if earlier.f1 or strategy == "list" else len(ids)
    return Compared(strategy, is_kept, earlier.fitted_on, seen, (mean(f1), mean(judged.f1)), len(ids)), f1


def _f1_by(calibration: Calibration, judged: Judged, number: int) -> float:
    """Pair F1 of a session by the weights of another calibration."""
    if judged.scores is None or calibration.pairs is None:
        # Bundles that are written stay what they are.
        return judged.f1[number]
    session, pairs = judged.scores[number], calibration.pairs
    found = likely_bundles(session.probabilities(pairs), pairs.threshold)
    return pair_f1(session.truth, [frozenset(positions) for _, positions in found])


def _files(model: Path, adapters: Sequence[Adapter]) -> str:
    """Tells files from what they may become: a calibration is good for the weights that were calibrated."""
    seen = [(path.name, (known := path.stat()).st_size, known.st_mtime_ns) for path in _paths(model, adapters)]
    return msgspec.json.encode([seen, [adapter.scale for adapter in adapters]]).decode()


def _paths(model: Path, adapters: Sequence[Adapter]) -> list[Path]:
    return [model, *(adapter.path for adapter in adapters)]


class _Unanswered(Exception):
    """The student refuses a session; the message says which, and why."""


def _judge(
    student: "Student", tasks: Sequence[SessionTask], name: StrategyName
) -> Generator[SessionJudged, None, Judged]:
    """Have a strategy judge the sessions, which are the keys of their tasks.

    Raises:
        _Unanswered: it cannot answer one of them.
    """
    # Sessions come as they are done, but are compared with those of other strategies one by one.
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
        return _judge_lists([(true_bundles(each), lists[each], len(each.items)) for each in sessions])
    for judged in student.judge_pairs(tasks, strategy):
        if isinstance(judged, Refused):
            raise _refusal(judged)
        key, matrix = judged
        matrices[key] = matrix
        yield SessionJudged(name)
    evidence = {task.key: given_scores(task) for task in tasks}
    scores = [PairScores(true_bundles(each), matrices[each], evidence[each]) for each in sessions]
    return replace(judge_pairs(scores), scores=scores)


def _refusal(event: Refused) -> _Unanswered:
    return _Unanswered(f"session {cast('Session', event.key).id}: {event.reason}")


@dataclass(frozen=True, slots=True)
class PairScores:
    """A session as a strategy judged it.

    Attributes:
        scores: (products, products), before calibration.
        evidence: (products, products), how likely pairs are by other sessions; None where that is not told.
    """

    truth: Truth
    scores: Matrix
    evidence: Matrix | None

    def probabilities(self, calibration: PairCalibration) -> Matrix:
        """(products, products)."""
        return calibration.probabilities(self.scores, self.evidence)


def judge_pairs(sessions: Sequence[PairScores]) -> Judged:
    """Calibrate the scores of pairs.

    Where all sessions have evidence, it is tried alone too. The answers of the model count only where bundles get
    better by more than one standard error of pair F1: to ask for them takes most of the time.
    """
    judged = judge_scores(sessions, with_scores=True)
    if any(each.evidence is None for each in sessions):
        return judged
    alone = judge_scores(sessions, with_scores=False)
    return alone if _as_good(alone.f1, judged.f1) else judged


def judge_scores(sessions: Sequence[PairScores], *, with_scores: bool) -> Judged:
    """Calibrate on evidence and, if asked for, the scores of the model; judge each session by a fit on the others."""

    def fit(chosen: Sequence[PairScores]) -> PairCalibration:
        fitted = fit_pairs(
            [each.scores for each in chosen],
            [_together(each.truth, len(each.scores)) for each in chosen],
            [each.evidence for each in chosen],
            with_scores=with_scores,
        )
        threshold = best_threshold([(each.truth, each.probabilities(fitted)) for each in chosen])
        return replace(fitted, threshold=threshold)

    found: list[Found] = [[] for _ in sessions]
    for kept, others in _folds(len(sessions)):
        fitted = fit([sessions[number] for number in others])
        for number in kept:
            found[number] = likely_bundles(sessions[number].probabilities(fitted), fitted.threshold)
    judged = _judge_lists(
        [(each.truth, answer, len(each.scores)) for each, answer in zip(sessions, found, strict=True)]
    )
    return replace(judged, calibration=replace(judged.calibration, pairs=fit(sessions)))


def _judge_lists(sessions: Sequence[tuple[Truth, Found, int]]) -> Judged:
    """Judge bundles as they are, and fit how confident one may be of them."""

    def examples(numbers: Sequence[int]) -> list[tuple[float, int, int, bool]]:
        return [
            (probability, len(positions), products, any(set(positions) <= bundle for bundle in truth))
            for truth, found, products in (sessions[number] for number in numbers)
            for probability, positions in found
        ]

    confidences: list[float] = []
    right: list[bool] = []
    for kept, others in _folds(len(sessions)):
        fitted = fit_bundles(examples(others))
        for probability, size, products, hit in examples(kept):
            confidences.append(fitted.confidence(probability, size, products))
            right.append(hit)
    f1 = [pair_f1(truth, [frozenset(positions) for _, positions in found]) for truth, found, _ in sessions]
    calibration = Calibration(fit_bundles(examples(range(len(sessions)))))
    return Judged(calibration, [found for _, found, _ in sessions], f1, expected_calibration_error(confidences, right))


def _folds(count: int) -> Iterator[tuple[list[int], list[int]]]:
    for fold in range(_FOLDS):
        yield (
            [number for number in range(count) if number % _FOLDS == fold],
            [number for number in range(count) if number % _FOLDS != fold],
        )


def _together(truth: Truth, products: int) -> npt.NDArray[np.bool_]:
    matrix = np.zeros((products, products), np.bool_)
    for bundle in truth:
        places = [position - 1 for position in bundle]
        matrix[np.ix_(places, places)] = True
    return matrix


def _seconds_per_session(
    student: "Student", tasks: Sequence[SessionTask], name: StrategyName, calibration: Calibration
) -> float:
    started = perf_counter()
    for _ in student.answer(tasks, make_strategy(name, calibration)):
        pass
    return (perf_counter() - started) / len(tasks)


def choose(f1: Mapping[str, list[float]], seconds: Mapping[str, float]) -> str:
    """The fastest of the strategies whose pair F1 is within one standard error of the best, session by session."""
    best = max(f1, key=lambda name: mean(f1[name]))
    return min((name for name in f1 if _as_good(f1[name], f1[best])), key=lambda name: seconds[name])


def _as_good(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether the mean over the same sessions is at most one standard error of the difference lower."""
    behind = [b - a for a, b in zip(one, other, strict=True)]
    return mean(behind) <= stdev(behind) / sqrt(len(behind))
