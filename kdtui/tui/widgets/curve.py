"""A plot of values over the steps of a training, in characters: it is readable without colours."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdtui.tui.widgets.tick_plot import TickPlot

_TICKS = 4
"""The number of ticks on the x axis."""


@dataclass(frozen=True, slots=True)
class Points:
    """Values at steps: joined by a line, or each drawn as a mark."""

    steps: Sequence[float]
    values: Sequence[float]
    mark: str = ""


class Curve(TickPlot):
    """A plot with a title."""

    _drawn: tuple[str, list[Points]] | None = None

    def show(self, title: str, series: Sequence[Points]) -> None:
        """Draw these values; without values, hide the plot."""
        series = [each for each in series if each.values]
        self.display = bool(series)
        if self._drawn == (title, series):
            return
        self._drawn = (title, series)
        self.clear()
        if series:
            self.plt.title(title)
            for each in series:
                if each.mark:
                    self.plt.scatter(each.steps, each.values, marker=each.mark)
                else:
                    self.plt.plot(each.steps, each.values, marker="braille")
            low = min(step for each in series for step in each.steps)
            high = max(step for each in series for step in each.steps)
            ticks = sorted({round(low + (high - low) * number / (_TICKS - 1)) for number in range(_TICKS)})
            lowest = min(value for each in series for value in each.values)
            highest = max(value for each in series for value in each.values)
            # A single value is drawn in the middle.
            self.show_heights(*((lowest, highest) if lowest < highest else (0, 2 * highest or 1)))
            self.plt.xticks([float(tick) for tick in ticks], [f"{tick:,}" for tick in ticks])
        self.refresh()
