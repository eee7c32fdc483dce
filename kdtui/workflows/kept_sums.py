"""The SHA-256 of the files of models and adapters: kept beside them when they are fetched or made, or computed once."""

import re
from pathlib import Path

from platformdirs import user_cache_path

from kdtui.errors import KdtuiError
from models.files.file_cache import compute_cached
from models.files.hashing import file_sha256
from models.files.whole_files import write_whole

_SUM = re.compile(r"([0-9a-f]{64})\s")


def sum_of(path: Path) -> Path:
    """Return the file that keeps the SHA-256 of a model, as `sha256sum` writes it."""
    return path.with_name(f"{path.name}.sha256")


def keep_sum(path: Path, expected: str | None = None) -> None:
    """Keep the SHA-256 of a model.

    Args:
        expected: its SHA-256 according to the hub; None if nobody says.

    Raises:
        KdtuiError: it has another one; the file is deleted.
        OSError: the file cannot be read, or the sum cannot be written.
    """
    actual = file_sha256(path)
    if expected not in (None, actual):
        path.unlink()
        raise KdtuiError(f"{path}: its SHA-256 is not the one that the hub states; fetch it again")
    write_whole(sum_of(path), f"{actual}  {path.name}\n")


def known_sum(path: Path) -> str:
    """Return the SHA-256 of a file, which is computed again only if the file has changed.

    Raises:
        OSError: the file cannot be read.
    """
    return compute_cached(path, file_sha256, user_cache_path("kdtui") / "hashes")


def has_changed(path: Path) -> bool | None:
    """Tell whether the file of a model has changed since its SHA-256 was kept; None if none was.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        kept = _SUM.match(sum_of(path).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return None if kept is None else kept[1] != file_sha256(path)
