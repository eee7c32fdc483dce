"""The cost of routing: a routed run against the same sessions, answered by single adapters.

    python -m benchmarks.routing STORE --dataset NAME --adapter NAME --adapter NAME [--sessions 90]

STORE is a database with the adapters, trained by kdtui sft launch; it is copied. Validation sessions are drawn from it
at random. The router goes only by their size and gives each adapter about the same number. There are two comparisons.
Each adapter answers its share by itself, so that both sides read and write the same tokens. And each adapter answers
all sessions, of which the mean counts. Models are loaded before the clock starts, and routing happens after it has.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import msgspec
import numpy as np

from benchmarks.measure import report
from kdtui.distill.routing import Route, Router
from kdtui.workflows.adapters.routers import routes_of
from kdtui.workflows.model_names import ROUTED
from kdtui.workflows.student.open import open_student
from kdtui.workflows.student.pair_evidence import open_pattern_student
from kdtui.workflows.student.routed import features_of
from kdtui.workflows.student.session_student import SessionStudent
from models.student_protocol import Answered
from store.database import open_database
from store.records import RunSettings, Session
from store.routers import save_router
from store.sessions import draw_sessions
from store.sqlite import Database

_ROUTER = "by-size"
_SIZE = "ln(products)"


def main() -> None:
    """Measure, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--adapter", required=True, action="append")
    parser.add_argument("--sessions", type=int, default=90)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copy(options.store, folder))
        db = open_database(copy)
        sessions = list(draw_sessions(db, options.dataset, "valid", options.sessions))
        base = _save_router(db, options.adapter, options.dataset, sessions)
        routed = RunSettings(base, adapters=((f"{ROUTED}{_ROUTER}", 1.0),))
        with open_student(db, options.dataset, routed) as student:
            together = _seconds(student, sessions)
            assert student.choose is not None
            shares: dict[str, list[Session]] = {}
            for session in sessions:
                shares.setdefault(student.choose(session).route.name, []).append(session)
        in_shares, single = 0.0, []
        for name, settings in routes_of(db, options.adapter):
            with open_student(db, options.dataset, settings) as student:
                in_shares += _seconds(student, shares.get(name, []))
            with open_student(db, options.dataset, settings) as student:
                single.append(_seconds(student, sessions))
        features = _feature_seconds(db, options.dataset, sessions)
        db.close()
    print("  sessions of each adapter:", ", ".join(f"{name} {len(share)}" for name, share in shares.items()))
    seconds, count = together / len(sessions), len(sessions)
    report("seconds a session, routed, against each adapter on its share", seconds, in_shares / count, "s", "1.15")
    report(
        "seconds a session, routed, against a single adapter", seconds, sum(single) / len(single) / count, "s", "1.15"
    )
    print(f"  the features of a session: {1000 * features:.1f} ms, of {seconds:.2f} s for its answer")


def _feature_seconds(db: Database, dataset: str, sessions: Sequence[Session]) -> float:
    """Return the seconds that all features of a router take for a session."""
    with open_pattern_student(db, dataset, print) as patterns:
        began = perf_counter()
        for session in sessions:
            features_of(patterns, session, dataset, {})
        return (perf_counter() - began) / len(sessions)


def _save_router(db: Database, adapters: Sequence[str], dataset: str, sessions: Sequence[Session]) -> str:
    """Store a router that gives each adapter sessions of different sizes; return the base of its adapters."""
    sizes = np.log([len(session.items) for session in sessions])
    routes = routes_of(db, adapters)
    # Tangents of a parabola: each is the highest line at the point where it touches.
    touch = np.quantile((sizes - sizes.mean()) / sizes.std(), (np.arange(len(routes)) + 0.5) / len(routes))
    router = Router(
        tuple(
            Route(name, settings, 0.5, float(-at * at), {_SIZE: float(2 * at)})
            for (name, settings), at in zip(routes, touch, strict=True)
        ),
        {_SIZE: float(sizes.mean())},
        {_SIZE: float(sizes.std())},
        {},
        (dataset,),
        len(sessions),
        1.0,
    )
    save_router(db, _ROUTER, msgspec.json.encode(router).decode())
    return routes[0][1].student


def _seconds(student: SessionStudent, sessions: Sequence[Session]) -> float:
    """Return the seconds that a student takes to answer the sessions; all must get an answer."""
    started = perf_counter()
    answered = sum(isinstance(event, Answered) for event in student.answer(sessions))
    assert answered == len(sessions)
    return perf_counter() - started


if __name__ == "__main__":
    main()
