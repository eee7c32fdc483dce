"""Paths that somebody has typed."""

from contextlib import suppress
from pathlib import Path


def typed_path(text: str) -> Path:
    """The path that is meant, with the home folder for `~`; one of nobody's home is taken as it stands."""
    path = Path(text.strip())
    with suppress(RuntimeError):
        return path.expanduser()
    return path
