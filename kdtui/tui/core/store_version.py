"""A value that changes when any process writes to the store."""

from pathlib import Path


def store_version(database: Path) -> tuple[object, ...]:
    """Return sizes and modification times of the store and its log."""
    version: list[object] = []
    for path in (database, Path(f"{database}-wal")):
        try:
            status = path.stat()
        except OSError:
            continue
        # Readers create and remove an empty log.
        if status.st_size:
            version += [status.st_size, status.st_mtime_ns]
    return tuple(version)
