"""Upgrades of a database to the schema of this version. A copy of the file is kept before the first change."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from store.errors import StoreError, cannot_write, explain
from store.migrations import migrations
from store.sqlite import Database


def needs_upgrade(db: Database) -> bool:
    """Whether there are migrations to apply.

    Raises:
        StoreError: a newer version made the file, or it is not a store.
    """
    with closing(sqlite3.connect(":memory:")) as nothing:
        known = [migration.name for migration in migrations.pending(Database(nothing))]
    applied = [migration.name for migration in migrations.applied(db)]
    if unknown := sorted(set(applied) - set(known)):
        raise StoreError(f"made by a newer version of kdtui (it has {unknown[-1]}); upgrade kdtui to use it")
    if not applied and db.table_names():
        # Check again: another process may have created the tables between the two queries.
        if migrations.applied(db):
            return needs_upgrade(db)
        raise StoreError("this is another program's database; choose another file with --db")
    return len(applied) < len(known)


def upgrade(db: Database) -> Path | None:
    """Apply all pending migrations, or none. Return the copy of the file as it was; None for a new file.

    Raises:
        StoreError: the file cannot be written, or not copied.
    """
    copy = None
    try:
        with db.atomic():
            # Another process may have upgraded it meanwhile.
            if needs_upgrade(db):
                if db.table_names():
                    # A file that cannot be written fails here, before it is copied.
                    db.execute("UPDATE _sqlite_migrations SET name = name WHERE false")
                    copy = _copy(db)
                migrations.apply(db)
    except sqlite3.OperationalError as error:
        if not cannot_write(error) or not db.table_names():
            raise
        raise StoreError(
            "made by an older version of kdtui, and it cannot be upgraded where it cannot be written; copy it to "
            "another folder, and name the copy with --db"
        ) from error
    return copy


def upgrade_in_words(copy: Path) -> str:
    """Say that a store was upgraded, and where the copy of it is."""
    return f"the database was upgraded to this version of kdtui; the old version is kept as {copy}"


def _copy(db: Database) -> Path:
    """Copy the file under a name with its last migration: `kdtui.db.m0013`. Nobody else writes meanwhile."""
    assert db.path is not None
    last = max(migration.name for migration in migrations.applied(db))
    copy = db.path.with_name(f"{db.path.name}.{last.partition('_')[0]}")
    part = copy.with_name(f"{copy.name}.part")
    try:
        part.unlink(missing_ok=True)
        # Private from the beginning, like the database.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        # Another connection, since this one is in a transaction.
        with closing(sqlite3.connect(db.path)) as source, closing(sqlite3.connect(part)) as target:
            source.backup(target)
        shutil.copymode(db.path, part)
        part.replace(copy)
    except (sqlite3.Error, OSError) as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        reason = explain(error) if isinstance(error, sqlite3.Error) else error.strerror
        raise StoreError(f"it cannot be copied, so it was not upgraded: {reason}") from error
    return copy
