"""A process that opens the store repeatedly keeps its locks: no change is lost when another process exits."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from store.database import open_database
from store.errors import StoreError
from store.location import database_exists
from store.sqlite import Database

_COME_AND_GO = """
import sys
from pathlib import Path
from store.database import open_database
open_database(Path(sys.argv[1])).close()
"""

_STEP = """
INSERT INTO study_steps (key, kind, settings, basis, state, made, begun_at) VALUES ('k', '', '', '', 'begun', '', '')
"""


def open_and_exit(path: Path) -> None:
    """Let another process open the store, read and exit."""
    subprocess.run([sys.executable, "-c", _COME_AND_GO, str(path)], check=True, capture_output=True)


def asks_again(path: Path) -> None:
    open_database(path, make=False).close()


@pytest.mark.parametrize("look", [database_exists, asks_again])
def test_an_exiting_process_does_not_delete_the_log_of_another(db: Database, look: Callable[[Path], object]) -> None:
    assert db.path is not None
    db.execute("SELECT count(*) FROM datasets").fetchone()
    look(db.path)
    open_and_exit(db.path)
    with db.atomic():
        db.execute(_STEP)
    other = open_database(db.path)
    assert other.execute("SELECT count(*) FROM study_steps").fetchone()[0] == 1
    other.close()
    assert db.path.with_name(f"{db.path.name}-wal").exists()


def test_an_exiting_process_does_not_delete_the_log_of_the_creator(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    made = open_database(path)
    assert database_exists(path)
    open_and_exit(path)
    with made.atomic():
        made.execute(_STEP)
    open_and_exit(path)
    other = open_database(path)
    assert other.execute("SELECT count(*) FROM study_steps").fetchone()[0] == 1
    other.close()
    made.close()


def test_a_closed_file_is_checked_again(tmp_path: Path) -> None:
    path = tmp_path / "once.db"
    open_database(path).close()
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(StoreError, match="not an SQLite database"):
        database_exists(path)
