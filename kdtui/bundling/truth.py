"""The ground truth of a session: its minimal bundles."""

from collections.abc import Iterable
from functools import lru_cache

from store.records import Bundle, Session

MOST_LEARNED_SESSIONS = 2000
"""Sessions to learn pairs from: reading the titles of a hundred thousand would take hours."""


def minimal_bundles(bundles: Iterable[Bundle]) -> tuple[Bundle, ...]:
    """Drop duplicates, and every bundle that strictly contains another one of the session.

    The official AICL ground truth follows this rule. Of equal bundles the first is kept; the order stays the same.
    """
    return _minimal(tuple(bundles))


# The answers of several students for one session are scored in turn.
@lru_cache(maxsize=4)
def _minimal(bundles: tuple[Bundle, ...]) -> tuple[Bundle, ...]:
    distinct: dict[frozenset[int], Bundle] = {}
    for bundle in bundles:
        distinct.setdefault(frozenset(bundle.positions), bundle)
    # Indexed by one of their products: only bundles indexed by a product of a bundle can be contained in it. There may
    # be thousands.
    minimal: dict[int, list[frozenset[int]]] = {}
    for positions in sorted(distinct, key=len):
        if not any(other < positions for position in positions for other in minimal.get(position, ())):
            minimal.setdefault(min(positions, default=0), []).append(positions)
    kept = {positions for group in minimal.values() for positions in group}
    return tuple(bundle for positions, bundle in distinct.items() if positions in kept)


def true_bundles(session: Session) -> list[frozenset[int]]:
    """Return the minimal bundles of a session as sets of positions (1-based), in their stored order."""
    return [frozenset(bundle.positions) for bundle in minimal_bundles(session.bundles)]
