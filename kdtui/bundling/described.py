"""Products that can be judged: those with a description."""

from collections.abc import Sequence

from kdtui.text import one_line
from store.records import Item, Session


def described_positions(session: Session) -> tuple[int, ...]:
    """Return the positions (1-based) of the products with a readable title or category."""
    return tuple(position for position, item in enumerate(session.items, start=1) if _is_described(item))


def restrict_session(session: Session, positions: Sequence[int]) -> Session:
    """Return a session with only these products, without bundles."""
    return Session(session.id, tuple(session.items[position - 1] for position in positions), (), session.split)


def _is_described(item: Item) -> bool:
    return bool(one_line(item.title or "", 1)) or any(one_line(name, 1) for path in item.categories for name in path)
