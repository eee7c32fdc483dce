"""What a store contains, compared between runs: whether it is whole, and whether rows are lost or doubled."""

import json
import re
import shutil
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

Contents = Mapping[str, "Counter[tuple[Any, ...]]"]
"""The rows of each table, without what differs between two runs of the same command."""

_NAMES = {
    "dataset_id": "SELECT id, name FROM datasets",
    "session_id": "SELECT sessions.id, datasets.name || ' ' || session FROM sessions "
    "JOIN datasets ON datasets.id = dataset_id",
    "item_id": "SELECT items.id, datasets.name || ' ' || item FROM items JOIN datasets ON datasets.id = dataset_id",
    "bundle_id": "SELECT bundles.id, session || ' ' || coalesce(intent, '') FROM bundles "
    "JOIN sessions ON sessions.id = session_id",
    "run_id": "SELECT id, student || ' ' || split || ' ' || settings FROM runs",
    "knowledge_id": "SELECT id, format || ' ' || teacher || ' ' || statement FROM knowledge",
    "parent_id": "SELECT id, format || ' ' || teacher || ' ' || statement FROM knowledge",
    "sample_id": "SELECT id, name FROM samples",
    "call_id": "SELECT id, key FROM calls",
    "encoder_id": "SELECT id, sha256 FROM encoders",
    "host_id": "SELECT id, name FROM hosts",
    "import_id": "SELECT id, file FROM knowledge_imports",
}
"""Names for the numbers by which rows refer to others. Numbers can differ after a repeated command."""

_FINISHED = {"study_steps": "state = 'done'"}
"""Which rows of a table count: those that no later work changes."""

_BY_TABLE = {"jobs": {"key", "status"}}
"""Columns of a table that differ, too."""

_MEASURED = {"id", "seconds", "seconds_per_session", "begun_at", "ended_at", "attempts", "made"}
"""Columns that differ between two runs of the same command: numbers of rows, times and attempts."""

VERSION = "_sqlite_migrations"
"""The table of the changes of the schema."""

_CACHES = {"encoders", "floors", "pattern_students", "run_scores", "text_vectors"}
"""Tables of what is computed again where it is missing. A command that cannot write them does its work all the same.
Encoders are the models of text vectors."""

_LEFT_OUT = ("sqlite_", "run_stretches", "training_paces", "knowledge_search", "run_measures")
"""Tables of SQLite, of searches, and of times. Measures of runs contain times; their scores are compared."""


@contextmanager
def _copy_of(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open a copy of a store with its logs; None if there is no file yet.

    Opening the store itself would recover it, so that the program would not have to.
    """
    with TemporaryDirectory() as folder:
        for file in path.parent.glob(f"{path.name}*"):
            if file.is_file():
                shutil.copy(file, folder)
        copy = Path(folder) / path.name
        if not copy.exists():
            yield None
            return
        with closing(sqlite3.connect(copy)) as connection:
            yield connection


def contents(path: Path) -> Contents:
    """Return the contents of a store; nothing if there is no file yet."""
    with _copy_of(path) as connection:
        if connection is None:
            return {}
        connection.row_factory = sqlite3.Row
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            if not name.startswith(_LEFT_OUT) and "_fts" not in name
        ]
        # A store of an older version has no tables of newer ones.
        names = {
            column: dict(map(tuple, connection.execute(query)))
            for column, query in _NAMES.items()
            if set(re.findall(r"(?:FROM|JOIN) (\w+)", query)) <= set(tables)
        }
        return {
            table: Counter(
                _row(row, names, _MEASURED | _BY_TABLE.get(table, set()))
                for row in connection.execute(f'SELECT * FROM "{table}" WHERE {_FINISHED.get(table, "true")}')
            )
            for table in tables
        }


def _row(row: sqlite3.Row, names: Mapping[str, Mapping[int, str]], left_out: Set[str]) -> tuple[Any, ...]:
    return tuple(
        names[column].get(row[column], row[column]) if column in names else row[column]
        for column in row.keys()  # noqa: SIM118
        if column not in left_out and not column.endswith("_at")
    )


def pieces(path: Path) -> Contents:
    """Return the knowledge in a store, without where it came from: a question can depend on what was known before."""
    with _copy_of(path) as connection:
        if connection is None:
            return {}
        query = "SELECT format, teacher, statement, status, reason, support FROM knowledge"
        return {"knowledge": Counter(map(tuple, connection.execute(query)))}


def answers(path: Path) -> set[tuple[Any, ...]]:
    """Return the bundles with which students answered the sessions in a store."""
    with _copy_of(path) as connection:
        if connection is None:
            return set()
        query = "SELECT session_id, bundles FROM predictions WHERE bundles IS NOT NULL"
        return set(connection.execute(query))


def work_done(path: Path) -> set[tuple[Any, ...]]:
    """Return the answers and calls in a store with the time that each took, which differs if it is repeated."""
    with _copy_of(path) as connection:
        if connection is None:
            return set()
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        queries = {
            "predictions": "SELECT run_id, session_id, seconds FROM predictions",
            "calls": "SELECT key, seconds, attempts FROM calls WHERE status = 'answered'",
        }
        return {(table, *row) for table in queries.keys() & tables for row in connection.execute(queries[table])}


def questions_answered(path: Path, asked: Iterable[str]) -> set[str]:
    """Return the questions whose answers are stored, as `MoodyServer` names them.

    Args:
        asked: all questions that were asked.
    """
    with _copy_of(path) as connection:
        if connection is None:
            return set()
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'calls'").fetchone():
            return set()
        requests = connection.execute("SELECT request FROM calls WHERE status = 'answered'").fetchall()
        titles: dict[int, set[str]] = defaultdict(set)
        is_answered = {}
        for session, title, bundles in connection.execute(
            "SELECT sessions.id, items.title, predictions.bundles FROM session_items "
            "JOIN sessions ON sessions.id = session_items.session_id JOIN items ON items.id = session_items.item_id "
            "LEFT JOIN predictions ON predictions.session_id = sessions.id"
        ):
            titles[session].add(json.dumps(title or "")[1:-1])
            is_answered[session] = bundles is not None
    of_calls = {
        json.dumps([{"role": role, "content": content} for role, content in json.loads(request)["messages"]])
        for (request,) in requests
    }
    # Students ask about all products of a session, and store the answer as a prediction.
    sessions = {question: _session_of(question, titles) for question in asked if question not in of_calls}
    return of_calls | {question for question, session in sessions.items() if is_answered.get(session, False)}


def _session_of(question: str, titles: Mapping[int, Set[str]]) -> int:
    """Return the largest session whose products a question names, or 0."""
    named = [session for session, its in titles.items() if all(title in question for title in its)]
    return max(named, key=lambda session: len(titles[session]), default=0)


def damage(path: Path) -> list[str]:
    """Return what SQLite finds wrong with a store, and with the indexes of its searches."""
    with _copy_of(path) as connection:
        if connection is None:
            return []
        try:
            found = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
            references = connection.execute("PRAGMA foreign_key_check").fetchall()
            searches = connection.execute(
                "SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL TABLE%USING fts5%'"
            ).fetchall()
            for (name,) in searches:
                # Older versions of SQLite do not look into them otherwise.
                connection.execute(f'INSERT INTO "{name}" ("{name}", rank) VALUES (\'integrity-check\', 1)')
        except sqlite3.DatabaseError as error:
            return [str(error)]
    return [*found, *(f"a row of {row[0]} refers to no row of {row[2]}" for row in references)]


def lost(before: Contents, after: Contents) -> list[str]:
    """Return which rows are missing afterwards, a table a sentence.

    An upgrade of the schema changes all rows, and rows of caches may be missing.
    """
    if before.get(VERSION) != after.get(VERSION):
        before = {}
    missing = {table: rows - after.get(table, Counter()) for table, rows in before.items() if table not in _CACHES}
    return [f"{rows.total()} rows of {table} are lost: {next(iter(rows))!r}" for table, rows in missing.items() if rows]


def differences(found: Contents, expected: Contents) -> list[str]:
    """Return how the contents differ from those of an undisturbed run."""
    more = {table: rows - expected.get(table, Counter()) for table, rows in found.items()}
    return [
        *lost(expected, found),
        *(f"{rows.total()} rows of {table} are too many: {next(iter(rows))!r}" for table, rows in more.items() if rows),
    ]
