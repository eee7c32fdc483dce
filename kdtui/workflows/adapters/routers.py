"""Routers: fitted to the scores of several adapters on validation sessions, and compared with simpler methods."""

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
    ValidationScore,
    cross_validate,
    cross_validate_best,
    fit_router,
    make_router,
    vote,
)
from kdtui.errors import KdtuiError
from kdtui.statistics.estimates import CellPair, compare_cells, estimate_cells
from kdtui.statistics.results import Comparison, Estimate
from kdtui.statistics.sessions import CellValues
from kdtui.text import counted
from kdtui.workflows.manage_models import checked_name
from kdtui.workflows.model_names import ROUTED
from kdtui.workflows.runs.evaluate import (
    EvaluateEvent,
    RunBegun,
    answered_by,
    evaluate_split,
    resume_run,
    split_to_score,
)
from kdtui.workflows.runs.runs import predicted_bundles
from kdtui.workflows.student.adapters import adapter_file, trained_with
from kdtui.workflows.student.as_trained import settings_as_trained
from kdtui.workflows.student.learning import Tell, tell_nobody
from kdtui.workflows.student.pair_evidence import open_pattern_student
from kdtui.workflows.student.routed import features_of, load_router
from models.embedded import SHIPPED
from models.pairs.clustering import Matrix
from models.pairs.logistic import Vector
from models.unit_vectors import scaled_to_one
from store.knowledge_uses import newest_kept_piece
from store.records import RunSettings, Session, Split
from store.routers import check_router_name, save_router
from store.runs import Run, RunSummary, list_runs
from store.samples import get_sample
from store.split_sessions import SplitSessions
from store.sqlite import Database

ROUTER = "router"
BEST = "best single"
RANDOM = "random"
VOTE = "vote by pair"
ORACLE = "oracle"

METHODS = (BEST, RANDOM, VOTE, ROUTER, ORACLE)
"""Names of the rows of a report that are no routes."""

LEAST_SESSIONS = 2
"""Sessions that cross-validation needs."""

_NOTHING = 1e-9
"""Smaller gains are rounding errors."""


@dataclass(frozen=True, slots=True)
class RouteBegun:
    """A route begins to answer sessions of a dataset, or has answered all of them in an earlier run."""

    route: str
    dataset: str
    split: Split


@dataclass(frozen=True, slots=True)
class RouterRow:
    """The pair F1 of one way to answer sessions.

    Attributes:
        name: of a route or of a method; a route that has the name of a method is called `adapter NAME`.
        chosen_for: sessions that the route got from the router; None for a method.
    """

    name: str
    estimate: Estimate
    chosen_for: int | None


@dataclass(frozen=True, slots=True)
class RouterReport:
    """A router compared with simpler ways to use the same adapters, over the same sessions.

    Attributes:
        rows: each route, the best one, a random one, the vote, the router, and the oracle, which is a bound.
        gain: of the router over the best single route.
        reached: the share of the oracle's gain over the best route that the router reaches; None if there is none.
    """

    rows: tuple[RouterRow, ...]
    gain: Comparison
    reached: float | None
    sessions: int

    @property
    def in_words(self) -> str:
        """The meaning of the numbers in a sentence or two."""
        gain = self.gain
        interval = f"{gain.difference:+.3f} of pair F1 ({gain.low:+.3f} to {gain.high:+.3f})"
        over = f"over {counted(self.sessions, 'session')}"
        if gain.is_claimed:
            verb = "gains" if gain.difference > 0 else "loses"
            sentence = f"the router {verb} {interval} against the best single adapter {over}"
        else:
            sentence = f"router and best single adapter differ by {interval} {over}, which is noise"
        if self.reached is None:
            return f"{sentence}; no choice of adapters could be better than the best one"
        return f"{sentence}; it reaches {self.reached:.0%} of the gain of perfect choices"


@dataclass(frozen=True, slots=True)
class RouterTrained:
    """The router is stored."""

    router: Router
    report: RouterReport


RouterEvent: TypeAlias = RouteBegun | EvaluateEvent | RouterTrained | RouterReport


def train_router(
    db: Database,
    name: str,
    datasets: Sequence[str],
    adapters: Sequence[str],
    *,
    limit: int | None = None,
    replace_old: bool = False,
    tell: Tell = tell_nobody,
) -> Iterator[RouterEvent]:
    """Have each adapter answer the validation sessions of the datasets, fit a router to the scores, and store it.

    Existing runs over these sessions are used. The last event is `RouterTrained`.

    Args:
        limit: sessions of each dataset, drawn by chance; None for all.
        replace_old: whether to replace a router of this name.

    Raises:
        NotFound: there is no such dataset.
        StoreError: there is such a router.
        KdtuiError: an adapter cannot be used by a router, or there are too few sessions.
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
    tell: Tell = tell_nobody,
) -> RouterTrained:
    """Fit a router to the answers of its routes, and store it.

    Args:
        routes: a name and settings for each.
        runs: of each dataset over its validation sessions, one for each route.
        limit: sessions of each dataset, drawn by chance; None for all.

    Raises:
        StoreError: there is such a router, and `replace_old` is not set.
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
            views += [features_of(patterns, session, dataset, centres) for session in some]
    features = np.array([[*view.values()] for view in views])
    scores = _scores(asked, answers)
    fitted = fit_router(features, scores)
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
    scored = [ValidationScore(row.name, row.estimate.mean, row.estimate.low, row.estimate.high) for row in report.rows]
    router = make_router(fitted, routes, list(views[0]), centres, list(sessions), len(asked), scored)
    save_router(db, name, msgspec.json.encode(router).decode(), replace=replace_old)
    return RouterTrained(router, report)


def compare_routes(
    db: Database, name: str, dataset: str, split: Split, *, limit: int | None = None, tell: Tell = tell_nobody
) -> Iterator[RouterEvent]:
    """Compare a router with simpler methods on sessions that it was not fitted to; the last event is a `RouterReport`.

    Existing runs over these sessions are used. The router's answers are those of the adapters that it chooses.

    Raises:
        NotFound: there is no such router, or no such dataset.
        KdtuiError: one of its adapters is gone, or it was fitted to these sessions.
        ModelError: a model cannot be loaded, or fails.
    """
    router = load_router(db, name)
    if split == "valid" and dataset in router.datasets:
        raise KdtuiError(
            f"router {name!r} was fitted to the validation sessions of {dataset}; kdtui router show {name} shows its "
            "cross-validation on them; choose another split"
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
            chosen = router.choose(features_of(patterns, session, dataset, router.centres)).route.name
            took[chosen] += 1
            routed[number] = scores[number, names.index(chosen)]
    yield _report(names, scores, routed, scores[:, 0], _votes(asked, answers), took)


def routes_of(db: Database, adapters: Sequence[str]) -> list[tuple[str, RunSettings]]:
    """Return the routes of adapters, each asked as it was trained.

    Raises:
        KdtuiError: there are fewer than two, one is not an adapter that writes lists, or they are of different bases.
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
    """Have a route answer the sessions that no earlier run of it has answered, and return the run with its answers."""
    wanted = replace(settings, limit=limit, seed=None if limit is None else 0)
    earlier = _earlier_run(db, dataset, split, wanted)
    if earlier is not None and earlier.is_over:
        return earlier.run
    if earlier is not None:
        yield from resume_run(db, earlier.run, sessions, tell)
        return earlier.run
    run = None
    for event in evaluate_split(db, dataset, split, wanted, sessions, tell=tell):
        if isinstance(event, RunBegun):
            run = event.run
        yield event
    assert run is not None
    return run


def _earlier_run(db: Database, dataset: str, split: Split, settings: RunSettings) -> RunSummary | None:
    """Return the newest run with these settings that is up to date, over all or the same sessions."""
    changed = _last_change(db, dataset, settings)
    over_all = replace(settings, limit=None, seed=None)
    for summary in reversed(list_runs(db)):
        run = summary.run
        has_answers = run.settings == settings or (run.settings == over_all and summary.is_over)
        is_later = changed <= datetime.fromisoformat(run.created_at).timestamp()
        if (run.dataset, run.split) == (dataset, split) and has_answers and is_later:
            return summary
    return None


def _last_change(db: Database, dataset: str, settings: RunSettings) -> int:
    """Return when a route's adapter, or the knowledge in its prompts, last changed, as far as the store tells.

    Returns:
        seconds since 1970. Runs store their beginning in whole seconds, too.

    Raises:
        NotFound: there is no such dataset, or no such sample.
    """
    changes = [adapter_file(db, settings.adapters[0][0]).stat().st_mtime]
    if settings.knowledge and settings.sample is not None:
        # A sample gets its pieces when it is drawn.
        changes.append(datetime.fromisoformat(get_sample(db, settings.sample).created_at).timestamp())
    elif settings.knowledge and (newest := newest_kept_piece(db, dataset, settings.knowledge)) is not None:
        changes.append(datetime.fromisoformat(newest).timestamp())
    return int(max(changes))


def _by_session(db: Database, sessions: Iterable[Session], runs: Sequence[Run]) -> list[list[list[frozenset[int]]]]:
    """Return the bundles of each run for each session; empty if it has no answer."""
    answers_of_runs = [
        {session.id: predicted_bundles(answer) for session, answer in answered_by(db, run, sessions)} for run in runs
    ]
    return [[answers.get(session.id, []) for answers in answers_of_runs] for session in sessions]


def _scores(sessions: Sequence[Session], answers: Sequence[Sequence[list[frozenset[int]]]]) -> Matrix:
    """Return (sessions, routes): pair F1."""
    return np.array(
        [
            [pair_f1(truth, bundles) for bundles in of_routes]
            for truth, of_routes in zip(map(true_bundles, sessions), answers, strict=True)
        ]
    )


def _votes(sessions: Sequence[Session], answers: Sequence[Sequence[list[frozenset[int]]]]) -> Vector:
    """Return (sessions,): pair F1 of the bundles that the routes agree on."""
    return np.array(
        [
            pair_f1(true_bundles(session), vote(of_routes, len(session.items)))
            for session, of_routes in zip(sessions, answers, strict=True)
        ]
    )


def _centres(db: Database, sessions: Mapping[str, SplitSessions], tell: Tell) -> dict[str, tuple[float, ...]]:
    """Return the mean direction of the sessions of each dataset, if there are several datasets to distinguish."""
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
) -> RouterReport:
    oracle = scores.max(axis=1)
    routes = [(_label(name), took[name], scores[:, number]) for number, name in enumerate(names)]
    methods = zip(METHODS, (best, scores.mean(axis=1), voted, routed, oracle), strict=True)
    # A list: a route can have the name of a method.
    ways = [*routes, *((method, None, values) for method, values in methods)]
    estimates = estimate_cells([CellValues.of(values) for _, _, values in ways], within=(0, 1))
    rows = [RouterRow(label, found, count) for (label, count, _), found in zip(ways, estimates, strict=True)]
    [gain] = compare_cells([CellPair(BEST, ROUTER, "pair_f1", CellValues.of(best), CellValues.of(routed))])
    possible = float((oracle - best).mean())
    reached = float((routed - best).mean()) / possible if possible > _NOTHING else None
    return RouterReport(tuple(rows), gain, reached, len(scores))


def _label(route: str) -> str:
    return f"adapter {route}" if route in METHODS else route
