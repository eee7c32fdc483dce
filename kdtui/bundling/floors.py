"""Floors: baselines without a model. A student must beat them to be worth running."""

from collections.abc import Iterator

from store.records import Session

CATEGORY_LEVELS = (1, 2, 3, 4, 5)

NAMES = ("whole session", *(f"category {level}" for level in CATEGORY_LEVELS))
"""Names of the floors, in the order of `floors_of`."""


def floors_of(session: Session) -> Iterator[list[frozenset[int]]]:
    """Yield the bundles of each floor, in the order of `NAMES`."""
    yield whole_session(session)
    for level in CATEGORY_LEVELS:
        yield group_by_category(session, level)


def whole_session(session: Session) -> list[frozenset[int]]:
    """Put all products into one bundle."""
    return [frozenset(range(1, len(session.items) + 1))]


def group_by_category(session: Session, level: int) -> list[frozenset[int]]:
    """Group the items whose first category paths share `level` names; leave out groups of one.

    An item without a category is in no group.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for position, item in enumerate(session.items, start=1):
        if item.categories:
            groups.setdefault(item.categories[0][:level], []).append(position)
    return [frozenset(group) for group in groups.values() if len(group) > 1]
