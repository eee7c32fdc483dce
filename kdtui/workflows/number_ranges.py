"""Numbers of rows as a command has them: `3,17,40-52`."""

from collections.abc import Iterable

from kdtui.errors import KdtuiError

_MOST = 10_000_000
"""Numbers of one list; a slip of the keyboard is not to fill the memory."""


def parse_numbers(text: str) -> list[int]:
    """The numbers, ascending, each once. Commas, blanks and new lines part them.

    Raises:
        KdtuiError: it is something else.
    """
    found: set[int] = set()
    for part in text.removeprefix("\ufeff").replace(",", " ").split():
        first, dash, last = part.partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise KdtuiError(f"{part!r} is no number and no range of numbers; write them as 3,17,40-52")
        low, high = int(first), int(last or first)
        if low > high or len(found) + high - low >= _MOST:
            raise KdtuiError(f"{part!r} is no range of numbers; write them as 3,17,40-52")
        found.update(range(low, high + 1))
    if not found:
        raise KdtuiError("there are no numbers in it; write them as 3,17,40-52")
    return sorted(found)


def write_numbers(numbers: Iterable[int]) -> str:
    """The same as text, as short as can be."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def _is_number(text: str) -> bool:
    # The largest that SQLite can hold has 19 digits.
    return text.isascii() and text.isdigit() and len(text) <= 18
