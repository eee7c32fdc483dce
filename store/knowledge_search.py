"""Search for knowledge by words and filters, ordered by a measure: the first hits come at once, however many there are.

The first hits are looked for among the first pieces of the whole order, which an index provides. Only if too few of
those match are all hits sorted before anything is shown. The index `knowledge_facets` covers all columns for that, so
no text is read.
"""

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from store.datasets import dataset_id
from store.full_text import match_all
from store.hits import FIRST, Hits, hits_of
from store.knowledge import sample_id
from store.records import Format, KnowledgeQuery, KnowledgeSort, Status
from store.sqlite import Database

RANKED = 5_000
"""Maximum number of text matches that are ranked by relevance; ranking reads each of them."""

_FRONT = 2_000
"""Pieces at the front of an order to look for the first hits in."""

_LAST = 2 * FIRST
"""Hits at the end that are found before the middle ones; more than a page, as the last page is often short."""

_PREFIX = 3
"""Longest word beginnings, in letters, for which the text index has entries of their own."""

_SHOWN = 400
"""Characters of a statement in a row."""

_COLUMN_OF: dict[KnowledgeSort, str] = {"newest": "created_at"}


@dataclass(frozen=True, slots=True)
class KnowledgeRow:
    """A piece of knowledge in a list, with the beginning of its statement."""

    id: int
    format: Format
    dataset: str
    statement: str
    support: float | None
    precision: float | None
    confidence: float | None
    lift: float | None
    status: Status
    teacher: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Facets:
    """Number of hits for each value, most frequent first."""

    format: dict[str, int]
    dataset: dict[str, int]
    status: dict[str, int]
    teacher: dict[str, int]
    sample: dict[str, int]


class _Where:
    """The conditions of a query, each with the values for its placeholders.

    Raises:
        NotFound: a dataset or a sample does not exist.
    """

    def __init__(self, db: Database, query: KnowledgeQuery) -> None:
        self.match = match_all(query.words) if query.words else None
        self._is_short = len(query.words) == 1 and len(query.words[0]) <= _PREFIX and query.words[0].isalnum()
        self._filters: list[str] = []
        self._values: list[object] = []
        self._any_of("dataset_id", [dataset_id(db, name) for name in query.datasets])
        self._any_of("format", query.formats)
        self._any_of("status", query.statuses)
        self._any_of("teacher", query.teachers)
        for bound in query.bounds:
            self._filters.append(f"{bound.measure} {bound.operator} ?")
            self._values.append(bound.value)
        if query.samples:
            samples = [sample_id(db, name) for name in query.samples]
            marks = ", ".join("?" * len(samples))
            self._filters.append(f"id IN (SELECT knowledge_id FROM sample_knowledge WHERE sample_id IN ({marks}))")
            self._values += samples
        if query.origins:
            marks = ", ".join("?" * len(query.origins))
            imports = f"SELECT id FROM knowledge_imports WHERE source IN ({marks}) OR file IN ({marks})"
            self._filters.append(f"id IN (SELECT id FROM knowledge WHERE import_id IN ({imports}))")
            self._values += [*query.origins, *query.origins]
        # The pieces of samples and imports are looked up by number.
        self._by_number = bool(query.samples or query.origins)

    def _any_of(self, column: str, values: Sequence[object]) -> None:
        if values:
            self._filters.append(f"{column} IN ({', '.join('?' * len(values))})")
            self._values += values

    @property
    def is_filtered(self) -> bool:
        return bool(self._filters)

    @property
    def table(self) -> str:
        """The table, with the index to use for the filters."""
        return "knowledge NOT INDEXED" if self._by_number else "knowledge INDEXED BY knowledge_facets"

    def sql(self, *, by_words: bool = True, among: str = "") -> str:
        """Return the conditions on the table, with or without those of the words.

        Args:
            among: a query for the few pieces to check; empty for all.
        """
        conditions = list(self._filters)
        if self.match is not None and by_words:
            conditions.append(self._has_words(among))
        return " AND ".join(conditions) or "TRUE"

    def _has_words(self, among: str) -> str:
        matches = "FROM knowledge_fts WHERE knowledge_fts MATCH ?"
        if not among:
            return f"id IN (SELECT rowid {matches})"
        # Short beginnings match very many pieces, but a lookup by number is fast. For longer words, each lookup would
        # collect all words with that beginning first.
        return (
            f"EXISTS (SELECT 1 {matches} AND rowid = id)"
            if self._is_short
            else (f"id IN (SELECT rowid {matches} AND +rowid IN ({among}))")
        )

    def values(self, *, by_words: bool = True) -> list[object]:
        return [*self._values, self.match] if self.match is not None and by_words else list(self._values)


def search_knowledge(
    db: Database, query: KnowledgeQuery, sort: KnowledgeSort = "support", *, reverse: bool = False, ranked: int = RANKED
) -> Iterator[Hits]:
    """Iterate over the numbers of the matching pieces, part by part.

    Args:
        sort: the order, greatest first and pieces without the measure last. "match" is relevance for the words only;
            without words it means support.
        reverse: least first; pieces without the measure are still last.
        ranked: maximum number of hits to rank by relevance; more are ordered by support.

    Raises:
        NotFound: a dataset or a sample does not exist.
    """
    where = _Where(db, query)
    note = ""
    if where.match is not None:
        some = "SELECT rowid FROM knowledge_fts WHERE knowledge_fts MATCH ? LIMIT ?"
        many = len(_numbers(db, some, [where.match, ranked + 1])) > ranked
        if sort == "match":
            if not many:
                yield from hits_of(db, *_by_relevance(where, reverse=reverse))
                return
            note = f"by support: more than {ranked:,} match"
        if not many:
            yield from hits_of(db, *_matches_in_order(where, _order(sort, reverse=reverse)))
            return
    yield from _search_in_order(db, where, sort, reverse=reverse, note=note)


def _search_in_order(db: Database, where: _Where, sort: KnowledgeSort, *, reverse: bool, note: str) -> Iterator[Hits]:
    """Yield hits that can be very many: the first, the count, the last, and then all."""
    column = _column(sort)
    index = f"knowledge_by_{column}"
    order = _order(sort, reverse=reverse)
    shown = 0
    first = _first_hits(db, where, index, order)
    if len(first) == FIRST:
        yield Hits(0, first, None, note)
        shown = FIRST
        if where.match is None or not where.is_filtered:
            yield from _count_and_last_hits(db, where, index, _order(sort, reverse=not reverse, nulls_last=False), note)
    if where.is_filtered and where.match is not None:
        sql, values = _matches_in_order(where, order)
    else:
        # Filters use the index that covers them; words are checked while reading in order.
        table = where.table if where.is_filtered else f"knowledge INDEXED BY {index}"
        sql = f"SELECT id FROM {table} WHERE {where.sql()} ORDER BY {order}"
        values = where.values()
        if where.is_filtered and not shown:
            # Finding the first hits is much faster than sorting all.
            first = _numbers(db, f"{sql} LIMIT {FIRST}", values)
            yield Hits(0, first, len(first) if len(first) < FIRST else None, note)
            if len(first) < FIRST:
                return
            shown = FIRST
    yield from _skip_first(hits_of(db, sql, values, order=note), shown)


def _skip_first(parts: Iterator[Hits], shown: int) -> Iterator[Hits]:
    """Skip the first hits, which have been yielded already."""
    for part in parts:
        ids = part.ids[max(0, shown - part.first) :]
        if ids or part.count is not None:
            yield Hits(max(part.first, shown), ids, part.count, part.order)


def _first_hits(db: Database, where: _Where, index: str, order: str, limit: int = FIRST) -> "array[int]":
    """Return the first hits if they are among the first pieces of the order."""
    front = f"FROM knowledge INDEXED BY {index} ORDER BY {order} LIMIT {_FRONT}"
    conditions = where.sql(among=f"SELECT id {front}")
    # Without filters, the index alone is enough.
    columns = "*" if where.is_filtered else "id"
    return _numbers(db, f"SELECT id FROM (SELECT {columns} {front}) WHERE {conditions} LIMIT {limit}", where.values())


def _count_and_last_hits(db: Database, where: _Where, index: str, backwards: str, note: str) -> Iterator[Hits]:
    """Yield the count and the last hits if they can be found quickly."""
    if where.match is not None:
        count = db.execute("SELECT count(*) FROM knowledge_fts WHERE knowledge_fts MATCH ?", [where.match])
    elif where.is_filtered:
        count = db.execute(f"SELECT count(*) FROM {where.table} WHERE {where.sql()}", where.values())
    else:
        count = db.execute("SELECT count(*) FROM knowledge")
    total = int(count.fetchone()[0])
    last = _first_hits(db, where, index, backwards, _LAST)
    if len(last) == _LAST and total >= FIRST + _LAST:
        can_wait = where.match is None and not where.is_filtered
        yield Hits(total - _LAST, array("q", reversed(last)), total, note, can_wait)


def _numbers(db: Database, sql: str, values: Sequence[object]) -> "array[int]":
    return array("q", [row[0] for row in db.execute(sql, list(values)).fetchall()])


def _by_relevance(where: _Where, *, reverse: bool) -> tuple[str, list[object]]:
    way = "DESC" if reverse else "ASC"
    return _matches_in_order(where, f"rank {way}, id {way}")


def _matches_in_order(where: _Where, order: str) -> tuple[str, list[object]]:
    """Return a query that filters and sorts the text matches, and its values."""
    sql = f"""
        SELECT id FROM knowledge_fts CROSS JOIN knowledge ON knowledge.id = knowledge_fts.rowid
        WHERE knowledge_fts MATCH ? AND {where.sql(by_words=False)} ORDER BY {order}
    """
    return sql, [where.match, *where.values(by_words=False)]


def _column(sort: KnowledgeSort) -> str:
    return "support" if sort == "match" else _COLUMN_OF.get(sort, sort)


def _order(sort: KnowledgeSort, *, reverse: bool, nulls_last: bool = True) -> str:
    column = _column(sort)
    nulls = "LAST" if nulls_last else "FIRST"
    return f"{column} ASC NULLS {nulls}, id DESC" if reverse else f"{column} DESC NULLS {nulls}, id"


def knowledge_rows(db: Database, numbers: Sequence[int]) -> list[KnowledgeRow]:
    """Return rows for a list, in the order of the given numbers; skip missing pieces."""
    rows = db.execute(
        f"""
        SELECT knowledge.id, format, datasets.name, substr(statement, 1, {_SHOWN}), support, precision, confidence,
            lift, status, teacher, knowledge.created_at
        FROM json_each(?) AS wanted CROSS JOIN knowledge ON knowledge.id = wanted.value
        JOIN datasets ON datasets.id = dataset_id ORDER BY wanted.key
        """,
        [json.dumps(list(numbers))],
    )
    return [KnowledgeRow(*row) for row in rows.fetchall()]


def count_facets(db: Database, query: KnowledgeQuery) -> Facets:
    """Count the hits by format, dataset, status, teacher and sample.

    Raises:
        NotFound: a dataset or a sample does not exist.
    """
    where = _Where(db, query)
    names = dict(db.execute("SELECT id, name FROM datasets").fetchall())
    if where.match is None:
        source, conditions, values = where.table, where.sql(), where.values()
    else:
        source = "knowledge_fts CROSS JOIN knowledge ON knowledge.id = knowledge_fts.rowid"
        conditions = f"knowledge_fts MATCH ? AND {where.sql(by_words=False)}"
        values = [where.match, *where.values(by_words=False)]
    counts: dict[str, dict[str, int]] = {"format": {}, "dataset": {}, "status": {}, "teacher": {}}
    for number, format, status, teacher, count in db.execute(
        f"SELECT dataset_id, format, status, teacher, count(*) FROM {source} WHERE {conditions} GROUP BY 1, 2, 3, 4",
        values,
    ).fetchall():
        found = {"format": format, "dataset": names[number], "status": status, "teacher": teacher}
        for facet, value in found.items():
            counts[facet][value] = counts[facet].get(value, 0) + count
    inside = ""
    if where.is_filtered or where.match is not None:
        inside = f"WHERE knowledge_id IN (SELECT id FROM {source} WHERE {conditions})"
    samples = db.execute(
        f"""
        SELECT name, pieces FROM samples JOIN
            (SELECT sample_id, count(*) AS pieces FROM sample_knowledge {inside} GROUP BY sample_id)
            ON sample_id = samples.id
        """,
        values if inside else [],
    ).fetchall()
    return Facets(
        **{facet: _largest_first(found) for facet, found in counts.items()},
        sample=_largest_first(dict(samples)),
    )


def _largest_first(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
