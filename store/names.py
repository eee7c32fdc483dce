"""Names in the store, for shell completion: read quickly and without side effects.

The file is not created, migrated or written to, whatever its version.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import quote

NameKind: TypeAlias = Literal[
    "datasets",
    "sessions",
    "samples",
    "runs",
    "hosts",
    "trainings",
    "models",
    "bases",
    "adapters",
    "pieces",
    "calls",
    "studies",
    "routers",
]

MOST = 200
"""Maximum number of names."""

_PATIENCE = 0.2
"""Seconds to wait for another process that holds the file."""

_LAST = "\U0010ffff"

# The parameters: the beginning of a name, an upper bound of names with it, a dataset or NULL, and the maximum.
_NAMED = "WHERE name >= :start AND name < :behind ORDER BY name LIMIT :most"
_NUMBERED = "WHERE substr(id, 1, length(:start)) = :start ORDER BY id DESC LIMIT :most"
_QUERIES: dict[NameKind, str] = {
    "datasets": f"SELECT name FROM datasets {_NAMED}",
    "samples": f"SELECT name FROM samples {_NAMED}",
    "hosts": f"SELECT name FROM hosts {_NAMED}",
    "trainings": f"SELECT name FROM jobs {_NAMED}",
    "models": f"SELECT name FROM models {_NAMED}",
    "bases": f"SELECT name FROM (SELECT name FROM models WHERE kind = 'base') {_NAMED}",
    "adapters": """
        SELECT name FROM (
            SELECT name FROM models WHERE kind = 'adapter' UNION SELECT name FROM jobs
            UNION SELECT 'routed:' || name FROM routers
        )
        """
    + _NAMED,
    "studies": f"SELECT name FROM studies {_NAMED}",
    "routers": f"SELECT name FROM routers {_NAMED}",
    "runs": f"SELECT id FROM runs {_NUMBERED}",
    "pieces": f"SELECT id FROM knowledge {_NUMBERED}",
    "calls": f"SELECT id FROM calls {_NUMBERED}",
    "sessions": """
        SELECT DISTINCT session FROM sessions
        WHERE (:dataset IS NULL OR dataset_id = (SELECT id FROM datasets WHERE name = :dataset))
            AND session >= :start AND session < :behind ORDER BY session LIMIT :most
        """,
}


def names_with(path: Path, kind: NameKind, start: str = "", *, dataset: str | None = None) -> list[str]:
    """Return names that begin with a text, sorted; for runs, pieces and calls the numbers, newest first.

    Args:
        path: the database file; it need not exist.
        dataset: restricts sessions to this dataset; None for all.

    Raises:
        sqlite3.Error: the file is not a database, or has no such table.
    """
    if not path.is_file():
        return []
    # Without a write-ahead log no other process has the file open. A reader that is not immutable would create one.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, timeout=_PATIENCE)) as connection:
        values = {"start": start, "behind": start + _LAST, "dataset": dataset, "most": MOST}
        rows: Sequence[tuple[object]] = connection.execute(_QUERIES[kind], values).fetchall()
    return [str(name) for (name,) in rows]
