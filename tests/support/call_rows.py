"""The calls to teachers and judges in a store."""

from typing import Any

from store.sqlite import Database


def calls(db: Database) -> list[dict[str, Any]]:
    """Return the stored calls, the oldest first."""
    return list(db.query("SELECT * FROM calls ORDER BY id"))
