"""Samples of knowledge: a share of each format of each dataset, drawn by one strategy."""

from collections.abc import Sequence

import msgspec
from sqlite_utils import Database

from kdtui.bundling.metrics import pair_f1
from kdtui.bundling.truth import true_bundles
from kdtui.distill.patterns import Pattern
from kdtui.distill.sampling import (
    SampleStrategy,
    by_length,
    farthest_first,
    from_the_front,
    hardest_first,
    in_random_order,
    longest_first,
)
from kdtui.errors import KdtuiError
from kdtui.workflows.distill import training_sessions
from store.knowledge import find_knowledge, sessions_by_knowledge
from store.records import Format, Session
from store.runs import latest_run, predictions
from store.samples import Draw, get_sample, pieces_of, save_sample


def create_sample(
    db: Database,
    name: str,
    datasets: Sequence[str],
    formats: Sequence[Format],
    *,
    strategy: SampleStrategy,
    ratio: float,
    seed: int,
    student: str,
    add_to: str | None = None,
    replace: bool = False,
) -> int:
    """Draw a sample from every format of every dataset, store it, and return its number of pieces.

    Args:
        ratio: above 0, at most 1.
        student: whose zero-shot answers say how difficult a session is.
        add_to: a sample that the new one also holds all of.

    Raises:
        NotFound: a dataset or a sample is not there.
        StoreError: the name is taken.
        KdtuiError: the ratio is none, there is no knowledge of a format, or no answers to judge difficulty by.
    """
    if not 0 < ratio <= 1:
        raise KdtuiError(f"a ratio is above 0 and at most 1, not {ratio:g}")
    draws = list(get_sample(db, add_to).draws) if add_to is not None else []
    pieces = pieces_of(db, add_to) if add_to is not None else []
    for dataset in datasets:
        sessions = training_sessions(db, dataset)
        order = _order(db, dataset, sessions, strategy, seed, student)
        for format in formats:
            found = _pieces(db, dataset, sessions, format)
            if not found:
                raise KdtuiError(f"dataset {dataset!r} has no {format}s yet; there is nothing to draw from")
            pieces += from_the_front(order, found, ratio)
            draws.append(Draw(dataset, format, strategy, ratio, seed))
    chosen = sorted(set(pieces))
    save_sample(db, name, draws, chosen, replace=replace)
    return len(chosen)


def _order(
    db: Database, dataset: str, sessions: Sequence[Session], strategy: SampleStrategy, seed: int, student: str
) -> list[str]:
    match strategy:
        case "random":
            return in_random_order(sessions, seed)
        case "length":
            return by_length(sessions, seed)
        case "longest":
            return longest_first(sessions, seed)
        case "diversity":
            return farthest_first(sessions, seed)
        case "difficulty":
            return hardest_first(sessions, _zero_shot_scores(db, dataset, sessions, student))


def _zero_shot_scores(db: Database, dataset: str, sessions: Sequence[Session], student: str) -> dict[str, float]:
    """Pair F1 of a student's answers for training sessions, without any knowledge."""
    run = latest_run(db, dataset, "train", student)
    if run is None:
        return {}
    answers = predictions(db, run)
    return {
        session.id: pair_f1(
            true_bundles(session),
            [frozenset(bundle.positions) for bundle in answers[session.id].bundles or ()],
        )
        for session in sessions
        if session.id in answers
    }


def _pieces(db: Database, dataset: str, sessions: Sequence[Session], format: Format) -> dict[int, list[str]]:
    """Each kept piece of a format with the training sessions that it came from."""
    kept = find_knowledge(db, dataset=dataset, format=format)
    if format != "pattern":
        origin = sessions_by_knowledge(db, dataset, format)
        return {piece.id: origin.get(piece.id, []) for piece in kept}
    # A pattern comes from all the bundles that it was counted in: too many to store.
    holders: dict[tuple[str, ...], set[int]] = {}
    for number, session in enumerate(sessions):
        bundled = {position for bundle in true_bundles(session) for position in bundle}
        for position in bundled:
            item = session.items[position - 1]
            path = item.categories[0] if item.categories else ()
            for level in range(1, len(path) + 1):
                holders.setdefault(path[:level], set()).add(number)
    found = {}
    for piece in kept:
        paths = msgspec.json.decode(piece.content, type=Pattern).categories
        shared = set.intersection(*(holders.get(path, set()) for path in paths))
        found[piece.id] = [sessions[number].id for number in sorted(shared)]
    return found


def overlap(db: Database, one: str, other: str) -> tuple[int, int, int]:
    """How many pieces two samples have in common, and how many each has.

    Raises:
        NotFound: one of them is not there.
    """
    first, second = set(pieces_of(db, one)), set(pieces_of(db, other))
    return len(first & second), len(first), len(second)
