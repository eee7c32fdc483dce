"""A plot whose numbers on the y axis are the exact values of their rows."""

from math import ceil, log10

from textual.app import RenderResult
from textual_plotext import PlotextPlot

_TICKS = 6
"""The maximum number of ticks on the y axis."""


class TickPlot(PlotextPlot):
    """A plot with a title. Values are drawn on the nearest row, so the ticks are values of rows."""

    LINES_AROUND = 4
    """Lines outside the plot area: the title, the two borders, and the ticks of the x axis."""

    _heights: tuple[float, float] | None = None

    def clear(self) -> None:
        """Remove everything that was drawn."""
        self._heights = None
        self.plt.clear_figure()

    def show_heights(self, low: float, high: float) -> None:
        """Set the values of the lowest and the highest row."""
        self._heights = low, high
        self.plt.ylim(low, high)

    def render(self) -> RenderResult:
        """Draw the plot, with ticks for its current height."""
        if self._heights is not None:
            ticks = row_ticks(*self._heights, self.size.height - self.LINES_AROUND)
            self.plt.yticks(list(ticks), list(ticks.values()))
        return super().render()


def row_ticks(low: float, high: float, rows: int) -> dict[float, str]:
    """Return the values of some rows and their labels, from the lowest on, with enough digits to tell rows apart.

    Args:
        low: the value of the lowest row.
        high: the value of the highest row.
    """
    if rows < 2 or high <= low:
        return {}
    step = (high - low) / (rows - 1)
    digits = max(0, ceil(-log10(step)))
    every = max(2, ceil(rows / _TICKS))
    return {low + step * row: f"{low + step * row:,.{digits}f}" for row in range(0, rows, every)}
