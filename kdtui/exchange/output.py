"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from kdtui.errors import BadFile


def write_whole(path: Path, lines: Iterable[bytes]) -> int:
    """Write lines to a file, which is replaced only when all are written, and return their number.

    A link is followed; into what is no file, such as a pipe, the lines go as they come.

    Raises:
        BadFile: the file cannot be written; one that was there is as it was.
        OSError: a pipe or device refuses the lines.
    """
    target = path.resolve()
    if target.is_dir():
        raise BadFile(path, "this is a folder; name a file in it")
    if target.exists() and not target.is_file():
        with target.open("wb") as stream:
            return _write(stream.fileno(), lines)
    part: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        part = Path(name)
        try:
            count = _write(descriptor, lines)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        # Temporary files are for their owner alone; this one is to be as any other.
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)
        part.replace(target)
        part = None
    except OSError as error:
        raise BadFile(path, f"{error.strerror}; nothing was written") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return count


def _write(descriptor: int, lines: Iterable[bytes]) -> int:
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        return sum(1 for line in lines if file.write(line))
