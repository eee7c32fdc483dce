"""Histograms of whole numbers, and bars to draw them with."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count as counting

_TAIL = 0.02
"""Largest share of the values in a last, open bin: otherwise a few outliers squeeze all others into one bin."""

_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class Bin:
    """A range of values, `low` to `high`, and their count; `high` is None for an open bin."""

    low: int
    high: int | None
    count: int

    @property
    def label(self) -> str:
        """The label next to its bar."""
        if self.high is None:
            return f"{self.low:,}–"
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,}–{self.high:,}"


def histogram(counts: Mapping[int, int], most: int = 10) -> list[Bin]:
    """Build at most `most` bins of equal width, a round number; include empty bins.

    Args:
        counts: number of occurrences of each value; values are not negative.
    """
    if not counts:
        return []
    first, last = min(counts), max(counts)
    whole, seen, nearly = sum(counts.values()), 0, last
    for value in sorted(counts):
        seen += counts[value]
        if seen >= (1 - _TAIL) * whole:
            nearly = value
            break
    for width in (step * 10**power for power in counting() for step in (1, 2, 5)):
        start = first - first % width
        # The last bin is reserved for outliers.
        if (last - start) // width < most:
            closed = (last - start) // width + 1
            break
        if (nearly - start) // width + 1 < most:
            closed = (nearly - start) // width + 1
            break
    bin_counts = [0] * closed
    beyond = 0
    for value, number in counts.items():
        index = (value - start) // width
        if index < closed:
            bin_counts[index] += number
        else:
            beyond += number
    bins = [Bin(start + at * width, start + (at + 1) * width - 1, number) for at, number in enumerate(bin_counts)]
    return [*bins, Bin(start + closed * width, None, beyond)] if beyond else bins


def bar(count: int, largest: int, width: int) -> str:
    """Draw a bar of block characters, proportional to the count; a count above zero is always visible."""
    eighths = round(8 * width * count / largest) if largest else 0
    if count:
        eighths = max(1, eighths)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
