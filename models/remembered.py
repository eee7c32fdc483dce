"""What takes long to compute of a file, remembered until the file changes."""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path


def remembered(path: Path, compute: Callable[[Path], str], cache: Path | None) -> str:
    """What `compute` says of a file, computed again when its size or its time of change is another.

    Args:
        cache: a folder for what one such function has computed; None to compute it each time.
    """
    if cache is None:
        return compute(path)
    try:
        known = path.stat()
        key = sha256(f"{path.resolve()} {known.st_size} {known.st_mtime_ns}".encode()).hexdigest()
        place = cache / key
        if place.is_file():
            return place.read_text(encoding="ascii")
        found = compute(path)
        cache.mkdir(parents=True, exist_ok=True)
        part = cache / f"{key}.{os.getpid()}.part"
        part.write_text(found, encoding="ascii")
        part.replace(place)
    except OSError:
        # A cache that cannot be used costs time, and nothing else.
        return compute(path)
    return found
