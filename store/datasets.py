"""Datasets: items and sessions in, items and sessions out."""

import re
import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from itertools import islice

import msgspec

from store.database import now
from store.errors import DuplicateSession, NotFound, StoreError
from store.hits import Hits, hits_of
from store.records import Bundle, CategoryPath, Item, Session, Split
from store.similar import meant
from store.sqlite import Database
from store.subsets import drawn

_BATCH = 5_000
"""Sessions that are written, or read, at once."""

_KNOWN_ITEMS = 200_000
"""Items remembered while writing, about 100 MB at most; others are looked up in the database."""

_NEAR_ITEMS = 1_000
"""Products most like those of a session that are looked at first, to find the sessions that they are in."""

_NEAR_NAMES = 50
"""Names that are looked at, or listed, where one is not there."""

_WORD = re.compile(r"[^\W_]+")

_encode = msgspec.json.Encoder().encode
_decode_categories = msgspec.json.Decoder(tuple[tuple[str, ...], ...]).decode


@dataclass(slots=True)
class Written:
    """What has been written of a dataset. `differing` counts mentions of an item that differ from its first."""

    sessions: int = 0
    session_items: int = 0
    items: int = 0
    bundles: int = 0
    differing: int = 0


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """A dataset and how much is in it. The splits count sessions, `bundled` those that have bundles."""

    name: str
    source: str
    created_at: str
    items: int
    sessions: int
    bundled: int
    bundles: int
    train: int
    valid: int
    test: int


def write_dataset(
    db: Database,
    name: str,
    source: str,
    sessions: Iterable[Session],
    *,
    replace: bool = False,
) -> Iterator[Written]:
    """Write a dataset in one transaction: all of it is there afterwards, or nothing has changed.

    Yields what has been written so far, after every few thousand sessions and at the end. Closing the iterator
    before it ends takes everything back.

    An item may be mentioned any number of times; its first title and categories are kept, a missing title or
    category list is filled in by a later mention.

    Args:
        replace: an existing dataset of that name is deleted first, with its knowledge and runs.

    Raises:
        DuplicateSession: a session id comes twice.
        StoreError: the name is taken (without `replace`), or there is no session.
    """
    if not replace:
        _check_free(db, name)
    remaining = iter(sessions)
    # Read first: a pipe may be slow, and others could not write meanwhile.
    batch = list(islice(remaining, _BATCH))
    if not batch:
        raise StoreError(f"{source}: there is no session in it")
    with db.atomic(), _large_cache(_connection(db)) as connection:
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
    if _connection(db).execute("SELECT 1 FROM datasets WHERE name = ?", [name]).fetchone():
        raise StoreError(f"dataset {name!r} exists already; choose another name, or replace it with --replace")


@contextmanager
def _large_cache(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Keep the indexes that are written at random places in memory; SQLite's default is 2 MB."""
    before = connection.execute("PRAGMA cache_size").fetchone()[0]
    connection.execute("PRAGMA cache_size = -131072")
    try:
        yield connection
    finally:
        connection.execute(f"PRAGMA cache_size = {int(before)}")


@dataclass(slots=True)
class _Writer:
    """Writes batches of sessions in bulk, with row numbers of its own choice."""

    connection: sqlite3.Connection
    dataset_id: int
    written: Written = field(default_factory=Written)
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
                    items.append((number, self.dataset_id, item.id, item.title, _encode(item.categories)))
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
            raise DuplicateSession(self._duplicate(batch)) from error
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
        """An item that was written, and forgotten since."""
        if not self._forgotten:
            return None
        row = self.connection.execute(
            "SELECT id, title, categories FROM items WHERE dataset_id = ? AND item = ?", [self.dataset_id, item]
        ).fetchone()
        if row is None:
            return None
        self._items[item] = entry = (row[0], Item(item, row[1], _decode_categories(row[2])))
        return entry

    def _reconcile(
        self, number: int, first: Item, other: Item, items: list[tuple[int, int, str, str | None, bytes]]
    ) -> None:
        """Fill in what the first mention of an item lacked; what contradicts it is counted and left out."""
        merged = Item(first.id, first.title or other.title, first.categories or other.categories)
        if (other.title or merged.title) != merged.title or (
            other.categories or merged.categories
        ) != merged.categories:
            self.written.differing += 1
        if merged == first:
            return
        self._items[first.id] = (number, merged)
        row = (number, self.dataset_id, merged.id, merged.title, _encode(merged.categories))
        if items and number >= items[0][0]:
            items[number - items[0][0]] = row
        else:
            self.connection.execute(
                "UPDATE items SET title = ?, categories = CAST(? AS TEXT) WHERE id = ?", [row[3], row[4], number]
            )

    def _duplicate(self, batch: Sequence[Session]) -> str:
        seen: set[str] = set()
        for session in batch:
            found = self.connection.execute(
                "SELECT 1 FROM sessions WHERE dataset_id = ? AND session = ? AND id < ?",
                [self.dataset_id, session.id, self._next_session - len(batch)],
            ).fetchone()
            if found or session.id in seen:
                return session.id
            seen.add(session.id)
        raise AssertionError("the database refused a session that is not there")


def delete_dataset(db: Database, name: str) -> None:
    """Delete a dataset with all that belongs to it: sessions, knowledge, runs.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, name)
    with db.atomic():
        _connection(db).execute("DELETE FROM datasets WHERE id = ?", [number])


def list_datasets(db: Database) -> list[DatasetSummary]:
    """All datasets by name."""
    rows = _connection(db).execute(
        """
        SELECT name, source, created_at,
            (SELECT count(*) FROM items WHERE dataset_id = datasets.id),
            count(sessions.id),
            count(sessions.id) FILTER (WHERE EXISTS (SELECT 1 FROM bundles WHERE session_id = sessions.id)),
            (SELECT count(*) FROM bundles JOIN sessions AS s ON s.id = session_id WHERE s.dataset_id = datasets.id),
            count(*) FILTER (WHERE split = 'train'),
            count(*) FILTER (WHERE split = 'valid'),
            count(*) FILTER (WHERE split = 'test')
        FROM datasets LEFT JOIN sessions ON sessions.dataset_id = datasets.id
        GROUP BY datasets.id ORDER BY name
        """
    )
    return [DatasetSummary(*row) for row in rows]


def dataset_names(db: Database) -> list[str]:
    """The names of all datasets, sorted."""
    return [row[0] for row in _connection(db).execute("SELECT name FROM datasets ORDER BY name")]


def count_items_with_categories(db: Database, dataset: str, texts: Sequence[str]) -> int:
    """How many items of a dataset have one of the texts in their category paths, as these are stored: in JSON.

    Raises:
        NotFound: there is no such dataset.
    """
    found = " OR ".join("instr(categories, ?)" for _ in texts)
    row = _connection(db).execute(
        f"SELECT count(*) FROM items WHERE dataset_id = ? AND ({found})", [dataset_id(db, dataset), *texts]
    )
    return int(row.fetchone()[0])


def dataset_id(db: Database, name: str) -> int:
    """The row number of a dataset.

    Raises:
        NotFound: there is none of that name; the message names those that are there.
    """
    row = _connection(db).execute("SELECT id FROM datasets WHERE name = ?", [name]).fetchone()
    if row:
        return int(row[0])
    names = dataset_names(db)
    if not names:
        raise NotFound(f"there is no dataset {name!r} yet; import one with: kdtui data import PATH --dataset {name}")
    raise NotFound(f"there is no dataset {name!r}; {meant(name, names, f'there are: {_listed(names)}')}")


def dataset_source(db: Database, name: str) -> str:
    """What a dataset was imported from.

    Raises:
        NotFound: there is none of that name.
    """
    row = _connection(db).execute("SELECT source FROM datasets WHERE id = ?", [dataset_id(db, name)]).fetchone()
    return str(row[0])


def main_categories(db: Database, name: str) -> set[CategoryPath]:
    """The main categories of the products of a dataset, and all that these lie in.

    Raises:
        NotFound: there is no dataset of that name.
    """
    rows = db.execute("SELECT DISTINCT categories FROM items WHERE dataset_id = ?", [dataset_id(db, name)])
    found: set[CategoryPath] = set()
    for (categories,) in rows:
        for path in _decode_categories(categories)[:1]:
            found.update(path[:level] for level in range(1, len(path) + 1))
    return found


def get_session(db: Database, dataset: str, session: str) -> Session:
    """One session.

    Raises:
        NotFound: there is no such dataset, or no such session in it.
    """
    found = list(_read(db, "dataset_id = ? AND session = ?", [dataset_id(db, dataset), session], limit=1))
    if not found:
        raise NotFound(f"there is no session {session!r} in dataset {dataset!r}{_where_else(db, dataset, session)}")
    return found[0]


def _where_else(db: Database, dataset: str, session: str) -> str:
    """The end of a sentence on a session that a dataset has not: where it is, or which one may be meant."""
    number = dataset_id(db, dataset)
    elsewhere = db.execute(
        "SELECT name FROM datasets JOIN sessions ON dataset_id = datasets.id WHERE session = ? ORDER BY name", [session]
    ).fetchall()
    if elsewhere:
        return f"; it is in {' and '.join(repr(name) for (name,) in elsewhere[:_NEAR_NAMES])}"
    near = [
        row[0]
        for order, comparison in (("", ">="), ("DESC", "<"))
        for row in db.execute(
            f"""
            SELECT session FROM sessions WHERE dataset_id = ? AND session {comparison} ?
            ORDER BY session {order} LIMIT ?
            """,
            [number, session, _NEAR_NAMES],
        )
    ]
    told = meant(session, near, "")
    return f"; {told}" if told else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NEAR_NAMES:,} more" if len(names) > _NEAR_NAMES else ""
    return ", ".join(names[:_NEAR_NAMES]) + more


def iter_sessions(
    db: Database, dataset: str, *, split: Split | None = None, limit: int | None = None
) -> Iterator[Session]:
    """The sessions of a dataset, or of one split of it, in the order in which they were imported.

    Args:
        limit: only the first so many, which are no fair sample: real data may begin with the shortest sessions.

    Raises:
        NotFound: there is no such dataset.
    """
    number = dataset_id(db, dataset)
    if split is None:
        return _read(db, "dataset_id = ?", [number], limit=limit)
    return _read(db, "dataset_id = ? AND split = ?", [number, split], limit=limit)


def some_sessions(db: Database, dataset: str, split: Split, count: int, seed: int = 0) -> Iterator[Session]:
    """So many sessions of a split, drawn by chance, in the order in which they are drawn; of fewer all, as imported.

    Raises:
        NotFound: there is no such dataset.
    """
    numbers = drawn_numbers(db, dataset, split, count, seed)
    if numbers is None:
        yield from iter_sessions(db, dataset, split=split)
        return
    for first in range(0, len(numbers), _BATCH):
        yield from numbered_sessions(db, numbers[first : first + _BATCH])


def drawn_numbers(db: Database, dataset: str, split: Split, count: int, seed: int) -> "array[int] | None":
    """The row numbers of so many sessions of a split, drawn by chance, in the order in which they are drawn; None where
    the split has no more than these.

    Raises:
        NotFound: there is no such dataset.
    """
    if split_size(db, dataset, split) <= count:
        return None
    # Read as they are drawn from: a list of all would take much more memory than the few that are wanted.
    rows = _connection(db).execute(
        "SELECT id, session FROM sessions WHERE dataset_id = ? AND split = ? ORDER BY id",
        [dataset_id(db, dataset), split],
    )
    return array("q", (row[0] for row in drawn(rows, count, seed, lambda row: str(row[1]))))


def numbered_sessions(db: Database, numbers: Sequence[int]) -> Iterator[Session]:
    """The sessions of these row numbers, in this order; those that are not there any more are left out."""
    connection = _connection(db)
    found = {
        row[0]: row
        for row in connection.execute(
            "SELECT s.id, session, split FROM json_each(?) AS wanted CROSS JOIN sessions AS s ON s.id = wanted.value",
            [_encode(list(numbers)).decode()],
        )
    }
    yield from _assemble(connection, [found[number] for number in numbers if number in found])


def split_size(db: Database, dataset: str, split: Split) -> int:
    """How many sessions a split has.

    Raises:
        NotFound: there is no such dataset.
    """
    [[size]] = db.execute(
        "SELECT count(*) FROM sessions WHERE dataset_id = ? AND split = ?", [dataset_id(db, dataset), split]
    )
    return int(size)


def count_with_pairs(db: Database, dataset: str, split: Split) -> int:
    """How many sessions of a split have two products or more.

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
    connection = _connection(db)
    last = 0
    remaining = -1 if limit is None else limit
    while remaining:
        size = _BATCH if remaining < 0 else min(_BATCH, remaining)
        rows = connection.execute(
            f"SELECT id, session, split FROM sessions WHERE {where} AND id > ? ORDER BY id LIMIT ?",
            [*values, last, size],
        ).fetchall()
        yield from _assemble(connection, rows)
        if len(rows) < size:
            return
        last = rows[-1][0]
        remaining = remaining - len(rows) if remaining > 0 else remaining


def _assemble(connection: sqlite3.Connection, rows: Sequence[tuple[int, str, Split | None]]) -> Iterator[Session]:
    """Sessions with their items and bundles, in the order of their rows."""
    if not rows:
        return
    numbers = msgspec.json.encode([row[0] for row in rows])
    items: dict[int, list[Item]] = {row[0]: [] for row in rows}
    known: dict[int, Item] = {}
    places: dict[int, dict[int, int]] = {row[0]: {} for row in rows}
    for session_id, position, item_id, item, title, categories in connection.execute(
        """
        SELECT session_id, position, items.id, item, title, categories
        FROM json_each(?) AS wanted JOIN session_items ON session_id = wanted.value JOIN items ON items.id = item_id
        ORDER BY session_id, position
        """,
        [numbers],
    ):
        if (found := known.get(item_id)) is None:
            found = known[item_id] = Item(item, title, _decode_categories(categories))
        items[session_id].append(found)
        places[session_id][item_id] = position
    members: dict[int, list[int]] = {}
    bundles: dict[int, list[tuple[int, str]]] = {row[0]: [] for row in rows}
    for bundle_id, session_id, intent, item_id in connection.execute(
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
        members[bundle_id].append(places[session_id][item_id])
    for number, session, split in rows:
        yield Session(
            session,
            tuple(items[number]),
            tuple(Bundle(tuple(sorted(members[bundle_id])), intent) for bundle_id, intent in bundles[number]),
            split,
        )


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session in a list.

    Attributes:
        number: of its row.
        session: its id.
        items, bundles: how many it has.
        first_title: the title of its first item.
    """

    number: int
    session: str
    split: str | None
    items: int
    bundles: int
    first_title: str | None


def session_hits(db: Database, dataset: str, text: str = "") -> Iterator[Hits]:
    """The sessions whose id holds the text, or with an item whose title or categories match its words, in the order in
    which they were imported.

    Raises:
        NotFound: there is no such dataset.
    """
    where = "dataset_id = ?"
    values: list[object] = [dataset_id(db, dataset)]
    if text.strip():
        where += """
            AND (instr(lower(session), lower(?)) OR id IN (
                SELECT session_id FROM items_fts JOIN session_items ON item_id = items_fts.rowid
                WHERE items_fts MATCH ?))"""
        values += [text.strip(), match_words(text)]
    yield from hits_of(db, f"SELECT id FROM sessions WHERE {where} ORDER BY id", values)


def session_place(db: Database, dataset: str, session: str) -> tuple[int, int]:
    """The row number of a session, and how many of its dataset come before it.

    Raises:
        NotFound: there is no such dataset, or no such session in it.
    """
    connection = _connection(db)
    within = dataset_id(db, dataset)
    row = connection.execute(
        "SELECT id FROM sessions WHERE dataset_id = ? AND session = ?", [within, session]
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no session {session!r} in dataset {dataset!r}")
    before = connection.execute("SELECT count(*) FROM sessions WHERE dataset_id = ? AND id < ?", [within, row[0]])
    return int(row[0]), int(before.fetchone()[0])


def session_rows(db: Database, numbers: Sequence[int]) -> list[SessionRow]:
    """Some sessions for a list, in the order of their numbers; those that are not there any more are left out."""
    rows = _connection(db).execute(
        """
        SELECT sessions.id, session, split,
            (SELECT count(*) FROM session_items WHERE session_id = sessions.id),
            (SELECT count(*) FROM bundles WHERE session_id = sessions.id),
            (SELECT title FROM session_items JOIN items ON items.id = item_id
             WHERE session_id = sessions.id AND position = 1)
        FROM json_each(?) AS wanted JOIN sessions ON sessions.id = wanted.value ORDER BY sessions.id
        """,
        [msgspec.json.encode(list(numbers)).decode()],
    )
    return [SessionRow(*row) for row in rows]


def numbered_session(db: Database, number: int) -> Session:
    """The session of a row number.

    Raises:
        NotFound: it is not there any more.
    """
    found = list(_read(db, "id = ?", [number], limit=1))
    if not found:
        raise NotFound("this session is not there any more; the dataset has been replaced or deleted")
    return found[0]


def nearest_sessions(db: Database, dataset: str, session: Session, limit: int) -> list[str]:
    """The ids of the training sessions whose products are most like those of a session, the nearest first.

    By BM25 over titles and categories; the session itself is never one of them.

    Raises:
        NotFound: there is no such dataset.
    """
    return [id for _, id in nearest_sessions_of(db, dataset, [dataset], session, limit)]


def nearest_sessions_of(
    db: Database, own: str, datasets: Iterable[str], session: Session, limit: int
) -> list[tuple[str, str]]:
    """The same among the training sessions of several datasets: the dataset and the id of each.

    Args:
        own: the dataset that the session is of.

    Raises:
        NotFound: one of the datasets is not there.
    """
    connection = _connection(db)
    number = dataset_id(db, own)
    numbers = _encode([dataset_id(db, each) for each in datasets]).decode()
    looked_at = _NEAR_ITEMS
    while True:
        near = connection.execute(
            "SELECT rowid, rank FROM items_fts WHERE items_fts MATCH ? ORDER BY rank LIMIT ?",
            [match_any(words_of(session)), looked_at],
        ).fetchall()
        rows = connection.execute(
            """
            SELECT datasets.name, session FROM json_each(?) AS near JOIN session_items ON item_id = near.value ->> 0
            JOIN sessions ON sessions.id = session_id JOIN datasets ON datasets.id = dataset_id
            WHERE dataset_id IN (SELECT value FROM json_each(?)) AND split = 'train'
                AND NOT (dataset_id = ? AND session = ?)
            GROUP BY session_id ORDER BY sum(near.value ->> 1), session_id LIMIT ?
            """,
            [_encode(near).decode(), numbers, number, session.id, limit],
        ).fetchall()
        # The nearest products may be those of other datasets, or in no training session.
        if len(rows) == limit or len(near) < looked_at:
            return [(row[0], row[1]) for row in rows]
        looked_at *= 8


def words_of(session: Session) -> list[str]:
    """The words that tell what the products of a session are: of titles, and of the narrowest categories."""
    texts = [text for item in session.items for text in (item.title or "", *(path[-1] for path in item.categories[:1]))]
    return list(dict.fromkeys(word for text in texts for word in _WORD.findall(text.lower())))


def match_any(words: Iterable[str]) -> str:
    """An FTS5 query for any of these words, each whole."""
    return " OR ".join('"' + word.replace('"', '""') + '"' for word in words) or '""'


def match_words(text: str) -> str:
    """An FTS5 query for the words of any text: all must occur, each may be the beginning of a word."""
    words = ['"' + word.replace('"', '""') + '"*' for word in text.replace("\0", " ").split()]
    return " ".join(words) or '""'


def _connection(db: Database) -> sqlite3.Connection:
    connection = db.conn
    assert connection is not None
    return connection
