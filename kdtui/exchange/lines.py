"""Reading of lines with a limit on their length, from a file or a pipe."""

from collections.abc import Iterator
from typing import BinaryIO

from kdtui.errors import BadFile

LONGEST_LINE = 64_000_000
"""Bytes; a session of 100,000 products takes a third of this."""


def bounded_lines(file: BinaryIO, name: object, longest: int = LONGEST_LINE, what: str = "session") -> Iterator[bytes]:
    """Iterate over the lines of a file, one at a time.

    Args:
        what: what each line holds.

    Raises:
        BadFile: a line is longer than `longest` bytes; never more than that is in memory.
    """
    number = 0
    while line := file.readline(longest + 1):
        number += 1
        if len(line) > longest:
            problem = f"this line is longer than {longest // 1_000_000:,} MB; each line must hold one {what}"
            raise BadFile(name, problem, number)
        yield line
