"""The marked rows of a table."""

from collections.abc import Sequence


class Marks:
    """The numbers of the marked rows. Tables test keys of rows, which are the numbers as text."""

    def __init__(self) -> None:
        self._numbers: set[int] = set()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and int(key) in self._numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def toggle(self, number: int) -> None:
        """Mark or unmark a row."""
        self._numbers ^= {number}

    def add(self, numbers: Sequence[int]) -> None:
        """Mark rows."""
        self._numbers.update(numbers)

    def clear(self) -> None:
        """Remove all marks."""
        self._numbers = set()

    @property
    def numbers(self) -> list[int]:
        """The numbers in ascending order."""
        return sorted(self._numbers)
