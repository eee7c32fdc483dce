"""A database of an older version is upgraded: nothing is lost, and a copy of it is kept before the first change."""

import gzip
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from store.database import open_database
from store.errors import StoreError
from store.migrations import migrations
from store.sqlite import Database
from tests.support.commands import Kdtui

RELEASED = sorted((Path(__file__).parent / "released").glob("*.db.gz"))
"""A database of each released version whose schema is not the present one: datasets, knowledge, runs, trainings."""


@pytest.fixture(params=RELEASED, ids=[path.name.removesuffix(".db.gz") for path in RELEASED])
def released(request: pytest.FixtureRequest, database_of_the_test: Path) -> Path:
    database_of_the_test.parent.mkdir(parents=True)
    database_of_the_test.write_bytes(gzip.decompress(request.param.read_bytes()))
    return database_of_the_test


def rows(path: Path) -> dict[str, list[dict[str, object]]]:
    """Return the rows of all tables but those of searches and migrations."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            table: [dict(row) for row in connection.execute(f'SELECT * FROM "{table}" ORDER BY 1, 2')]
            for table in tables
            if "_fts" not in table and "sqlite" not in table
        }


def test_a_released_database_keeps_its_rows(released: Path) -> None:
    before = rows(released)
    with closing(open_database(released)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    after = rows(released)
    for table, kept in before.items():
        # A migration can add columns and fill them.
        assert [
            {name: row[name] for name in old if name in row} for old, row in zip(kept, after[table], strict=True)
        ] == [{name: value for name, value in old.items() if name in after[table][0]} for old in kept], table


def test_the_commands_work_on_a_released_database(released: Path, kdtui: Kdtui) -> None:
    assert [row["sessions"] for row in kdtui("data", "ls", "--json").rows] == [10]
    assert kdtui("knowledge", "search", "tent*", "--json").rows
    assert len(kdtui("run", "ls", "--json").rows) == 1
    assert released.exists()


def test_a_copy_is_kept_and_named(released: Path, kdtui: Kdtui) -> None:
    before = rows(released)
    told = kdtui("data", "ls").err
    copy = released.with_name("kdtui.db.m0013")
    assert f"the database was upgraded to this version of kdtui; the old version is kept as {copy}" in told
    assert rows(copy) == before
    assert "upgraded" not in kdtui("data", "ls").err


def test_the_copy_is_private(released: Path) -> None:
    released.chmod(0o600)
    before = os.umask(0)
    try:
        open_database(released).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(released.with_name("kdtui.db.m0013").stat().st_mode) == 0o600


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last migration fails after it has changed something."""
    last = list(migrations._migrations)[-1]

    def fail(db: Database) -> None:
        db.execute("DELETE FROM knowledge")
        db.execute("INSERT INTO missing VALUES (1)")

    monkeypatch.setattr(last, "fn", fail)


@pytest.mark.usefixtures("failing")
def test_a_failing_upgrade_leaves_the_file_as_it_was(released: Path) -> None:
    before = rows(released)
    with pytest.raises(StoreError, match="no such table: missing"):
        open_database(released)
    with closing(sqlite3.connect(released)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert rows(released) == rows(released.with_name("kdtui.db.m0013")) == before


def test_a_database_that_cannot_be_copied_is_not_upgraded(released: Path, kdtui: Kdtui) -> None:
    before = rows(released)
    # A folder in the place of the copy.
    released.with_name("kdtui.db.m0013.part").mkdir()
    result = kdtui("data", "ls")
    assert result.code == 1
    assert "it cannot be copied, so it was not upgraded" in result.err
    assert rows(released) == before


def test_a_new_database_has_no_copy(database_of_the_test: Path) -> None:
    open_database(database_of_the_test).close()
    assert [path.name for path in database_of_the_test.parent.iterdir()] == ["kdtui.db"]
