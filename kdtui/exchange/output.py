"""Output of a command: a file, written completely or not at all, or a stream that gets each line as it is made."""

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from kdtui.errors import BadFile
from models.files.whole_files import replacing

_STREAMS = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(rf"(?:/dev/fd|/proc/(?:self|{os.getpid()})/fd)/(\d+)")


def write_lines(path: Path, lines: Iterable[bytes]) -> int:
    """Write lines to a file, replacing it only when all are written, and return their number.

    Links are followed. If the target is not a regular file (a pipe, a device, or a file that the shell has opened, such
    as `-`, `/dev/stdout` or `/dev/fd/63`), each line is written immediately.

    Raises:
        BadFile: the file cannot be written; an existing file is unchanged.
        BrokenPipeError: the reader of a pipe has closed it.
    """
    if path.is_dir():
        raise BadFile(path, "this is a folder; name a file in it")
    descriptor = _open_already(path)
    is_replaced = descriptor is None and (path.is_file() or not path.exists())
    try:
        if descriptor is not None:
            # Earlier output comes first. Other handles share the file position, so they continue after the lines.
            sys.stdout.flush()
            with os.fdopen(os.dup(descriptor), "wb") as stream:
                return _write(stream, lines)
        if not is_replaced:
            with path.open("wb") as stream:
                return _write(stream, lines)
        with replacing(path.resolve()) as file:
            return _write(file, lines)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BadFile(path, f"{error.strerror}{'; nothing was written' if is_replaced else ''}") from error


def _open_already(path: Path) -> int | None:
    """Return the inherited descriptor that a path stands for, if any."""
    match = _DESCRIPTOR.fullmatch(str(path))
    return int(match[1]) if match else _STREAMS.get(str(path))


def _write(file: BinaryIO, lines: Iterable[bytes]) -> int:
    return sum(1 for line in lines if file.write(line))
