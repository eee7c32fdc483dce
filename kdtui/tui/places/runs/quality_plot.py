"""A plot of quality against cost. Its marks are the numbers of runs, as in the table next to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdtui.text import one_line
from kdtui.tui.widgets.tick_plot import TickPlot


@dataclass(frozen=True, slots=True)
class RunPoint:
    """A run: its number, its cost, and its quality in 0..1."""

    number: int
    cost: float
    quality: float


class QualityPlot(TickPlot):
    """Runs as their numbers, the selected one in brackets, and a line for the best floor."""

    LINES_AROUND = TickPlot.LINES_AROUND + 1
    """Including the label of the axis."""

    _content: object = None
    """The plotted content, so that the same is not drawn again."""

    def show_runs(
        self,
        points: Sequence[RunPoint],
        *,
        selected: int | None,
        floor: tuple[str, float] | None,
        title: str,
        cost: str,
    ) -> None:
        """Plot runs.

        Args:
            selected: number of the run that stands out.
            floor: the name of the best floor, and its quality.
            cost: the name of the cost, for the axis.
        """
        content = points, selected, floor, title, cost
        if content == self._content:
            return
        self._content = content
        plot = self.plt
        self.clear()
        plot.title(one_line(title, 200))
        if not points:
            plot.xlabel(f"no run has a score and {one_line(cost)} yet")
            self.refresh()
            return
        heights = [point.quality for point in points] + ([floor[1]] if floor else [])
        lowest, highest = min(heights), max(heights)
        room = max(0.02, (highest - lowest) * 0.15)
        self.show_heights(max(0.0, lowest - room), min(1.0, highest + room))
        # The axis begins at zero, so that distances compare costs. Marks at an edge would be cut.
        right = max(point.cost for point in points) or 1.0
        plot.xlim(-right * 0.05, right * 1.1)
        ticks = [right * quarter / 4 for quarter in range(5)]
        plot.xticks(ticks, [f"{tick:,.0f}" if right >= 20 else f"{tick:.2f}" for tick in ticks])
        plot.xlabel(one_line(f"{cost}" + (f" · line: {floor[0]} {floor[1]:.3f}" if floor else "")))
        # The axes appear only if something is drawn.
        plot.scatter([point.cost for point in points], [point.quality for point in points], marker="·", color="default")
        if floor is not None:
            plot.hline(floor[1], color="default")
        # The selected run is drawn last, so that nothing hides it.
        for point in sorted(points, key=lambda each: (each.number == selected, each.number)):
            mark = f"[{point.number}]" if point.number == selected else str(point.number)
            plot.text(
                mark, point.cost, point.quality, alignment="center", color="default", background="default", style="bold"
            )
        self.refresh()
