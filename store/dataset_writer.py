"""Writing of a dataset: many sessions in one transaction."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from itertools import islice

from store.categories import decode_categories, encode_categories
from store.database import now
from store.errors import DuplicateSession, StoreError
from store.records import Item, Session
from store.sqlite import Database

_BATCH = 5_000
"""Sessions written in one batch."""

_KNOWN_ITEMS = 200_000
"""Items remembered while writing, about 100 MB at most; the others are looked up in the database."""


@dataclass(slots=True)
class WriteProgress:
    """Progress of writing a dataset. `differing` counts mentions of an item that contradict its first mention."""

    sessions: int = 0
    session_items: int = 0
    items: int = 0
    bundles: int = 0
    differing: int = 0


def write_dataset(
    db: Database,
    name: str,
    source: str,
    sessions: Iterable[Session],
    *,
    replace: bool = False,
) -> Iterator[WriteProgress]:
    """Write a dataset in one transaction: either all of it is stored, or nothing changes.

    Yields the progress after every few thousand sessions and at the end. Closing the iterator early rolls everything
    back.

    An item can be mentioned any number of times. Its first title and categories are kept; a later mention fills in a
    missing title or category list.

    Args:
        replace: whether to delete an existing dataset of that name first, with its knowledge and runs.

    Raises:
        DuplicateSession: a session id occurs twice.
        StoreError: the name is taken (without `replace`), or there is no session.
    """
    if not replace:
        _check_free(db, name)
    remaining = iter(sessions)
    # Read the first batch before the transaction: a pipe may be slow, and would keep other processes from writing.
    batch = list(islice(remaining, _BATCH))
    if not batch:
        raise StoreError(f"{source}: it contains no session")
    with db.atomic(), _large_cache(db) as connection:
        if replace:
            connection.execute("DELETE FROM datasets WHERE name = ?", [name])
        else:
            _check_free(db, name)
        dataset_id = connection.execute(
            "INSERT INTO datasets (name, source, created_at) VALUES (?, ?, ?)", [name, source, now()]
        ).lastrowid
        assert dataset_id is not None
        writer = _Writer(connection, dataset_id)
        while batch:
            writer.write(batch)
            yield replace_fields(writer.written)
            batch = list(islice(remaining, _BATCH))


def _check_free(db: Database, name: str) -> None:
    if db.execute("SELECT 1 FROM datasets WHERE name = ?", [name]).fetchone():
        raise StoreError(f"dataset {name!r} exists already; choose another name, or replace it with --replace")


@contextmanager
def _large_cache(db: Database) -> Iterator[sqlite3.Connection]:
    """Keep the indexes in memory, as they are written in random places; SQLite's default cache is 2 MB."""
    connection = db.conn
    assert connection is not None
    before = connection.execute("PRAGMA cache_size").fetchone()[0]
    connection.execute("PRAGMA cache_size = -131072")
    try:
        yield connection
    finally:
        connection.execute(f"PRAGMA cache_size = {int(before)}")


@dataclass(slots=True)
class _Writer:
    """Writes batches of sessions in bulk, and assigns the row numbers itself."""

    connection: sqlite3.Connection
    dataset_id: int
    written: WriteProgress = field(default_factory=WriteProgress)
    _items: dict[str, tuple[int, Item]] = field(default_factory=dict)
    _next_item: int = 0
    _next_session: int = 0
    _next_bundle: int = 0
    _forgotten: bool = False

    def __post_init__(self) -> None:
        def following(table: str) -> int:
            return int(self.connection.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {table}").fetchone()[0])

        self._next_item, self._next_session, self._next_bundle = map(following, ("items", "sessions", "bundles"))

    def write(self, batch: Sequence[Session]) -> None:
        items: list[tuple[int, int, str, str | None, bytes]] = []
        sessions: list[tuple[int, int, str, str | None]] = []
        session_items: list[tuple[int, int, int]] = []
        bundles: list[tuple[int, int, str]] = []
        bundle_items: list[tuple[int, int]] = []
        known = self._items
        for session in batch:
            session_id = self._next_session
            self._next_session += 1
            sessions.append((session_id, self.dataset_id, session.id, session.split))
            numbers: list[int] = []
            for item in session.items:
                entry = known.get(item.id) or self._recall(item.id)
                if entry is None:
                    number = self._next_item
                    self._next_item += 1
                    known[item.id] = (number, item)
                    items.append((number, self.dataset_id, item.id, item.title, encode_categories(item.categories)))
                else:
                    number, first = entry
                    if first != item:
                        self._reconcile(number, first, item, items)
                numbers.append(number)
            session_items.extend([(session_id, position, number) for position, number in enumerate(numbers, start=1)])
            for bundle in session.bundles:
                bundles.append((self._next_bundle, session_id, bundle.intent))
                bundle_items.extend([(self._next_bundle, numbers[position - 1]) for position in bundle.positions])
                self._next_bundle += 1
        execute = self.connection.executemany
        execute(
            "INSERT INTO items (id, dataset_id, item, title, categories) VALUES (?, ?, ?, ?, CAST(? AS TEXT))", items
        )
        try:
            execute("INSERT INTO sessions (id, dataset_id, session, split) VALUES (?, ?, ?, ?)", sessions)
        except sqlite3.IntegrityError as error:
            raise DuplicateSession(self._find_duplicate(batch)) from error
        execute("INSERT INTO session_items (session_id, position, item_id) VALUES (?, ?, ?)", session_items)
        execute("INSERT INTO bundles (id, session_id, intent) VALUES (?, ?, ?)", bundles)
        execute("INSERT INTO bundle_items (bundle_id, item_id) VALUES (?, ?)", bundle_items)
        self.written.items += len(items)
        self.written.sessions += len(sessions)
        self.written.session_items += len(session_items)
        self.written.bundles += len(bundles)
        if len(known) > _KNOWN_ITEMS:
            known.clear()
            self._forgotten = True

    def _recall(self, item: str) -> tuple[int, Item] | None:
        """Look up an item that was written earlier and is no longer remembered."""
        if not self._forgotten:
            return None
        row = self.connection.execute(
            "SELECT id, title, categories FROM items WHERE dataset_id = ? AND item = ?", [self.dataset_id, item]
        ).fetchone()
        if row is None:
            return None
        self._items[item] = entry = (row[0], Item(item, row[1], decode_categories(row[2])))
        return entry

    def _reconcile(
        self, number: int, first: Item, other: Item, items: list[tuple[int, int, str, str | None, bytes]]
    ) -> None:
        """Fill in what the first mention of an item lacks; count a contradiction and ignore it."""
        merged = Item(first.id, first.title or other.title, first.categories or other.categories)
        if (other.title or merged.title) != merged.title or (
            other.categories or merged.categories
        ) != merged.categories:
            self.written.differing += 1
        if merged == first:
            return
        self._items[first.id] = (number, merged)
        row = (number, self.dataset_id, merged.id, merged.title, encode_categories(merged.categories))
        if items and number >= items[0][0]:
            items[number - items[0][0]] = row
        else:
            self.connection.execute(
                "UPDATE items SET title = ?, categories = CAST(? AS TEXT) WHERE id = ?", [row[3], row[4], number]
            )

    def _find_duplicate(self, batch: Sequence[Session]) -> str:
        seen: set[str] = set()
        for session in batch:
            row = self.connection.execute(
                "SELECT 1 FROM sessions WHERE dataset_id = ? AND session = ? AND id < ?",
                [self.dataset_id, session.id, self._next_session - len(batch)],
            ).fetchone()
            if row or session.id in seen:
                return session.id
            seen.add(session.id)
        raise AssertionError("the database reported a duplicate session that is not in the batch")
