"""Rows that are marked, by their numbers."""

from collections.abc import Sequence


class Marks:
    """Numbers of rows. A table asks it with the keys of its rows, which are the numbers as text."""

    def __init__(self) -> None:
        self._numbers: set[int] = set()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and int(key) in self._numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def toggle(self, number: int) -> None:
        """Mark a row, or take its mark away."""
        self._numbers ^= {number}

    def add(self, numbers: Sequence[int]) -> None:
        """Mark rows."""
        self._numbers.update(numbers)

    def clear(self) -> None:
        """Take all marks away."""
        self._numbers = set()

    @property
    def numbers(self) -> list[int]:
        """The numbers, ascending."""
        return sorted(self._numbers)
