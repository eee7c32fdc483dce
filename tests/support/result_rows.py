"""Rows of results as `kdtui evaluate --json` prints them."""

from collections.abc import Iterable
from typing import Any

_OF_A_RUN = frozenset(
    {
        "intent_floors",
        "seconds",
        "prompt_tokens",
        "completion_tokens",
        "joules",
        "meters",
        "peak_memory_bytes",
        "money",
    }
)


def scores_alone(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows without the fields that floors lack: the costs of a session, and other names for the bundles."""
    return [{name: value for name, value in row.items() if name not in _OF_A_RUN} for row in rows]
