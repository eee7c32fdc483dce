"""Where a command writes what it was asked for: a file, whole or not at all, or what takes the lines as they come."""

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
    """Write lines to a file, which is replaced only when all are written, and return their number.

    A link is followed. Into what is no file, such as a pipe or a device, and into what the shell has opened (`-`,
    `/dev/stdout`, `/dev/fd/63`), the lines go as they come.

    Raises:
        BadFile: it cannot be written; a file that was there is as it was.
        BrokenPipeError: whoever reads a pipe has seen enough.
    """
    if path.is_dir():
        raise BadFile(path, "this is a folder; name a file in it")
    descriptor = _open_already(path)
    is_replaced = descriptor is None and (path.is_file() or not path.exists())
    try:
        if descriptor is not None:
            # What was written there before comes first, and what else has it open goes on behind the lines.
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
    """The descriptor that a path stands for, which this process was started with."""
    found = _DESCRIPTOR.fullmatch(str(path))
    return int(found[1]) if found else _STREAMS.get(str(path))


def _write(file: BinaryIO, lines: Iterable[bytes]) -> int:
    return sum(1 for line in lines if file.write(line))
