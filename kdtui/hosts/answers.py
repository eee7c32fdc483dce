"""What a host says is read with limits and checks: anybody can run a host, and it can say anything."""

import json
import re
from math import isfinite
from typing import Any

from kdtui.errors import KdtuiError
from kdtui.text import one_line
from models.files.json_files import is_deep

MOST_ANSWER = 1 << 24
"""Bytes of an answer: more than thousands of trainings need. Python needs up to thirty times as many to read it."""

_MOST_LINE = 1 << 20
"""Bytes of a line that arrives before other data or other lines."""

_MOST_NUMBER = 1 << 63
"""From here on, integers fit into neither the database nor the formats that kdtui writes."""

_LONGEST = 1000
"""Characters of a host's sentence that are shown."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_COUNT = re.compile(rb"\s*(\d{1,18})\s*")


class Malformed(ValueError):
    """A host says something that no host of kdtui says; the message is the end of a sentence about it."""


def host_error(name: str, words: str) -> KdtuiError:
    """Return the error of a host, with its words on one line that is safe for a terminal."""
    return KdtuiError(f"host {name}: {one_line(words, _LONGEST)}")


def read_host_answer(line: bytes) -> dict[str, Any]:
    """Read the JSON object on a line.

    A number that is too large for the database is None. What is no character is a question mark.

    Raises:
        Malformed: it is too long, is no object, or is nested too deeply.
    """
    if len(line) > MOST_ANSWER:
        raise Malformed("its answer is too long")
    try:
        content = json.loads(line.decode("utf-8"), parse_int=_integer, parse_float=_number, parse_constant=_number)
    except (ValueError, RecursionError):
        raise Malformed("its answer is not JSON") from None
    if not isinstance(content, dict) or is_deep(content):
        raise Malformed("its answer is not a JSON object of a few levels")
    if _SURROGATE.search(line):
        content = json.loads(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
    plain: dict[str, Any] = content
    return plain


def read_count(text: bytes) -> int:
    """Read a number of bytes, as `wc` prints it.

    Raises:
        Malformed: it is no such number.
    """
    if (found := _COUNT.fullmatch(text)) is None:
        raise Malformed("it does not tell the size of a file")
    return int(found[1])


class AnswerLines:
    """Divides what arrives into lines; a line that does not end is not collected forever.

    Attributes:
        incomplete: what has arrived of the next line.
    """

    def __init__(self) -> None:
        self.incomplete = bytearray()

    def take(self, chunk: bytes) -> bytes | None:
        """Add what has arrived, and return the next complete line; None if it has not arrived yet.

        Raises:
            Malformed: the line is too long.
        """
        self.incomplete += chunk
        size = self.incomplete.find(b"\n")
        if (len(self.incomplete) if size < 0 else size) > _MOST_LINE:
            raise Malformed("its answer is too long")
        if size < 0:
            return None
        line = bytes(self.incomplete[:size])
        # Deleting from the front copies nothing, however many lines there are.
        del self.incomplete[: size + 1]
        return line


def _integer(digits: str) -> int | None:
    # Python refuses numbers of thousands of digits.
    value = int(digits) if len(digits) < 20 else _MOST_NUMBER
    return value if abs(value) < _MOST_NUMBER else None


def _number(digits: str) -> float | None:
    value = float(digits)
    return value if isfinite(value) else None
