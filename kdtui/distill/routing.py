"""A router: it chooses the adapter that answers a session.

The expected score of each adapter on a session is a ridge regression on a few features, which cost next to nothing
compared with an answer. It is fitted to the *difference* from the adapter that is best on average, so a heavy penalty
means "always the best one". The penalty is chosen by cross-validation: with a hundred validation sessions, the
heaviest is often the best.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from kdtui.errors import KdtuiError
from kdtui.text import counted, one_line
from models.embedded import ENCODER_DIMENSIONS
from models.pairs.clustering import Matrix, average_link
from models.pairs.logistic import Vector
from models.unit_vectors import Vectors
from store.records import RunSettings, Session

ALWAYS = float("inf")
"""The penalty of a router that always chooses the best adapter."""

PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, ALWAYS)

FOLDS = 10

ENOUGH_SESSIONS = 20
"""With fewer sessions, a router only learns which adapter is best, and always chooses that one."""

_MAJORITY = float(np.nextafter(0.5, 1))

_LIKE = "like "
"""Begins the names of features that say which dataset a session is of, or is most like: 1 for that one, else 0."""

FEATURES = (
    "ln(products)",
    "share without a category",
    "categories a product",
    "top categories a product",
    "mean pair probability",
    "spread of pair probabilities",
    "share of unsure pairs",
)
"""Names of the features of a session, besides those of datasets; see `session_features`."""

_UNSURE = (0.25, 0.75)
"""Pair probabilities between these say little."""


class Route(Struct, frozen=True):
    """One adapter of a router.

    Attributes:
        name: display name.
        settings: the base, the adapter and the knowledge that its prompts show.
        score: mean pair F1 on the sessions that the router was fitted to.
        bias, weights: regression of its gain in pair F1 over the best route, by standardized features.
    """

    name: str
    settings: RunSettings
    score: float
    bias: float
    weights: dict[str, float]


class ValidationScore(Struct, frozen=True, forbid_unknown_fields=True):
    """The score of one way to use the adapters of a router, on the sessions that the router was fitted to.

    Attributes:
        name: of the way: a route, the router, or a simpler method.
        mean, low, high: pair F1 with its 95 % confidence interval. Whatever is fitted was fitted to other sessions
            than it is judged on.
    """

    name: str
    mean: float
    low: float
    high: float


class Router(Struct, frozen=True):
    """Chooses a route for each session.

    Attributes:
        routes: the routes, best on average first.
        mean, spread: mean and standard deviation of each feature over the sessions that it was fitted to.
        centres: for routers of several datasets, the mean direction of each one's sessions, of length one; else empty.
        datasets: datasets whose validation sessions it was fitted to.
        sessions: number of these sessions.
        penalty: penalty of the regression; None for a router that always chooses the best route.
        validation: scores of the router, of each route, and of simpler methods; empty if an earlier version made it.
    """

    routes: tuple[Route, ...]
    mean: dict[str, float]
    spread: dict[str, float]
    centres: dict[str, tuple[float, ...]]
    datasets: tuple[str, ...]
    sessions: int
    penalty: float | None
    validation: tuple[ValidationScore, ...] = ()

    @property
    def why_constant(self) -> str | None:
        """Why it always chooses the best route; None if it can choose another one."""
        if self.penalty is not None:
            return None
        if self.sessions < ENOUGH_SESSIONS:
            return f"{counted(self.sessions, 'session')} cannot show when another adapter is better"
        return "no feature predicts when another adapter is better"

    def choose(self, features: Mapping[str, float], present: Collection[str] | None = None) -> "AdapterChoice":
        """Choose the route with the best expected score.

        Args:
            features: features of the session, by name.
            present: names of the routes whose adapters exist; None for all.

        Raises:
            KdtuiError: no adapter exists.
        """
        available = [route for route in self.routes if present is None or route.name in present]
        if not available:
            raise KdtuiError("all adapters of the router have been deleted")
        standard = {name: (features[name] - self.mean[name]) / self.spread[name] for name in self.mean}

        def gain(route: Route) -> float:
            return route.bias + sum(weight * standard[name] for name, weight in route.weights.items())

        gains = {route.name: gain(route) for route in available}
        best = available[0]
        # On a tie, the first route, which is better on average.
        chosen = max(available, key=lambda route: gains[route.name])
        expected = {name: min(max(self.routes[0].score + value, 0.0), 1.0) for name, value in gains.items()}
        return AdapterChoice(
            chosen, expected, "" if chosen is best else _strongest_argument(chosen, best, standard, features)
        )


@dataclass(frozen=True, slots=True)
class AdapterChoice:
    """The route for a session, with the reason.

    Attributes:
        expected: expected pair F1 of each route, by name.
        because: the feature that is the strongest argument for the route, with its value; empty if the route is the
            best on average.
    """

    route: Route
    expected: Mapping[str, float]
    because: str

    @property
    def in_words(self) -> str:
        """The choice as a sentence."""
        if not self.because:
            return f"answered with {self.route.name}, the best on average of {len(self.expected)}"
        others = [value for name, value in self.expected.items() if name != self.route.name]
        own = self.expected[self.route.name]
        return (
            f"answered with {self.route.name}: {self.because}; expected pair F1 {own:.2f}, at most {max(others):.2f} "
            "for the others"
        )


def _strongest_argument(
    chosen: Route, best: Route, standard: Mapping[str, float], features: Mapping[str, float]
) -> str:
    """Return the feature that is the strongest argument for a route against the best one on average."""

    def speaks(name: str) -> float:
        return (chosen.weights.get(name, 0.0) - best.weights.get(name, 0.0)) * standard[name]

    name = max(standard, key=speaks)
    if name.startswith(_LIKE):
        return name if features[name] else f"un{name}"
    return f"{name} {features[name]:.2g}"


def session_features(
    session: Session,
    dataset: str | None,
    probabilities: Matrix,
    vector: Vectors | None,
    centres: Mapping[str, Sequence[float]],
) -> dict[str, float]:
    """Return the features of a session for a router, by name; all are finite.

    Args:
        dataset: of the session; None if it is of none. A session of another dataset than those of the router counts as
            one of the dataset whose centre is nearest.
        probabilities: probability that two products share a bundle, (products, products).
        vector: vector of the session, (dimensions,), of length one; None if there is no model for its titles.
        centres: see `Router`.
    """
    size = len(session.items)
    pairs = probabilities[np.triu_indices(size, 1)] if size > 1 else np.zeros(1)
    bare = sum(not item.categories for item in session.items)
    tops = {item.categories[0][0] for item in session.items if item.categories}
    narrow = {item.categories[0] for item in session.items if item.categories}
    values = (
        log(max(size, 1)),
        bare / max(size, 1),
        len(narrow) / max(size, 1),
        len(tops) / max(size, 1),
        float(pairs.mean()),
        float(pairs.std()),
        float(((pairs > _UNSURE[0]) & (pairs < _UNSURE[1])).mean()),
    )
    features = dict(zip(FEATURES, values, strict=True))
    like = dataset if dataset in centres else _nearest(vector, centres)
    features |= {f"{_LIKE}{name}": float(name == like) for name in centres}
    return features


def features_problem(
    mean: Mapping[str, float],
    spread: Mapping[str, float],
    weights: Iterable[Mapping[str, float]],
    centres: Mapping[str, Sequence[float]],
) -> str | None:
    """Return why a router with these numbers cannot choose for a session; None if it can.

    Args:
        mean, spread, centres: see `Router`.
        weights: of each route; see `Route`.
    """
    if {*mean} != {*spread} or any(not {*each} <= {*mean} for each in weights):
        return "its mean, spread and weights are of different features"
    if not mean:
        return "it has no features"
    names = {*FEATURES, *(f"{_LIKE}{dataset}" for dataset in centres)}
    if (unknown := next((name for name in mean if name not in names), None)) is not None:
        return f"a session has no feature {one_line(unknown, 80)!r}"
    if any(value <= 0 for value in spread.values()):
        return "the spread of a feature must be above 0"
    for dataset, centre in centres.items():
        if len(centre) != ENCODER_DIMENSIONS:
            name = one_line(dataset, 80)
            return f"its centre of {name!r} has {len(centre)} dimensions, and must have {ENCODER_DIMENSIONS}"
    return None


def _nearest(vector: Vectors | None, centres: Mapping[str, Sequence[float]]) -> str | None:
    """Return the dataset whose centre has the largest cosine with a session; None if there is no vector or centre."""
    if vector is None or not centres:
        return None
    return max(centres, key=lambda name: float(np.asarray(centres[name]) @ vector))


@dataclass(frozen=True, slots=True, eq=False)
class FittedRouter:
    """The linear model of a router.

    Attributes:
        order: numbers of the routes, best on average first.
        scores: mean scores of the routes.
        mean, spread: mean and standard deviation of the features, (features,).
        weights: (routes, 1 + features): bias and weights of the gain over the best route, for which they are 0.
        penalty: see `PENALTIES`.
    """

    order: tuple[int, ...]
    scores: Vector
    mean: Vector
    spread: Vector
    weights: Matrix
    penalty: float

    def chosen(self, features: Matrix) -> npt.NDArray[np.intp]:
        """Return the number of the chosen route for each session, (sessions,), from (sessions, features)."""
        gains = _with_ones((features - self.mean) / self.spread) @ self.weights.T
        # On a tie, the first route, which is better on average.
        order = np.array(self.order)
        numbers: npt.NDArray[np.intp] = order[gains[:, order].argmax(axis=1)]
        return numbers


def fit_router(features: Matrix, scores: Matrix) -> FittedRouter:
    """Fit a router; choose the penalty by cross-validation, on a tie the larger one.

    Args:
        features: (sessions, features), finite.
        scores: (sessions, routes).
    """
    return _fit_best(features, scores, _penalties(len(features)))


def cross_validate(features: Matrix, scores: Matrix) -> Vector:
    """Cross-validate `fit_router` with its choice of the penalty: return its score on each session, (sessions,)."""
    # All sessions decide whether a router learns. A fold lacks some of them, and would decide otherwise.
    return _cross_validated(features, scores, _penalties(len(features)))


def _penalties(sessions: int) -> tuple[float, ...]:
    """Return the penalties to choose from with this number of sessions."""
    return PENALTIES if sessions >= ENOUGH_SESSIONS else (ALWAYS,)


def _fit_best(features: Matrix, scores: Matrix, penalties: Sequence[float]) -> FittedRouter:
    best = penalties[0]
    if len(penalties) > 1:
        means = {penalty: float(_cross_validated(features, scores, (penalty,)).mean()) for penalty in penalties}
        best = max(penalties, key=lambda penalty: (round(means[penalty], 9), penalty))
    return _fit(features, scores, best)


def _cross_validated(features: Matrix, scores: Matrix, penalties: Sequence[float]) -> Vector:
    crossed_scores = np.zeros(len(scores))
    for others, part in folds(len(scores)):
        router = _fit_best(features[others], scores[others], penalties)
        crossed_scores[part] = scores[part, router.chosen(features[part])]
    return crossed_scores


def cross_validate_best(scores: Matrix) -> Vector:
    """Cross-validate the choice of the best route: return its score on each session, (sessions,)."""
    crossed_scores = np.zeros(len(scores))
    for others, part in folds(len(scores)):
        crossed_scores[part] = scores[part, scores[others].mean(axis=0).argmax()]
    return crossed_scores


def folds(count: int) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Split the numbers below `count` into random folds, always the same; yield the other numbers and the fold."""
    mixed = np.random.default_rng(0).permutation(count)
    for fold in range(min(FOLDS, count)):
        part = np.sort(mixed[fold::FOLDS])
        yield np.setdiff1d(np.arange(count), part), part


def _fit(features: Matrix, scores: Matrix, penalty: float) -> FittedRouter:
    means = scores.mean(axis=0)
    order = tuple(int(number) for number in np.argsort(-means, kind="stable"))
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    weights = np.zeros((scores.shape[1], 1 + features.shape[1]))
    gains = scores - scores[:, [order[0]]]
    weights[:, 0] = gains.mean(axis=0)
    if penalty != ALWAYS:
        x = (features - mean) / spread
        # The bias is not penalized: standardized features have mean 0.
        weights[:, 1:] = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ gains).T
    return FittedRouter(order, means, mean, spread, weights, penalty)


def _with_ones(features: Matrix) -> Matrix:
    return np.column_stack([np.ones(len(features)), features])


def make_router(
    fitted: FittedRouter,
    routes: Sequence[tuple[str, RunSettings]],
    names: Sequence[str],
    centres: Mapping[str, Sequence[float]],
    datasets: Sequence[str],
    sessions: int,
    validation: Sequence[ValidationScore] = (),
) -> Router:
    """Build the router of a linear model.

    Args:
        routes: name and settings of each route.
        names: names of the features.
        validation: see `Router`.
    """
    return Router(
        tuple(
            Route(
                *routes[number],
                float(fitted.scores[number]),
                float(fitted.weights[number, 0]),
                dict(zip(names, fitted.weights[number, 1:].tolist(), strict=True)),
            )
            for number in fitted.order
        ),
        dict(zip(names, fitted.mean.tolist(), strict=True)),
        dict(zip(names, fitted.spread.tolist(), strict=True)),
        {dataset: tuple(map(float, centre)) for dataset, centre in centres.items()},
        tuple(datasets),
        sessions,
        None if fitted.penalty == ALWAYS else fitted.penalty,
        tuple(validation),
    )


def vote(answers: Sequence[Sequence[frozenset[int]]], size: int) -> list[frozenset[int]]:
    """Return the bundles that several answers to a session agree on: products that more than half put together.

    Args:
        answers: bundles of positions (1-based), one sequence for each route.
        size: number of products in the session.
    """
    together = np.zeros((size, size))
    for bundles in answers:
        own = np.zeros((size, size), np.bool_)
        for bundle in bundles:
            at = np.array(sorted(bundle)) - 1
            own[np.ix_(at, at)] = True
        together += own
    np.fill_diagonal(together, 0)
    return [frozenset(cluster) for cluster in average_link(together / len(answers), _MAJORITY)]
