"""Looking for a text in a log of any size: slice by slice, so that who looks can do something else meanwhile."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

_SLICE = 1 << 25
"""Bytes that are looked through at a time."""


@dataclass(frozen=True, slots=True)
class Search:
    """A text that is looked for all through a log, once around.

    Attributes:
        text: its capital letters count only where it has some.
        start: offset of the first place that may be it; or behind the last, if it goes backwards.
        backwards: whether the nearest place before is wanted, not the nearest behind.
        looked: bytes that have been looked through.
    """

    text: str
    start: int
    backwards: bool = False
    looked: int = 0


def look_further(log: Path, search: Search) -> int | Search | None:
    """Look through a slice: the offset of the text, or how to go on; None where it is nowhere.

    Raises:
        OSError: the log cannot be read.
    """
    wanted = search.text.encode()
    pattern = re.compile(re.escape(wanted), re.IGNORECASE if search.text == search.text.lower() else 0)
    with log.open("rb") as file:
        size = file.seek(0, 2)
        low, high = _next_slice(search, size)
        file.seek(low)
        # What begins in the slice may end behind it.
        data = file.read(high - low + len(wanted) - 1)
    found = [match.start() for match in pattern.finditer(data)] if search.text else []
    if found:
        return low + (_last(pattern, data, found[-1]) if search.backwards else found[0])
    further = replace(search, looked=search.looked + high - low)
    return further if further.looked < size else None


def _last(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    """The last place, from one that is known on: places may overlap, and those that are found one after the other do
    not."""
    while (further := pattern.search(data, at + 1)) is not None:
        at = further.start()
    return at


def _next_slice(search: Search, size: int) -> tuple[int, int]:
    """From the start to one end, and then from the other end to the start."""
    start = min(search.start, size)
    if search.backwards:
        is_around = search.looked >= start
        high = size - (search.looked - start) if is_around else start - search.looked
        return max(start if is_around else 0, high - _SLICE), high
    is_around = search.looked >= size - start
    low = search.looked - (size - start) if is_around else start + search.looked
    return low, min(start if is_around else size, low + _SLICE)
