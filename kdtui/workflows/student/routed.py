"""A student whose router chooses an adapter for each session."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

from kdtui.distill.applicable import Applicable
from kdtui.distill.pattern_student import PatternStudent
from kdtui.distill.routing import AdapterChoice, Router, features_problem, session_features
from kdtui.errors import KdtuiError
from kdtui.workflows.model_names import absolute_name, located_model, router_in
from kdtui.workflows.student.adapters import adapter_file, trained_with
from kdtui.workflows.student.explain import PromptExplanation, explain_model
from kdtui.workflows.student.learning import Tell
from kdtui.workflows.student.model import load_model, retriever, task_maker
from kdtui.workflows.student.pair_evidence import open_pattern_student
from kdtui.workflows.student.session_student import SessionStudent
from kdtui.workflows.student.settings import student_name
from models.llama.loading import Loading
from models.llama.strategies import make_strategy
from models.student_protocol import Adapter, SessionTask, StudentEvent
from store.errors import StoreError
from store.records import RunSettings, Session
from store.routers import get_router
from store.sqlite import Database

_REMEMBERED = 1000
"""Sessions whose choice is cached: both answering and showing the answer need it."""


def load_router(db: Database, name: str) -> Router:
    """Load the router of this name.

    Raises:
        NotFound: there is none.
        KdtuiError: it was made by an incompatible version, or its numbers cannot be used.
    """
    stored = get_router(db, name)
    try:
        router = msgspec.json.decode(stored.content, type=Router)
        weights = [route.weights for route in router.routes]
        problem = features_problem(router.mean, router.spread, weights, router.centres)
    except msgspec.MsgspecError as error:
        problem = str(error)
    if problem is not None:
        raise KdtuiError(
            f"router {name!r} cannot be used ({problem}); delete it with: kdtui router rm {name}, and train it again"
        )
    return router


def base_of_router(db: Database, name: str, asked: str | None) -> str:
    """Return the student whose adapters a router chooses from.

    Args:
        asked: the student that the user named; None for none.

    Raises:
        NotFound: there is no such router.
        KdtuiError: its adapters are for another student.
    """
    base = load_router(db, name).routes[0].settings.student
    if asked is not None and absolute_name(asked) != base:
        raise KdtuiError(f"the adapters of router {name!r} are for {base}, not for {asked}; leave out --student")
    return base


def available_adapters(db: Database, router: Router) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the adapter files of a router by the names of its routes, and the reasons why others are missing."""
    available: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for route in router.routes:
        [(adapter, _)] = route.settings.adapters
        try:
            path = adapter_file(db, adapter)
        except (KdtuiError, StoreError) as error:
            missing[route.name] = str(error)
            continue
        if path.is_file():
            available[route.name] = path
        else:
            missing[route.name] = f"{path}: there is no such file"
    return available, missing


def features_of(
    patterns: PatternStudent, session: Session, dataset: str | None, centres: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """Return the features of a session for a router, from the pattern student of its dataset; see `session_features`.

    Raises:
        KdtuiError: the session has too many products.
    """
    probabilities, vector = patterns.pair_probabilities(session), patterns.session_vector(session)
    return session_features(session, dataset, probabilities, vector, centres)


@contextmanager
def open_routed(db: Database, dataset: str | None, settings: RunSettings, tell: Tell) -> Iterator[SessionStudent]:
    """Load the base of a router with all available adapters; otherwise like `open_student`.

    Raises:
        NotFound: there is no such router.
        KdtuiError: none of its adapters is available, or one is shown knowledge and no dataset is named.
        ModelError: the base cannot be loaded, or an adapter is for another one.
    """
    name = router_in(settings)
    assert name is not None
    router = load_router(db, name)
    available, missing = available_adapters(db, router)
    if not available:
        raise KdtuiError(f"router {name!r}: none of its adapters is available; {next(iter(missing.values()))}")
    for gone, why in missing.items():
        tell(f"router {name!r} lacks {gone}, and gives its sessions to other adapters: {why}")
    if dataset is not None and dataset not in router.datasets:
        known = ", ".join(router.datasets)
        tell(f"router {name!r} was not fitted on {dataset}; it chooses by what it learned from {known}")
    routes = [route for route in router.routes if route.name in available]
    if dataset is None and (asks := [route.name for route in routes if route.settings.knowledge]):
        raise KdtuiError(f"{asks[0]} is shown knowledge; name the dataset that it comes from with --dataset")
    adapters = {route.name: (Adapter(available[route.name]),) for route in routes}
    base = located_model(db, settings.student)
    loaded = [adapter for each in adapters.values() for adapter in each]
    load = partial(load_model, base, loaded, settings.context, user_cache_path("kdtui"))
    with closing(Loading(load)) as loading, open_pattern_student(db, dataset, tell) as patterns:

        @lru_cache(maxsize=_REMEMBERED)
        def choose(session: Session) -> AdapterChoice:
            try:
                features = features_of(patterns, session, dataset, router.centres)
            except KdtuiError:
                # It has too many products to judge their pairs. Treat it as the average session.
                features = router.mean
            return router.choose(features, available)

        # Raise an error of loading now.
        student = loading.result()
        knowledge: dict[str, Callable[[Session], Applicable]] = {}
        make: dict[str, Callable[[Session], SessionTask]] = {}
        for route in routes:
            knowledge[route.name] = retriever(
                db, dataset, route.settings, lambda text: len(student.model.tokenize(text))
            )
            trained = trained_with(db, route.settings.adapters[0][0])
            thinks = trained is not None and trained.target
            make[route.name] = task_maker(knowledge[route.name], adapters[route.name], None, thinks=thinks)

        def task(session: Session) -> SessionTask:
            return make[choose(session).route.name](session)

        def answer(sessions: Iterable[Session | None]) -> Iterator[StudentEvent]:
            tasks = (None if session is None else task(session) for session in sessions)
            return student.answer(tasks, make_strategy("list", None))

        def explain(session: Session) -> PromptExplanation:
            choice = choose(session)
            explanation = explain_model(student, task(session), knowledge[choice.route.name](session), "list")
            return replace(explanation, how=f"The router {name} chose: {choice.in_words}. {explanation.how}")

        yield SessionStudent(student_name(settings), answer, explain, choose=choose)
