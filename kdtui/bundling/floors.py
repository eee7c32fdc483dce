"""Floors: what a student must beat to be worth running. None of them uses a model."""

from collections.abc import Iterator

from store.records import Session

CATEGORY_LEVELS = (1, 2, 3, 4, 5)

NAMES = ("whole session", *(f"category {level}" for level in CATEGORY_LEVELS))
"""What they are called, in the order of `floors_of`."""


def floors_of(session: Session) -> Iterator[list[frozenset[int]]]:
    """The bundles of each floor, in the order of `NAMES`."""
    yield whole_session(session)
    for level in CATEGORY_LEVELS:
        yield by_category(session, level)


def whole_session(session: Session) -> list[frozenset[int]]:
    """One bundle of everything."""
    return [frozenset(range(1, len(session.items) + 1))]


def by_category(session: Session, level: int) -> list[frozenset[int]]:
    """Items whose first category path agrees on its first `level` names; groups of one are left out.

    An item without a category stands alone.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for position, item in enumerate(session.items, start=1):
        if item.categories:
            groups.setdefault(item.categories[0][:level], []).append(position)
    return [frozenset(group) for group in groups.values() if len(group) > 1]
