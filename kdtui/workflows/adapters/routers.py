"""Routers: fitted to what several adapters score on validation sessions, and compared with simpler ways to use them."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import msgspec
import numpy as np
from msgspec.structs import replace

from kdtui.bundling.metrics import pair_f1
from kdtui.bundling.truth import true_bundles
from kdtui.distill.routing import (
    Router,
    cross_validate,
    cross_validate_best,
    fit_router,
    make_router,
    vote,
)
from kdtui.errors import KdtuiError
from kdtui.statistics.estimates import CellPair, compare_cells, estimate_cells
from kdtui.statistics.results import Comparison, Estimate
from kdtui.statistics.sessions import Cell
from kdtui.text import counted
from kdtui.workflows.manage_models import checked_name
from kdtui.workflows.model_names import ROUTED
from kdtui.workflows.runs.evaluate import EvaluateEvent, RunBegun, answered_by, evaluate, resume, split_to_score
from kdtui.workflows.runs.runs import bundles_of
from kdtui.workflows.student.adapters import adapter_file, trained_with
from kdtui.workflows.student.as_trained import settings_as_trained
from kdtui.workflows.student.learning import Tell, untold
from kdtui.workflows.student.pair_evidence import open_pattern_student
from kdtui.workflows.student.routed import features_of, load_router
from models.embedded import SHIPPED
from models.pairs.clustering import Matrix
from models.pairs.logistic import Vector
from models.unit_vectors import scaled_to_one
from store.records import RunSettings, Session, Split
from store.routers import check_router_name, save_router
from store.runs import Run, RunSummary, list_runs
from store.split_sessions import SplitSessions
from store.sqlite import Database

ROUTER = "router"
BEST = "best single"
RANDOM = "random"
VOTE = "vote by pair"
ORACLE = "oracle"

LEAST_SESSIONS = 2
"""Sessions, of which one is judged by the others."""

_NOTHING = 1e-9
"""Gains below are those of rounding."""


@dataclass(frozen=True, slots=True)
class RouteBegun:
    """A route begins to answer sessions of a dataset, or has answered all of them in an earlier run."""

    route: str
    dataset: str
    split: Split


@dataclass(frozen=True, slots=True)
class RouterRow:
    """How well sessions are answered in one way: pair F1."""

    name: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Report:
    """A router beside simpler ways to use the same adapters, over the same sessions.

    Attributes:
        rows: each route, the best one, one at random, the vote, the router, and the oracle, which cannot be had.
        gain: of the router over the best single route.
        reached: the share of the oracle's gain over the best route that the router reaches; None where there is none.
        took: how many sessions each route got from the router.
    """

    rows: tuple[RouterRow, ...]
    gain: Comparison
    reached: float | None
    took: dict[str, int]
    sessions: int

    @property
    def in_words(self) -> str:
        """What the numbers say, in a sentence or two."""
        gain = self.gain
        interval = f"{gain.difference:+.3f} of pair F1 ({gain.low:+.3f} to {gain.high:+.3f})"
        over = f"over {counted(self.sessions, 'session')}"
        if gain.is_claimed:
            verb = "gains" if gain.difference > 0 else "loses"
            said = f"the router {verb} {interval} against the best single adapter {over}"
        else:
            said = f"router and best single adapter differ by {interval} {over}, which is noise"
        if self.reached is None:
            return f"{said}; no choice of adapters could be better than the best one"
        return f"{said}; it reaches {self.reached:.0%} of what perfect choices would gain"


@dataclass(frozen=True, slots=True)
class RouterTrained:
    """The router is stored."""

    router: Router
    report: Report


RouterEvent: TypeAlias = RouteBegun | EvaluateEvent | RouterTrained | Report


def train_router(
    db: Database,
    name: str,
    datasets: Sequence[str],
    adapters: Sequence[str],
    *,
    limit: int | None = None,
    replace_old: bool = False,
    tell: Tell = untold,
) -> Iterator[RouterEvent]:
    """Have each adapter answer the validation sessions of the datasets, fit a router to the scores, and store it.

    Runs over these sessions that are there already are used. The last event is `RouterTrained`.

    Args:
        limit: sessions of each dataset, drawn by chance; None for all.
        replace_old: whether a router of this name may be replaced.

    Raises:
        NotFound: there is no such dataset.
        StoreError: there is such a router.
        KdtuiError: an adapter cannot be one of a router, or there are too few sessions.
        ModelError: a model cannot be loaded, or fails.
    """
    checked_name(name)
    if not replace_old:
        check_router_name(db, name)
    routes = routes_of(db, adapters)
    runs: dict[str, list[Run]] = {}
    for dataset in dict.fromkeys(datasets):
        sessions = split_to_score(db, dataset, "valid", limit)
        runs[dataset] = []
        for route, settings in routes:
            yield RouteBegun(route, dataset, "valid")
            runs[dataset].append((yield from _answered(db, dataset, "valid", settings, limit, sessions, tell)))
    yield fit_to_runs(db, name, routes, runs, limit=limit, replace_old=replace_old, tell=tell)


def fit_to_runs(
    db: Database,
    name: str,
    routes: Sequence[tuple[str, RunSettings]],
    runs: Mapping[str, Sequence[Run]],
    *,
    limit: int | None = None,
    replace_old: bool = False,
    tell: Tell = untold,
) -> RouterTrained:
    """Fit a router to what its routes have answered, and store it.

    Args:
        routes: a name and settings for each.
        runs: of each dataset over its validation sessions, one for each route.
        limit: sessions of each dataset, drawn by chance; None for all.

    Raises:
        StoreError: there is such a router, which is not to be replaced.
        KdtuiError: there are too few sessions.
    """
    sessions = {dataset: split_to_score(db, dataset, "valid", limit) for dataset in runs}
    total = sum(map(len, sessions.values()))
    if total < LEAST_SESSIONS:
        raise KdtuiError(f"{', '.join(sessions)}: comparing adapters takes {LEAST_SESSIONS} validation sessions")
    asked = [session for some in sessions.values() for session in some]
    answers = [each for dataset, some in sessions.items() for each in _by_session(db, some, runs[dataset])]
    centres = _centres(db, sessions, tell)
    views: list[dict[str, float]] = []
    for dataset, some in sessions.items():
        with open_pattern_student(db, dataset, tell) as patterns:
            views += [features_of(patterns, session, centres) for session in some]
    features = np.array([[*view.values()] for view in views])
    scores = _scores(asked, answers)
    fitted = fit_router(features, scores)
    router = make_router(fitted, routes, list(views[0]), centres, list(sessions), len(asked))
    took = {route: 0 for route, _ in routes}
    for number in fitted.chosen(features):
        took[routes[number][0]] += 1
    report = _report(
        [route for route, _ in routes],
        scores,
        cross_validate(features, scores),
        cross_validate_best(scores),
        _votes(asked, answers),
        took,
    )
    save_router(db, name, msgspec.json.encode(router).decode(), replace=replace_old)
    return RouterTrained(router, report)


def compare_routes(
    db: Database, name: str, dataset: str, split: Split, *, limit: int | None = None, tell: Tell = untold
) -> Iterator[RouterEvent]:
    """Compare a router with the other ways on sessions that it was not fitted to; the last event is a `Report`.

    Runs over these sessions that are there already are used. The router's answers are those of the adapters that it
    chooses.

    Raises:
        NotFound: there is no such router, or no such dataset.
        KdtuiError: an adapter of it is gone, or it was fitted to these sessions.
        ModelError: a model cannot be loaded, or fails.
    """
    router = load_router(db, name)
    if split == "valid" and dataset in router.datasets:
        raise KdtuiError(
            f"router {name!r} was fitted to the validation sessions of {dataset}, and kdtui router show {name} says "
            "what it is worth on them by cross-validation; choose another split"
        )
    sessions = split_to_score(db, dataset, split, limit)
    runs = []
    for route in router.routes:
        yield RouteBegun(route.name, dataset, split)
        runs.append((yield from _answered(db, dataset, split, route.settings, limit, sessions, tell)))
    answers = _by_session(db, sessions, runs)
    asked = list(sessions)
    scores = _scores(asked, answers)
    names = [route.name for route in router.routes]
    took = dict.fromkeys(names, 0)
    routed = np.zeros(len(asked))
    with open_pattern_student(db, dataset, tell) as patterns:
        for number, session in enumerate(asked):
            chosen = router.choose(features_of(patterns, session, router.centres)).route.name
            took[chosen] += 1
            routed[number] = scores[number, names.index(chosen)]
    yield _report(names, scores, routed, scores[:, 0], _votes(asked, answers), took)


def routes_of(db: Database, adapters: Sequence[str]) -> list[tuple[str, RunSettings]]:
    """The routes of adapters, each asked as it was trained.

    Raises:
        KdtuiError: there are fewer than two, one is no adapter that writes lists, or they are of different bases.
    """
    names = list(dict.fromkeys(adapters))
    if len(names) < 2:
        raise KdtuiError("a router chooses between adapters; give --adapter twice or more")
    routes = []
    for adapter in names:
        if adapter.startswith(ROUTED):
            raise KdtuiError(f"{adapter} is a router itself; name its adapters")
        adapter_file(db, adapter)
        trained = trained_with(db, adapter)
        if trained is not None and trained.form != "list":
            raise KdtuiError(
                f"adapter {adapter!r} was trained in the form {trained.form}, and a router takes those that write lists"
            )
        settings = settings_as_trained(db, SHIPPED, None, adapters=((adapter, 1.0),), strategy="list")
        routes.append((adapter, settings))
    bases = {settings.student: adapter for adapter, settings in routes}
    if len(bases) > 1:
        (one, first), (other, second), *_ = bases.items()
        raise KdtuiError(
            f"adapters of different bases cannot share a router: {first!r} is for {one}, {second!r} for {other}"
        )
    return routes


def _answered(
    db: Database,
    dataset: str,
    split: Split,
    settings: RunSettings,
    limit: int | None,
    sessions: SplitSessions,
    tell: Tell,
) -> Generator[RouterEvent, None, Run]:
    """Have a route answer sessions, as far as no run has its answers; the run that has them."""
    wanted = replace(settings, limit=limit, seed=None if limit is None else 0)
    found = _earlier_run(db, dataset, split, wanted)
    if found is not None and found.is_over:
        return found.run
    if found is not None:
        yield from resume(db, found.run, sessions, tell)
        return found.run
    run = None
    for event in evaluate(db, dataset, split, wanted, sessions, tell=tell):
        if isinstance(event, RunBegun):
            run = event.run
        yield event
    assert run is not None
    return run


def _earlier_run(db: Database, dataset: str, split: Split, settings: RunSettings) -> RunSummary | None:
    """The newest run with these settings, over all sessions or as many, since the adapter is as it is now."""
    path = adapter_file(db, settings.adapters[0][0])
    for summary in reversed(list_runs(db)):
        run = summary.run
        over_all = replace(settings, limit=None, seed=None)
        has_answers = run.settings == settings or (run.settings == over_all and summary.is_over)
        # Runs know the second in which they began.
        is_later = int(path.stat().st_mtime) <= datetime.fromisoformat(run.created_at).timestamp()
        if (run.dataset, run.split) == (dataset, split) and has_answers and is_later:
            return summary
    return None


def _by_session(db: Database, sessions: Iterable[Session], runs: Sequence[Run]) -> list[list[list[frozenset[int]]]]:
    """The bundles of each run for each session; none where it has no answer."""
    found = [{session.id: bundles_of(answer) for session, answer in answered_by(db, run, sessions)} for run in runs]
    return [[answers.get(session.id, []) for answers in found] for session in sessions]


def _scores(sessions: Sequence[Session], answers: Sequence[Sequence[list[frozenset[int]]]]) -> Matrix:
    """(sessions, routes): pair F1."""
    return np.array(
        [
            [pair_f1(truth, bundles) for bundles in of_routes]
            for truth, of_routes in zip(map(true_bundles, sessions), answers, strict=True)
        ]
    )


def _votes(sessions: Sequence[Session], answers: Sequence[Sequence[list[frozenset[int]]]]) -> Vector:
    """(sessions,): pair F1 of what the routes agree on."""
    return np.array(
        [
            pair_f1(true_bundles(session), vote(of_routes, len(session.items)))
            for session, of_routes in zip(sessions, answers, strict=True)
        ]
    )


def _centres(db: Database, sessions: Mapping[str, SplitSessions], tell: Tell) -> dict[str, tuple[float, ...]]:
    """The mean direction of the sessions of each dataset, where there are several that can be told apart by it."""
    centres: dict[str, tuple[float, ...]] = {}
    if len(sessions) < 2:
        return centres
    for dataset, some in sessions.items():
        with open_pattern_student(db, dataset, tell) as patterns:
            vectors = [vector for session in some if (vector := patterns.session_vector(session)) is not None]
        if vectors:
            centres[dataset] = tuple(scaled_to_one(np.mean(vectors, axis=0)).tolist())
    return centres


def _report(
    names: Sequence[str],
    scores: Matrix,
    routed: Vector,
    best: Vector,
    voted: Vector,
    took: dict[str, int],
) -> Report:
    oracle = scores.max(axis=1)
    ways = {
        **{name: scores[:, number] for number, name in enumerate(names)},
        BEST: best,
        RANDOM: scores.mean(axis=1),
        VOTE: voted,
        ROUTER: routed,
        ORACLE: oracle,
    }
    cells = {name: Cell.of(values) for name, values in ways.items()}
    rows = [
        RouterRow(name, found)
        for name, found in zip(cells, estimate_cells(list(cells.values()), within=(0, 1)), strict=True)
    ]
    [gain] = compare_cells([CellPair(BEST, ROUTER, "pair_f1", cells[BEST], cells[ROUTER])])
    possible = float((oracle - best).mean())
    reached = float((routed - best).mean()) / possible if possible > _NOTHING else None
    return Report(tuple(rows), gain, reached, took, len(scores))
