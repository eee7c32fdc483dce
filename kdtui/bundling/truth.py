"""The ground truth of a session: its minimal bundles."""

from collections.abc import Iterable, Sequence

from kdtui.bundling.metrics import pairs
from store.records import Bundle, Session

ENOUGH, ENOUGH_VALID = 2000, 500
"""Sessions whose pairs are learned from, and that choose a threshold: all of a hundred thousand would take minutes."""


def minimal_bundles(bundles: Iterable[Bundle]) -> tuple[Bundle, ...]:
    """Drop exact duplicates and every bundle that strictly contains another one of the session.

    The official AICL ground truth is made by this rule. The first of equal bundles stays, in the order given.
    """
    distinct: dict[frozenset[int], Bundle] = {}
    for bundle in bundles:
        distinct.setdefault(frozenset(bundle.positions), bundle)
    # By one of their products: a bundle contains only such as have theirs in it. There may be thousands.
    minimal: dict[int, list[frozenset[int]]] = {}
    for positions in sorted(distinct, key=len):
        if not any(other < positions for position in positions for other in minimal.get(position, ())):
            minimal.setdefault(min(positions, default=0), []).append(positions)
    kept = {positions for found in minimal.values() for positions in found}
    return tuple(bundle for positions, bundle in distinct.items() if positions in kept)


def true_bundles(session: Session) -> list[frozenset[int]]:
    """The minimal bundles of a session as sets of positions (1-based), in their stored order."""
    return [frozenset(bundle.positions) for bundle in minimal_bundles(session.bundles)]


def teaches_pairs(sessions: Iterable[Session]) -> bool:
    """Whether some products of the sessions are bundled with each other, and some are not."""
    bundled = apart = False
    for session in sessions:
        products = len(session.items)
        found = len(pairs(true_bundles(session)))
        bundled |= found > 0
        apart |= found < products * (products - 1) // 2
    return bundled and apart


def training_bundles(sessions: Sequence[Session]) -> Iterable[tuple[Session, frozenset[int]]]:
    """Each minimal bundle of the sessions, with the session it belongs to."""
    for session in sessions:
        for positions in true_bundles(session):
            yield session, positions
