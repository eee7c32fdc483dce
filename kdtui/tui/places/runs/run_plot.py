"""The plot next to the list of runs: quality against a cost, with the best floor as a line."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from textual.containers import Container

from kdtui.text import counted
from kdtui.tui.places.runs.rows import Entry
from kdtui.tui.places.runs.run_list import best_floor

if TYPE_CHECKING:
    from kdtui.workflows.runs.evaluate import ScoreRow

PLOTS = {"": "", "seconds": "seconds a session", "tokens": "tokens a prompt, about"}
"""Measures that quality can be plotted against; none at first."""

_MOST_POINTS = 60
"""Most runs in a plot; more of them would overlap."""


class RunPlot(Container):
    """The container of the plot. The plotting library is slow to import, so it is imported for the first plot."""

    _against = ""

    def plot_against(self, cost: str) -> None:
        """Show a plot against one of `PLOTS`, or hide it; `show_runs` fills it."""
        from kdtui.tui.places.runs.quality_plot import QualityPlot

        self._against = cost
        self.display = bool(cost)
        if cost and not self.query(QualityPlot):
            self.mount(QualityPlot())

    def show_runs(self, entries: Iterable[Entry], selected: Entry | None, floors: "Sequence[ScoreRow]") -> None:
        """Plot the finished runs over the same sessions as the selected one; others are not comparable.

        Args:
            floors: over the sessions of the selected entry.
        """
        if not self._against:
            return
        from kdtui.tui.places.runs.quality_plot import QualityPlot, RunPoint

        plot, cost_name = self.query_one(QualityPlot), PLOTS[self._against]
        if selected is None:
            plot.show_runs([], selected=None, floor=None, title="pair F1", cost=cost_name)
            return
        comparable = [each for each in entries if each.selection == selected.selection]
        points = [
            RunPoint(each.summary.run.id, cost, each.f1)
            for each in comparable
            if each.summary is not None
            and each.summary.is_over
            and each.f1 is not None
            and (cost := each.seconds if self._against == "seconds" else each.tokens) is not None
        ]
        best = sorted(points, key=lambda each: (each.number == selected.number, each.quality))[-_MOST_POINTS:]
        marks = "numbers are runs" if len(best) == len(points) else f"the best {counted(len(best), 'run')}, by number"
        floor, selection = best_floor(floors), selected.selection
        how = f" {selection.split}" if selection.limit is None else f", {selection.in_words}"
        subset = f"{selection.dataset}{how}"
        plot.show_runs(
            best,
            selected=selected.number,
            floor=None if floor is None else (floor.name, floor.scores.pair_f1),
            title=f"pair F1 · {subset} · {marks}",
            cost=cost_name,
        )
