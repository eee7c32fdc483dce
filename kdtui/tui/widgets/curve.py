"""Values over the steps of a training, drawn with characters: no colour is needed to read them."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdtui.tui.widgets.tick_plot import TickPlot

_TICKS = 4
"""Numbers below a plot."""


@dataclass(frozen=True, slots=True)
class Points:
    """Values at steps: joined by a line, or each with its mark."""

    steps: Sequence[float]
    values: Sequence[float]
    mark: str = ""


class Curve(TickPlot):
    """A plot; what it shows stands above it."""

    _drawn: tuple[str, list[Points]] | None = None

    def show(self, title: str, series: Sequence[Points]) -> None:
        """Draw these values and no others; nothing is drawn where there are none."""
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
            # One value alone stands in the middle.
            self.show_heights(*((lowest, highest) if lowest < highest else (0, 2 * highest or 1)))
            self.plt.xticks([float(tick) for tick in ticks], [f"{tick:,}" for tick in ticks])
        self.refresh()
