"""Ranges of row numbers in commands: `3,17,40-52`."""

from collections.abc import Iterable

from kdtui.errors import KdtuiError

_MOST = 10_000_000
"""Numbers of one list at most, so that a typing error cannot fill the memory."""


def parse_numbers(text: str) -> list[int]:
    """Parse numbers, separated by commas, blanks or new lines. Return them in ascending order without duplicates.

    Raises:
        KdtuiError: the text is something else.
    """
    numbers: set[int] = set()
    for part in text.removeprefix("\ufeff").replace(",", " ").split():
        first, dash, last = part.partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise KdtuiError(f"{part!r} is neither a number nor a range of numbers; write them as 3,17,40-52")
        low, high = int(first), int(last or first)
        if low > high or len(numbers) + high - low >= _MOST:
            raise KdtuiError(f"{part!r} is not a range of numbers; write them as 3,17,40-52")
        numbers.update(range(low, high + 1))
    if not numbers:
        raise KdtuiError("there are no numbers; write them as 3,17,40-52")
    return sorted(numbers)


def write_numbers(numbers: Iterable[int]) -> str:
    """Write numbers as text, as short as possible."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def _is_number(text: str) -> bool:
    # The largest number in SQLite has 19 digits.
    return text.isascii() and text.isdigit() and len(text) <= 18
