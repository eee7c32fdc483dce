"""Reading of sessions with their items and bundles."""

from array import array
from collections.abc import Iterator, Sequence

import msgspec

from store.categories import decode_categories
from store.datasets import dataset_id
from store.errors import NotFound
from store.records import Bundle, Item, Session, Split
from store.similar import suggestion
from store.sqlite import Database
from store.subsets import draw_subset

_PAGE = 5_000
"""Sessions read in one query."""

_NEAR_IDS = 50
"""Session ids on each side of a missing one to compare it with; also the most datasets that a message lists."""


def get_session(db: Database, dataset: str, session: str) -> Session:
    """Return one session.

    Raises:
        NotFound: there is no such dataset, or no such session in it.
    """
    sessions = list(_read(db, "dataset_id = ? AND session = ?", [dataset_id(db, dataset), session], limit=1))
    if not sessions:
        raise NotFound(
            f"there is no session {session!r} in dataset {dataset!r}{_hint_for_missing(db, dataset, session)}"
        )
    return sessions[0]


def _hint_for_missing(db: Database, dataset: str, session: str) -> str:
    """Return the end of a message about a missing session: the datasets that have it, or a similar id."""
    number = dataset_id(db, dataset)
    other_datasets = db.execute(
        "SELECT name FROM datasets JOIN sessions ON dataset_id = datasets.id WHERE session = ? ORDER BY name", [session]
    ).fetchall()
    if other_datasets:
        return f"; it is in {' and '.join(repr(name) for (name,) in other_datasets[:_NEAR_IDS])}"
    near = [
        row[0]
        for order, comparison in (("", ">="), ("DESC", "<"))
        for row in db.execute(
            f"""
            SELECT session FROM sessions WHERE dataset_id = ? AND session {comparison} ?
            ORDER BY session {order} LIMIT ?
            """,
            [number, session, _NEAR_IDS],
        )
    ]
    hint = suggestion(session, near, "")
    return f"; {hint}" if hint else ""


def iter_sessions(
    db: Database, dataset: str, *, split: Split | None = None, limit: int | None = None
) -> Iterator[Session]:
    """Iterate over the sessions of a dataset, or of one split, in import order.

    Args:
        limit: only the first sessions. They are not a fair sample: real data may begin with the shortest sessions.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    if split is None:
        return _read(db, "dataset_id = ?", [number], limit=limit)
    return _read(db, "dataset_id = ? AND split = ?", [number, split], limit=limit)


def draw_sessions(db: Database, dataset: str, split: Split, count: int, seed: int = 0) -> Iterator[Session]:
    """Draw `count` sessions of a split at random, in the order of the draw; yield a smaller split in import order.

    Raises:
        NotFound: there is no such dataset.
    """
    numbers = draw_session_numbers(db, dataset, split, count, seed)
    if numbers is None:
        yield from iter_sessions(db, dataset, split=split)
        return
    for first in range(0, len(numbers), _PAGE):
        yield from sessions_by_number(db, numbers[first : first + _PAGE])


def draw_session_numbers(db: Database, dataset: str, split: Split, count: int, seed: int) -> "array[int] | None":
    """Draw the row numbers of `count` sessions of a split at random, in the order of the draw.

    Returns:
        None if the split has no more sessions than that.

    Raises:
        NotFound: there is no such dataset.
    """
    if split_size(db, dataset, split) <= count:
        return None
    # Streamed: a list of all sessions would take far more memory than the few that are drawn.
    rows = db.execute(
        "SELECT id, session FROM sessions WHERE dataset_id = ? AND split = ? ORDER BY id",
        [dataset_id(db, dataset), split],
    )
    return array("q", (row[0] for row in draw_subset(rows, count, seed, lambda row: str(row[1]))))


def sessions_by_number(db: Database, numbers: Sequence[int]) -> Iterator[Session]:
    """Iterate over the sessions with these row numbers, in the given order; skip deleted ones."""
    rows = {
        row[0]: row
        for row in db.execute(
            "SELECT s.id, session, split FROM json_each(?) AS wanted CROSS JOIN sessions AS s ON s.id = wanted.value",
            [msgspec.json.encode(list(numbers)).decode()],
        )
    }
    yield from _assemble(db, [rows[number] for number in numbers if number in rows])


def split_size(db: Database, dataset: str, split: Split) -> int:
    """Count the sessions of a split.

    Raises:
        NotFound: there is no such dataset.
    """
    [[size]] = db.execute(
        "SELECT count(*) FROM sessions WHERE dataset_id = ? AND split = ?", [dataset_id(db, dataset), split]
    )
    return int(size)


def count_sessions_with_pairs(db: Database, dataset: str, split: Split) -> int:
    """Count the sessions of a split that have at least two products.

    Raises:
        NotFound: there is no such dataset.
    """
    [[count]] = db.execute(
        """
        SELECT count(*) FROM sessions WHERE dataset_id = ? AND split = ?
            AND (SELECT count(*) FROM session_items WHERE session_id = sessions.id) > 1
        """,
        [dataset_id(db, dataset), split],
    )
    return int(count)


def _read(db: Database, where: str, values: Sequence[object], *, limit: int | None) -> Iterator[Session]:
    last = 0
    remaining = -1 if limit is None else limit
    while remaining:
        size = _PAGE if remaining < 0 else min(_PAGE, remaining)
        rows = db.execute(
            f"SELECT id, session, split FROM sessions WHERE {where} AND id > ? ORDER BY id LIMIT ?",
            [*values, last, size],
        ).fetchall()
        yield from _assemble(db, rows)
        if len(rows) < size:
            return
        last = rows[-1][0]
        remaining = remaining - len(rows) if remaining > 0 else remaining


def _assemble(db: Database, rows: Sequence[tuple[int, str, Split | None]]) -> Iterator[Session]:
    """Build sessions with their items and bundles, in the order of the rows."""
    if not rows:
        return
    numbers = msgspec.json.encode([row[0] for row in rows])
    items: dict[int, list[Item]] = {row[0]: [] for row in rows}
    known: dict[int, Item] = {}
    positions: dict[int, dict[int, int]] = {row[0]: {} for row in rows}
    for session_id, position, item_id, item, title, categories in db.execute(
        """
        SELECT session_id, position, items.id, item, title, categories
        FROM json_each(?) AS wanted JOIN session_items ON session_id = wanted.value JOIN items ON items.id = item_id
        ORDER BY session_id, position
        """,
        [numbers],
    ):
        if (known_item := known.get(item_id)) is None:
            known_item = known[item_id] = Item(item, title, decode_categories(categories))
        items[session_id].append(known_item)
        positions[session_id][item_id] = position
    members: dict[int, list[int]] = {}
    bundles: dict[int, list[tuple[int, str]]] = {row[0]: [] for row in rows}
    for bundle_id, session_id, intent, item_id in db.execute(
        """
        SELECT bundles.id, session_id, intent, item_id
        FROM json_each(?) AS wanted JOIN bundles ON session_id = wanted.value
        JOIN bundle_items ON bundle_id = bundles.id ORDER BY bundles.id
        """,
        [numbers],
    ):
        if bundle_id not in members:
            members[bundle_id] = []
            bundles[session_id].append((bundle_id, intent))
        members[bundle_id].append(positions[session_id][item_id])
    for number, session, split in rows:
        yield Session(
            session,
            tuple(items[number]),
            tuple(Bundle(tuple(sorted(members[bundle_id])), intent) for bundle_id, intent in bundles[number]),
            split,
        )


def session_by_number(db: Database, number: int) -> Session:
    """Return the session with a row number.

    Raises:
        NotFound: the session has been deleted.
    """
    sessions = list(_read(db, "id = ?", [number], limit=1))
    if not sessions:
        raise NotFound("this session no longer exists; its dataset has been replaced or deleted")
    return sessions[0]
