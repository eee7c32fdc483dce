"""The database file: made, migrated, refused, and readable by other tools."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdtui.workflows.import_dataset import import_dataset
from store.database import default_path, open_database
from store.errors import StoreError
from store.jobs import get_job
from store.knowledge import NewKnowledge, add_knowledge, get_knowledge
from store.sqlite import Database

Kdtui = Callable[..., Any]


def test_a_new_file_has_foreign_keys_and_a_write_ahead_log(db: Database) -> None:
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert {"datasets", "items", "sessions", "bundles", "knowledge", "runs", "predictions"} <= set(db.table_names())


def test_the_place_is_the_platforms_unless_the_environment_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDTUI_DB", "/somewhere/else.db")
    assert default_path() == Path("/somewhere/else.db")
    monkeypatch.delenv("KDTUI_DB")
    assert default_path().parts[-2:] == ("kdtui", "kdtui.db")


def test_the_option_wins_before_and_after_the_command(tmp_path: Path, outdoor: Path, kdtui: Kdtui) -> None:
    one, other = tmp_path / "one.db", tmp_path / "other.db"
    assert kdtui("--db", one, "data", "import", outdoor, "-d", "d").code == 0
    assert kdtui("data", "import", outdoor, "-d", "d", "--db", other).code == 0
    assert one.exists()
    assert other.exists()


def test_an_older_file_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    db = open_database(path)
    for table in ("predictions", "runs"):
        db.table(table).drop()
    db.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0003_runs'")
    db.conn.commit()
    db.close()
    assert "predictions" in open_database(path).table_names()


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path, kdtui: Kdtui) -> None:
    path = tmp_path / "new.db"
    db = open_database(path)
    with db.atomic():
        db.table("_sqlite_migrations").insert(
            {"migration_set": "kdtui", "name": "m9999_future", "applied_at": "2099-01-01"}
        )
    db.close()
    before = path.read_bytes()
    result = kdtui("data", "ls", "--db", path)
    assert result.code == 1
    assert "made by a newer version of kdtui (it has m9999_future); upgrade kdtui" in result.err
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path, kdtui: Kdtui) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 100)
    result = kdtui("data", "ls", "--db", path)
    assert result.code == 1
    assert f"kdtui: {path}: this file is not an SQLite database" in result.err
    assert path.read_text().startswith("dear diary")


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE photos (id)")
    connection.close()
    with pytest.raises(StoreError, match="another program's database"):
        open_database(path)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, kdtui: Kdtui) -> None:
    (tmp_path / "file").touch()
    result = kdtui("data", "ls", "--db", tmp_path / "file" / "kdtui.db")
    assert result.code == 1
    assert len(result.err.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists(), reason="root may write anywhere here")
def test_a_read_only_database_is_one_sentence(tmp_path: Path, outdoor: Path) -> None:
    # Root may write to anything; the command runs as nobody then, in folders that nobody may read.
    path = tmp_path / "store" / "kdtui.db"
    open_database(path).close()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    temporary = Path(tempfile.gettempdir())
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to(temporary) and folder != temporary:
            folder.chmod(0o755)
    command = [sys.executable, "-m", "kdtui", "--db", str(path)]
    command += ["data", "import", str(outdoor), "-d", "d"]
    if os.geteuid() == 0:
        command = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "cannot be written to" in result.stderr or "cannot be opened" in result.stderr


def test_a_full_disk_is_one_sentence_and_nothing_is_kept(
    db: Database, outdoor: Path, kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SQLite reports SQLITE_FULL when a database may not grow, as it does when the disk is full.
    import store.database

    pages = db.execute("PRAGMA page_count").fetchone()[0]
    really_open = store.database.open_database

    def open_full(path: Path) -> Database:
        opened = really_open(path)
        opened.execute(f"PRAGMA max_page_count = {pages}")
        return opened

    monkeypatch.setattr(store.database, "open_database", open_full)
    result = kdtui("data", "import", outdoor, "-d", "d")
    assert result.code == 1
    assert (
        result.err == "kdtui: the disk is full; nothing of this command was kept, so free some space and run it again\n"
    )
    assert db.execute("SELECT count(*) FROM datasets").fetchone() == (0,)


def test_readers_go_on_while_an_import_runs(db: Database, database_of_the_test: Path, outdoor: Path) -> None:
    events = import_dataset(db, outdoor, "d")
    next(events)
    other = open_database(database_of_the_test)
    assert other.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
    list(events)
    assert other.execute("SELECT count(*) FROM sessions").fetchone() == (36,)
    other.close()


def test_deleting_a_dataset_leaves_nothing_of_it(db: Database, outdoor: Path, kdtui: Kdtui) -> None:
    list(import_dataset(db, outdoor, "d"))
    assert kdtui("data", "rm", "d", "--yes").code == 0
    for table in ("items", "sessions", "session_items", "bundles", "bundle_items", "items_fts"):
        assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    assert kdtui("data", "rm", "d", "--yes").code == 1


def test_many_processes_can_make_the_same_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "kdtui.db"
    code = f"from pathlib import Path; from store.database import open_database; open_database(Path({str(path)!r}))"
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(5)]
    assert [process.communicate()[1] for process in processes] == [""] * 5
    assert open_database(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_opening_a_store_imports_neither_numpy_nor_pandas_which_stay_there_for_others(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from store.database import open_database\n"
        f"open_database(Path({str(tmp_path / 'a.db')!r}))\n"
        "print([name for name in ('numpy', 'pandas') if name in sys.modules])\n"
        "import numpy, pandas; print(numpy.int64(pandas.Series([1, 2]).sum()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n3\n"


def test_a_store_of_before_knows_its_trainings_still(db: Database, database_of_the_test: Path) -> None:
    db.execute(
        "INSERT INTO jobs (name, folder, settings, created_at) VALUES ('old', '/x', '{\"datasets\":[\"a\"]}', '2026')"
    )
    db.conn.commit()
    job = get_job(open_database(database_of_the_test), "old")
    assert (job.host, job.key, job.evaluate) == (None, "job-1", False)


def test_knowledge_of_before_imports_were_recorded_is_the_datasets_own(tmp_path: Path, outdoor: Path) -> None:
    path = tmp_path / "old.db"
    db = open_database(path)
    list(import_dataset(db, outdoor, "d"))
    [number] = add_knowledge(db, "d", "rule", "t", [NewKnowledge("Put tents with mats", "{}")])
    db.execute("DROP INDEX knowledge_by_import")
    for column in ("own", "import_id"):
        db.execute(f"ALTER TABLE knowledge DROP COLUMN {column}")
    db.table("knowledge_imports").drop()
    db.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0014_imports'")
    db.conn.commit()
    db.close()
    piece = get_knowledge(open_database(path), number)
    assert (piece.own, piece.origin) == (True, None)
