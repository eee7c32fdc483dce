"""Bar charts of block characters, with the numbers in front."""

from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from kdtui.bundling.histogram import bar
from kdtui.text import one_line

_LEAST = 16
"""The minimum width of a chart."""

_LABEL = 0.4
"""The maximum share of the labels in the width."""


class Bars:
    """A chart: a title, and rows of a label, a count and a bar.

    Args:
        rows: plain labels with their counts.
    """

    def __init__(self, title: str, rows: Iterable[tuple[str, int]]) -> None:
        self._title = title
        self._rows = [(one_line(label, 200), count) for label, count in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the chart over the whole width."""
        width = options.max_width
        yield Text(self._title, style="bold", no_wrap=True, overflow="ellipsis")
        if not self._rows:
            yield Text("none", style="dim")
            return
        labels = [Text(label, no_wrap=True) for label, _ in self._rows]
        numbers = [f"{count:,}" for _, count in self._rows]
        wide = min(max(label.cell_len for label in labels), max(4, int(width * _LABEL)))
        long = max(map(len, numbers))
        room = max(1, width - wide - long - 2)
        largest = max(count for _, count in self._rows)
        for label, number, (_, count) in zip(labels, numbers, self._rows, strict=True):
            label.truncate(wide, overflow="ellipsis", pad=True)
            line = Text.assemble(label, " ", (number.rjust(long), "bold"), " ", no_wrap=True, overflow="crop")
            line.append(bar(count, largest, room), style="dim")
            yield line

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Return the width that the chart can use: as much as there is."""
        return Measurement(min(_LEAST, options.max_width), options.max_width)


def side_by_side(charts: Sequence[RenderableType]) -> Table:
    """Return charts side by side, all of the same width."""
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for _ in charts:
        grid.add_column(ratio=1)
    grid.add_row(*charts)
    return grid
