"""A plot whose numbers beside its height stand on the rows that they name."""

from math import ceil, log10

from textual.app import RenderResult
from textual_plotext import PlotextPlot

_TICKS = 6
"""Numbers beside a plot at most."""


class TickPlot(PlotextPlot):
    """A plot with a title. Values between two rows are drawn on the nearest one, so only values of rows are named."""

    LINES_AROUND = 4
    """Lines that are no rows of it: the title, the two borders, and the numbers below."""

    _heights: tuple[float, float] | None = None

    def clear(self) -> None:
        """Draw nothing of what was drawn."""
        self._heights = None
        self.plt.clear_figure()

    def show_heights(self, low: float, high: float) -> None:
        """Have the lowest row stand for one value, and the highest for another."""
        self._heights = low, high
        self.plt.ylim(low, high)

    def render(self) -> RenderResult:
        """The plot, with the rows that it has now."""
        if self._heights is not None:
            ticks = row_ticks(*self._heights, self.size.height - self.LINES_AROUND)
            self.plt.yticks(list(ticks), list(ticks.values()))
        return super().render()


def row_ticks(low: float, high: float, rows: int) -> dict[float, str]:
    """The values of some rows, from the lowest on, each as it is written: with as many digits as tell rows apart.

    Args:
        low, high: the values of the lowest row and of the highest.
    """
    if rows < 2 or high <= low:
        return {}
    step = (high - low) / (rows - 1)
    digits = max(0, ceil(-log10(step)))
    every = max(2, ceil(rows / _TICKS))
    return {low + step * row: f"{low + step * row:,.{digits}f}" for row in range(0, rows, every)}
