"""Which products of a session can be judged: those of which anything is known."""

from collections.abc import Sequence

from kdtui.text import one_line
from store.records import Item, Session


def described(session: Session) -> tuple[int, ...]:
    """The positions (1-based) of the products that have a title or a category with something to read in it."""
    return tuple(position for position, item in enumerate(session.items, start=1) if _is_described(item))


def part_of(session: Session, positions: Sequence[int]) -> Session:
    """A session of some of the products only, without bundles."""
    return Session(session.id, tuple(session.items[position - 1] for position in positions), (), session.split)


def _is_described(item: Item) -> bool:
    return bool(one_line(item.title or "", 1)) or any(one_line(name, 1) for path in item.categories for name in path)
