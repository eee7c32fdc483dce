"""Deleted knowledge, and restoring it unchanged."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.large_store import make_store
from store.database import open_database
from store.errors import NotFound, StoreError
from store.knowledge import NewKnowledge, add_knowledge
from store.knowledge_removal import dependents_of, remove_knowledge, restore_knowledge
from store.sqlite import Database

TABLES = ("knowledge", "knowledge_sessions", "knowledge_parents", "sample_knowledge")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Database]:
    make_store(tmp_path / "made.db", 400, 60)
    db = open_database(tmp_path / "made.db")
    yield db
    db.close()


def everything(db: Database) -> dict[str, list[dict[str, object]]]:
    found = {table: list(db.query(f"SELECT * FROM {table} ORDER BY 1, 2")) for table in TABLES}
    return found | {"text": list(db.query("SELECT rowid FROM knowledge_fts WHERE knowledge_fts MATCH 'put'"))}


def test_deleted_pieces_are_restored_completely(made: Database) -> None:
    before = everything(made)
    removed = remove_knowledge(made, range(20, 320), keep=True)
    assert len(everything(made)["knowledge"]) == 100
    assert removed.numbers == list(range(20, 320))
    restore_knowledge(made, removed)
    assert everything(made) == before


def test_dependents_of_pieces_are_counted_before_deletion(made: Database) -> None:
    numbers = range(41, 241)
    found = dependents_of(made, [*numbers, 99_999])
    assert found.pieces == 200
    assert found.samples == ("all-rules", "tenth")
    before = everything(made)
    remove_knowledge(made, numbers)
    after = everything(made)
    assert found.sessions == len(before["knowledge_sessions"]) - len(after["knowledge_sessions"])
    children = {row["knowledge_id"] for row in before["knowledge_parents"] if row["parent_id"] in numbers}
    assert found.children == len(children - set(numbers)) > 0


def test_links_to_missing_rows_are_not_restored(made: Database) -> None:
    removed = remove_knowledge(made, range(1, 300), keep=True)
    with made.atomic():
        made.execute("DELETE FROM samples WHERE name = 'tenth'")
        made.execute("DELETE FROM sessions WHERE id < 20")
        made.execute("DELETE FROM knowledge WHERE id = 350")
    restore_knowledge(made, removed)
    assert made.execute("PRAGMA foreign_key_check").fetchall() == []
    assert made.execute("SELECT count(*) FROM knowledge").fetchone() == (399,)


def test_a_newer_equal_piece_is_not_overwritten(made: Database) -> None:
    dataset, statement, teacher = made.execute(
        "SELECT name, statement, teacher FROM knowledge, datasets WHERE datasets.id = dataset_id AND knowledge.id = 1"
    ).fetchone()
    removed = remove_knowledge(made, [1, 2], keep=True)
    add_knowledge(made, dataset, "pattern", teacher, [NewKnowledge(statement, "{}")])
    before = everything(made)
    with pytest.raises(StoreError, match="an equal piece has been added meanwhile"):
        restore_knowledge(made, removed)
    assert everything(made) == before


def test_unknown_numbers_are_reported(made: Database) -> None:
    for ask in (dependents_of, remove_knowledge):
        with pytest.raises(NotFound, match="no knowledge of these numbers"):
            ask(made, [5_000, 6_000])
