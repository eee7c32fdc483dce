"""Slow computations on files, cached until the file changes."""

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from models.files.whole_files import PRIVATE, write_whole


def compute_cached(path: Path, compute: Callable[[Path], str], cache: Path | None) -> str:
    """Return what `compute` returns for a file; compute it again if another file has taken its place.

    Such a file has another size, time or number. The modification time alone can be set, as archives do.

    Args:
        cache: a folder for the results of one such function; None to compute each time.
    """
    if cache is None:
        return compute(path)
    try:
        known = path.stat()
        times = f"{known.st_mtime_ns} {known.st_ctime_ns}"
        key = sha256(f"{path.resolve()} {known.st_size} {times} {known.st_ino}".encode()).hexdigest()
        place = cache / key
        if (value := _read(place)) is not None:
            return value
    except OSError:
        return compute(path)
    value = compute(path)
    # A cache that cannot be used only costs time.
    with suppress(OSError):
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(place, f"{_digest(value)} {value}", PRIVATE)
    return value


def _read(place: Path) -> str | None:
    """Return the content of a file of the cache; None if there is none, or it is damaged."""
    if not place.is_file():
        return None
    digest, _, value = place.read_bytes().decode("utf-8", "replace").partition(" ")
    return value if digest == _digest(value) else None


def _digest(value: str) -> str:
    return sha256(value.encode("utf-8", "replace")).hexdigest()
