"""The plot beside the list of runs: which of them are in it, against what, and which floor they have to beat."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from textual.containers import Container

from kdtui.text import counted
from kdtui.tui.places.runs.rows import Entry
from kdtui.tui.places.runs.run_list import best_floor

if TYPE_CHECKING:
    from kdtui.workflows.runs.evaluate import ScoreRow

PLOTS = {"": "", "seconds": "seconds a session", "tokens": "tokens a prompt, about"}
"""Against what quality can be plotted; nothing at first."""

_MOST_POINTS = 60
"""Runs in a plot; more of them could not be told apart."""


class RunPlot(Container):
    """The place of a plot. What draws it takes long to import, so that is done when there is something to plot."""

    _against = ""

    def plot_against(self, cost: str) -> None:
        """Have a plot against one of `PLOTS`, or none; `show_runs` fills it."""
        from kdtui.tui.places.runs.quality_plot import QualityPlot

        self._against = cost
        self.display = bool(cost)
        if cost and not self.query(QualityPlot):
            self.mount(QualityPlot())

    def show_runs(self, entries: Iterable[Entry], chosen: Entry | None, floors: "Sequence[ScoreRow]") -> None:
        """Plot the runs over the same sessions as the chosen one: others cannot be compared with it.

        Args:
            floors: over the sessions of the chosen one.
        """
        if not self._against:
            return
        from kdtui.tui.places.runs.quality_plot import Point, QualityPlot

        plot, cost_name = self.query_one(QualityPlot), PLOTS[self._against]
        if chosen is None:
            plot.show_runs([], chosen=None, floor=None, title="pair F1", cost=cost_name)
            return
        alike = [each for each in entries if each.scored == chosen.scored]
        points = [
            Point(each.number, cost, each.f1)
            for each in alike
            if each.number is not None
            and each.f1 is not None
            and (cost := each.seconds if self._against == "seconds" else each.tokens) is not None
        ]
        best = sorted(points, key=lambda each: (each.number == chosen.number, each.quality))[-_MOST_POINTS:]
        what = "numbers are runs" if len(best) == len(points) else f"the best {counted(len(best), 'run')}, by number"
        floor, scored = best_floor(floors), chosen.scored
        about = f"{scored.dataset} {scored.split}" if scored.limit is None else f"{scored.dataset}, {scored.in_words}"
        plot.show_runs(
            best,
            chosen=chosen.number,
            floor=None if floor is None else (floor.name, floor.scores.pair_f1),
            title=f"pair F1 · {about} · {what}",
            cost=cost_name,
        )
