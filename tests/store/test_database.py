"""The database file: created, migrated, refused, and readable by other tools."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kdtui.workflows.data.import_dataset import import_dataset
from store.database import open_database
from store.errors import StoreError
from store.jobs import get_job
from store.knowledge import NewKnowledge, add_knowledge, get_knowledge
from store.location import default_path
from store.sqlite import Database
from tests.support.commands import Kdtui


def test_a_new_file_has_foreign_keys_and_a_write_ahead_log(db: Database) -> None:
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert {"datasets", "items", "sessions", "bundles", "knowledge", "runs", "predictions"} <= set(db.table_names())


def test_the_default_path_is_the_platforms_unless_the_environment_sets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDTUI_DB", "/somewhere/else.db")
    assert default_path() == Path("/somewhere/else.db")
    monkeypatch.delenv("KDTUI_DB")
    assert default_path().parts[-2:] == ("kdtui", "kdtui.db")


def test_the_option_overrides_the_environment(tmp_path: Path, outdoor: Path, kdtui: Kdtui) -> None:
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


def test_a_newer_file_is_refused_and_unchanged(tmp_path: Path, kdtui: Kdtui) -> None:
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


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path, kdtui: Kdtui) -> None:
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


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path, kdtui: Kdtui) -> None:
    (tmp_path / "file").touch()
    result = kdtui("data", "ls", "--db", tmp_path / "file" / "kdtui.db")
    assert result.code == 1
    assert len(result.err.splitlines()) == 1


_SETPRIV = Path("/usr/bin/setpriv")
without_writing = pytest.mark.skipif(os.geteuid() == 0 and not _SETPRIV.exists(), reason="root may write anywhere here")


def run_without_writing(path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command on a database in a read-only folder."""
    # Root can write anywhere, so the command runs as nobody, in folders that nobody may read.
    for file in path.parent.iterdir():
        file.chmod(0o444)
    path.parent.chmod(0o555)
    temporary = Path(tempfile.gettempdir())
    for folder in path.parent.parents:
        if folder.is_relative_to(temporary) and folder != temporary:
            folder.chmod(0o755)
    command = [sys.executable, "-m", "kdtui", "--db", str(path), *arguments]
    if os.geteuid() == 0:
        command = [str(_SETPRIV), "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=path.parent.parent)
    finally:
        path.parent.chmod(0o755)


@pytest.fixture
def filled(tmp_path: Path, outdoor: Path) -> Path:
    """A store with the dataset `d`, in its own folder."""
    path = tmp_path / "filled" / "kdtui.db"
    with closing(open_database(path)) as db:
        list(import_dataset(db, outdoor, "d"))
    return path


@without_writing
def test_writing_to_a_read_only_database_is_reported(filled: Path, outdoor: Path) -> None:
    result = run_without_writing(filled, "data", "import", str(outdoor), "-d", "other")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "cannot be written to" in result.stderr


@without_writing
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_read_only_database_is_read_without_creating_files(filled: Path, journal: str) -> None:
    with closing(sqlite3.connect(filled)) as connection:
        assert connection.execute(f"PRAGMA journal_mode = {journal}").fetchone() == (journal,)
    for arguments in (("data", "ls", "--json"), ("data", "show", "o01")):
        result = run_without_writing(filled, *arguments)
        assert result.returncode == 0, result.stderr
        assert result.stdout
    assert [file.name for file in filled.parent.iterdir()] == [filled.name]


@without_writing
def test_a_read_only_database_with_a_pending_log_says_what_to_do(filled: Path) -> None:
    # The state after a crash, copied along with the log of changes.
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute("UPDATE datasets SET source = 'elsewhere'")
        connection.commit()
        log = filled.with_name(f"{filled.name}-wal")
        content = log.read_bytes()
    log.write_bytes(content)
    result = run_without_writing(filled, "data", "ls")
    assert result.returncode == 1
    assert f"{log.name} holds changes that can only be read where the folder can be written" in result.stderr


@without_writing
def test_an_older_read_only_database_says_what_to_do(filled: Path) -> None:
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute("DROP TABLE predictions")
        connection.execute("DROP TABLE runs")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0003_runs'")
        connection.commit()
    result = run_without_writing(filled, "data", "ls")
    assert result.returncode == 1
    assert "made by an older version of kdtui" in result.stderr
    assert "copy it to another folder" in result.stderr


def test_the_first_write_creates_a_missing_log(filled: Path, kdtui: Kdtui, outdoor: Path) -> None:
    def journal() -> tuple[str]:
        with closing(sqlite3.connect(filled)) as connection:
            found: tuple[str] = connection.execute("PRAGMA journal_mode").fetchone()
            return found

    with closing(sqlite3.connect(filled)) as connection:
        connection.execute("PRAGMA journal_mode = delete")
    assert kdtui("data", "ls", "--db", filled).code == 0
    assert journal() == ("delete",)
    assert kdtui("data", "import", outdoor, "-d", "other", "--db", filled).code == 0
    assert journal() == ("wal",)


READING = [
    "data ls",
    "data show s1 -d d",
    "data export -d d",
    "data rm d --yes",
    "knowledge ls",
    "knowledge search tents",
    "knowledge show 1",
    "knowledge for s1 -d d",
    "knowledge calls",
    "knowledge rm 1 --yes",
    "sample ls",
    "sample rm a",
    "run ls",
    "run show 1",
    "run rm 1",
    "sft ls",
    "sft show a",
    "sft launch --dataset d --name a",
    "host ls",
    "model ls",
    "model rm a",
    "evaluate --dataset d",
    "evaluate --resume 1",
    "generate s1 -d d",
    "generate --title Tent --title Pegs --student smollm2",
    "knowledge mine -d d",
    "sample create a -d d",
    "data embed -d d --with smollm2",
    "knowledge distill -d d",
]


@pytest.mark.parametrize("command", READING)
def test_a_command_that_stores_nothing_creates_no_database(
    command: str, kdtui: Kdtui, database_of_the_test: Path
) -> None:
    result = kdtui(*command.split())
    assert result.code in (0, 1), result.err
    assert f"there is no database {database_of_the_test} yet" in result.err
    assert not database_of_the_test.parent.exists()


def test_the_first_write_creates_the_database(database_of_the_test: Path, outdoor: Path) -> None:
    with closing(open_database(database_of_the_test, make=False)) as db:
        assert db.execute("SELECT count(*) FROM datasets").fetchone() == (0,)
        assert not database_of_the_test.exists()
        list(import_dataset(db, outdoor, "d"))
        assert db.execute("SELECT count(*) FROM datasets").fetchone() == (1,)
    with closing(open_database(database_of_the_test)) as db:
        assert db.execute("SELECT count(*) FROM datasets").fetchone() == (1,)


def test_a_file_created_by_another_process_meanwhile_is_used(database_of_the_test: Path, outdoor: Path) -> None:
    with closing(open_database(database_of_the_test, make=False)) as one:
        with closing(open_database(database_of_the_test)) as other:
            list(import_dataset(other, outdoor, "theirs"))
        list(import_dataset(one, outdoor, "ours"))
        assert one.execute("SELECT name FROM datasets ORDER BY name").fetchall() == [("ours",), ("theirs",)]


def test_a_pipe_is_refused_without_waiting(tmp_path: Path, kdtui: Kdtui) -> None:
    os.mkfifo(tmp_path / "pipe")
    result = kdtui("data", "ls", "--db", tmp_path / "pipe")
    assert (result.code, result.err) == (1, f"kdtui: {tmp_path / 'pipe'}: a database is a file, and this is a pipe\n")


def test_a_full_disk_is_reported_and_nothing_is_stored(
    db: Database, outdoor: Path, kdtui: Kdtui, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SQLite reports SQLITE_FULL when a database must not grow, as when the disk is full.
    import store.database

    pages = db.execute("PRAGMA page_count").fetchone()[0]
    really_open = store.database.open_database

    def open_full(path: Path, **options: Any) -> Database:
        opened = really_open(path, **options)
        opened.execute(f"PRAGMA max_page_count = {pages}")
        return opened

    monkeypatch.setattr(store.database, "open_database", open_full)
    result = kdtui("data", "import", outdoor, "-d", "d")
    assert result.code == 1
    assert (
        result.err == "kdtui: the disk is full; nothing of this command was kept, so free some space and run it again\n"
    )
    assert db.execute("SELECT count(*) FROM datasets").fetchone() == (0,)


def test_readers_continue_during_an_import(db: Database, database_of_the_test: Path, outdoor: Path) -> None:
    events = import_dataset(db, outdoor, "d")
    next(events)
    other = open_database(database_of_the_test)
    assert other.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
    list(events)
    assert other.execute("SELECT count(*) FROM sessions").fetchone() == (36,)
    other.close()


def test_deleting_a_dataset_deletes_all_its_rows(db: Database, outdoor: Path, kdtui: Kdtui) -> None:
    list(import_dataset(db, outdoor, "d"))
    assert kdtui("data", "rm", "d", "--yes").code == 0
    for table in ("items", "sessions", "session_items", "bundles", "bundle_items", "items_fts"):
        assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    assert kdtui("data", "rm", "d", "--yes").code == 1


def test_many_processes_can_create_the_same_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "kdtui.db"
    code = f"from pathlib import Path; from store.database import open_database; open_database(Path({str(path)!r}))"
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(5)]
    assert [process.communicate()[1] for process in processes] == [""] * 5
    assert open_database(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_opening_a_store_does_not_import_numpy_or_pandas_but_others_can(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from store.database import open_database\n"
        f"open_database(Path({str(tmp_path / 'a.db')!r}))\n"
        "print([name for name in ('numpy', 'pandas') if name in sys.modules])\n"
        "import numpy, pandas; print(numpy.int64(pandas.Series([1, 2]).sum()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n3\n"


def test_a_migrated_store_keeps_its_trainings(db: Database, database_of_the_test: Path) -> None:
    db.execute(
        "INSERT INTO jobs (name, folder, settings, created_at) VALUES ('old', '/x', '{\"datasets\":[\"a\"]}', '2026')"
    )
    db.conn.commit()
    job = get_job(open_database(database_of_the_test), "old")
    assert (job.host, job.key, job.evaluate) == (None, "job-1", False)


def test_knowledge_from_before_imports_were_recorded_belongs_to_its_dataset(tmp_path: Path, outdoor: Path) -> None:
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
