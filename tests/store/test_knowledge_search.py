"""Search for knowledge by words and filters: the parts add up to all hits, in order."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.large_store import make_store
from store import knowledge_search
from store.database import open_database
from store.errors import NotFound
from store.hits import FIRST, Hits, hits_of
from store.knowledge_search import count_facets, knowledge_rows, search_knowledge
from store.records import FORMATS, KNOWLEDGE_SORTS, MEASURES, STATUSES, Bound, KnowledgeQuery, KnowledgeSort
from store.sqlite import Database

PIECES = 3_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A store with some thousand artificial pieces; every kind of condition matches some of them."""
    path = tmp_path_factory.mktemp("made") / "made.db"
    make_store(path, PIECES, 200)
    db = open_database(path)
    yield db
    db.close()


def some(*values: str) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


QUERIES = st.builds(
    KnowledgeQuery,
    words=some("cable", "te", "put", "s", "shop department"),
    formats=some(*FORMATS),
    datasets=some("food", "electronic"),
    teachers=some("annotations", "large-model", "nobody"),
    statuses=some(*STATUSES),
    samples=some("tenth", "all-rules"),
    origins=some("food", "nowhere"),
    bounds=st.lists(
        st.builds(Bound, st.sampled_from(MEASURES), st.sampled_from([">", ">=", "<", "<=", "="]), st.floats(0, 0.5)),
        max_size=1,
    ).map(tuple),
)


def join_parts(parts: Iterator[Hits]) -> list[int]:
    """Return all ids; parts that report the end or the count early must be right."""
    ids: list[int] = []
    early: list[Hits] = []
    for part in parts:
        if part.first == len(ids):
            ids += part.ids
        else:
            early.append(part)
        if part.count is not None:
            early.append(part)
    assert early
    for part in early:
        assert part.count in (None, len(ids))
        assert ids[part.first : part.first + len(part.ids)] == list(part.ids)
    return ids


def matches(row: dict[str, Any], query: KnowledgeQuery) -> bool:
    """Evaluate a query in plain Python, for words that are beginnings of words of plain letters."""
    compare: dict[str, Callable[[float, float], bool]] = {
        ">": float.__gt__,
        ">=": float.__ge__,
        "<": float.__lt__,
        "<=": float.__le__,
        "=": float.__eq__,
    }
    return (
        all(f" {word}" in row["words"] for word in query.words)
        and all(
            not wanted or row[column] in wanted
            for column, wanted in (
                ("format", query.formats),
                ("dataset", query.datasets),
                ("teacher", query.teachers),
                ("status", query.statuses),
                ("source", query.origins),
            )
        )
        and (not query.samples or bool(row["samples"] & set(query.samples)))
        and all(
            row[bound.measure] is not None and compare[bound.operator](float(row[bound.measure]), bound.value)
            for bound in query.bounds
        )
    )


@pytest.fixture(scope="module")
def rows(made: Database) -> list[dict[str, Any]]:
    """All pieces, to check each of them."""
    found = [
        dict(row)
        for row in made.query(
            """
            SELECT knowledge.*, name AS dataset, knowledge_imports.source AS source
            FROM knowledge JOIN datasets ON datasets.id = knowledge.dataset_id
            LEFT JOIN knowledge_imports ON knowledge_imports.id = import_id
            """
        )
    ]
    for row in found:
        row["words"] = " " + " ".join("".join(c if c.isalnum() else " " for c in row["statement"].lower()).split())
        row["samples"] = {
            name
            for (name,) in made.execute(
                "SELECT name FROM samples JOIN sample_knowledge ON sample_id = samples.id WHERE knowledge_id = ?",
                [row["id"]],
            )
        }
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    query=QUERIES,
    sort=st.sampled_from(KNOWLEDGE_SORTS),
    reverse=st.booleans(),
    ranked=st.sampled_from([0, 50, 10_000]),
    glance=st.sampled_from([10, 1_000, 5_000]),
)
@pytest.mark.slow
def test_a_search_finds_exactly_the_matches_in_order(
    made: Database,
    rows: list[dict[str, Any]],
    query: KnowledgeQuery,
    sort: KnowledgeSort,
    reverse: bool,
    ranked: int,
    glance: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knowledge_search, "_FRONT", glance)
        ids = join_parts(search_knowledge(made, query, sort, reverse=reverse, ranked=ranked))
    wanted = {row["id"]: row for row in rows if matches(row, query)}
    assert len(ids) == len(set(ids))
    assert set(ids) == set(wanted)
    # So few hits are in the order of relevance, which only the search knows.
    by_words = sum(matches(row, KnowledgeQuery(words=query.words)) for row in rows)
    if sort == "match" and query.words and by_words <= ranked:
        return
    column = {"match": "support", "newest": "created_at"}.get(sort, sort)
    # Pieces without the measure are last in both directions.
    values = [wanted[number][column] for number in ids]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=not reverse)
    assert values[: len(known)] == known


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(query=QUERIES)
def test_facets_count_the_hits(made: Database, rows: list[dict[str, Any]], query: KnowledgeQuery) -> None:
    found = [row for row in rows if matches(row, query)]
    facets = count_facets(made, query)
    for name in ("format", "dataset", "status", "teacher"):
        counts: dict[str, int] = getattr(facets, name)
        assert counts == {value: sum(row[name] == value for row in found) for value in {row[name] for row in found}}
        assert list(counts.values()) == sorted(counts.values(), reverse=True)
    samples = {name for row in found for name in row["samples"]}
    assert facets.sample == {name: sum(name in row["samples"] for row in found) for name in samples}


def test_the_best_match_comes_first_and_many_matches_are_not_ranked(made: Database) -> None:
    query = KnowledgeQuery(words=("cable",))
    [first, *_] = search_knowledge(made, query, "match", ranked=PIECES)
    best = made.execute(
        "SELECT rowid FROM knowledge_fts WHERE knowledge_fts MATCH '\"cable\"*' ORDER BY rank"
    ).fetchone()
    assert first.ids[0] == best[0]
    assert first.order == ""
    [first, *_] = search_knowledge(made, query, "match", ranked=10)
    assert first.order == "by support: more than 10 match"


def test_the_first_hits_and_the_end_come_before_the_rest(made: Database) -> None:
    first, end, *_ = search_knowledge(made, KnowledgeQuery())
    assert (first.first, len(first.ids), first.count) == (0, FIRST, None)
    assert (end.first, len(end.ids), end.count) == (PIECES - 2 * FIRST, 2 * FIRST, PIECES)
    assert end.can_wait


def test_unknown_datasets_and_samples_are_reported(made: Database) -> None:
    for query in (KnowledgeQuery(datasets=("nowhere",)), KnowledgeQuery(samples=("none",))):
        with pytest.raises(NotFound, match="there is no"):
            next(search_knowledge(made, query))


def test_rows_have_the_order_of_the_numbers(made: Database) -> None:
    assert [row.id for row in knowledge_rows(made, [7, 3, 99_999, 5])] == [7, 3, 5]


def test_hits_of_a_query_have_at_least_one_part(db: Database) -> None:
    [part] = hits_of(db, "SELECT id FROM knowledge", [])
    assert (list(part.ids), part.count) == ([], 0)


def test_the_same_arguments_create_the_same_store(made: Database, tmp_path: Path) -> None:
    make_store(tmp_path / "again.db", PIECES, 200)
    again = open_database(tmp_path / "again.db")
    for table in ("knowledge", "sessions", "session_items", "bundles", "knowledge_parents", "predictions"):
        assert list(again.query(f"SELECT * FROM {table}")) == list(made.query(f"SELECT * FROM {table}"))
    assert again.execute("PRAGMA foreign_key_check").fetchall() == []
    again.close()
