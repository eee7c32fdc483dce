"""Search for a text in a log of any size, slice by slice, so that the caller can do something else in between."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

_SLICE = 1 << 25
"""Bytes of a slice."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search for a text through a whole log, once around.

    Attributes:
        text: the search is case-sensitive if it has a capital letter.
        start: offset of the first possible match; for a backward search, the end of the last one.
        backwards: whether to find the nearest match before the start instead of after it.
        looked: bytes that have been searched.
    """

    text: str
    start: int
    backwards: bool = False
    looked: int = 0


def look_further(log: Path, search: Search) -> int | Search | None:
    """Search a slice; return the offset of a match, or the search to continue with; None if there is no match.

    Raises:
        OSError: the log cannot be read.
    """
    wanted = search.text.encode()
    pattern = re.compile(re.escape(wanted), re.IGNORECASE if search.text == search.text.lower() else 0)
    with log.open("rb") as file:
        size = file.seek(0, 2)
        low, high = _next_slice(search, size)
        file.seek(low)
        # A match can begin in the slice and end after it.
        data = file.read(high - low + len(wanted) - 1)
    matches = [match.start() for match in pattern.finditer(data)] if search.text else []
    if matches:
        return low + (_last(pattern, data, matches[-1]) if search.backwards else matches[0])
    further = replace(search, looked=search.looked + high - low)
    return further if further.looked < size else None


def _last(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    """Return the offset of the last match, given one match: `finditer` skips overlapping ones."""
    while (further := pattern.search(data, at + 1)) is not None:
        at = further.start()
    return at


def _next_slice(search: Search, size: int) -> tuple[int, int]:
    """Return the bounds of the next slice: from the start to one end, then from the other end to the start."""
    start = min(search.start, size)
    if search.backwards:
        is_around = search.looked >= start
        high = size - (search.looked - start) if is_around else start - search.looked
        return max(start if is_around else 0, high - _SLICE), high
    is_around = search.looked >= size - start
    low = search.looked - (size - start) if is_around else start + search.looked
    return low, min(start if is_around else size, low + _SLICE)
