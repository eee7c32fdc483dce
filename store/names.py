"""Names of what is stored, to be offered while somebody types: read quickly, and without a trace.

The file is neither made nor migrated nor written to, whatever version it is of.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import quote

Kind: TypeAlias = Literal[
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
"""Names at most."""

_PATIENCE = 0.2
"""Seconds to wait for another process that holds the file."""

_LAST = "\U0010ffff"

# Each takes the beginning of a name, what comes behind all names with it, a dataset or nothing, and how many.
_NAMED = "WHERE name >= :start AND name < :behind ORDER BY name LIMIT :most"
_NUMBERED = "WHERE substr(id, 1, length(:start)) = :start ORDER BY id DESC LIMIT :most"
_QUERIES: dict[Kind, str] = {
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


def names_with(path: Path, kind: Kind, start: str = "", *, dataset: str | None = None) -> list[str]:
    """Some names that begin with a text, in order; of runs, pieces and calls the numbers, the newest first.

    Args:
        path: of the database, which need not be there.
        dataset: whose sessions; None for all.

    Raises:
        sqlite3.Error: the file is no database, or has no such table.
    """
    if not path.is_file():
        return []
    # Where no other process has it open there is no log beside it; to read it as if there could be one would make one.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, timeout=_PATIENCE)) as connection:
        values = {"start": start, "behind": start + _LAST, "dataset": dataset, "most": MOST}
        found: Sequence[tuple[object]] = connection.execute(_QUERIES[kind], values).fetchall()
    return [str(name) for (name,) in found]
