"""The table of runs and floors with its filter, its order and the plot next to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal
from textual.timer import Timer
from textual.widgets import Input, Label, Static

from kdtui.text import one_line
from kdtui.tui.actions import ACTIONS, bindings
from kdtui.tui.core.commands import command_line
from kdtui.tui.core.screen import StoreScreen
from kdtui.tui.places.runs.evaluation import EvaluationActivity
from kdtui.tui.places.runs.rows import (
    COLUMNS,
    SORTS,
    Entry,
    entry_row,
    is_largest_first,
    matches,
    sort_entries,
)
from kdtui.tui.places.runs.run_list import KnownRuns
from kdtui.tui.places.runs.run_plot import PLOTS, RunPlot
from kdtui.tui.widgets.footer import Footer
from kdtui.tui.widgets.row_table import RowTable
from kdtui.tui.widgets.rows import Row
from kdtui.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from store.runs import Run

_REDRAW = 0.2
"""Seconds between two updates of the table while numbers come in."""

_ACTIONS = tuple(action.name for action in ACTIONS if action.scope == "runs")
"""Actions whose availability the footer shows."""


class RunListScreen(StoreScreen[None]):
    """All runs and floors as one table, and a plot of quality against cost.

    Attributes:
        known: the runs, and the numbers computed so far.
        entries: the rows in the table by key, in order.
        marks: keys of the marked runs.
        evaluation: the running evaluation; None if there is none.
        problem: why the runs could not be loaded; empty if they could.
        plotted: the measure that quality is plotted against, from `PLOTS`.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("runs", "screen", "search")
    AUTO_FOCUS = "#runs"

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self.known = KnownRuns()
        self.entries: dict[str, Entry] = {}
        self.marks: list[str] = []
        self.evaluation: EvaluationActivity | None = None
        self.problem = ""
        self.plotted = ""
        self._rows: dict[str, tuple[Entry, Row]] = {}
        self._redraw: Timer | None = None
        self._replot: Timer | None = None
        self._available: dict[str, bool] = {}
        self._sort_by, self._descending = "number", True
        self._with_floors = True

    def compose(self) -> ComposeResult:
        yield TopBar("runs")
        with Horizontal(id="find"):
            yield Label("Filter")
            yield Input(placeholder="words of names, datasets, splits, tags, notes", id="filter", compact=True)
        with Container(id="halves"):
            yield RowTable(COLUMNS, id="runs")
            yield RunPlot(id="plot")
        yield Static(id="notice", markup=False)
        yield Static(id="command", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Restore the last order, filter and plot."""
        memory = self.remembered("runs")
        if memory.get("sort") in SORTS:
            self._sort_by, self._descending = memory["sort"], memory.get("descending") is not False
        self._with_floors = memory.get("floors") is not False
        if memory.get("plot") in tuple(PLOTS):
            self.plotted = memory["plot"]
        if isinstance(text := memory.get("filter"), str):
            self.query_one("#filter", Input).value = text[:200]
        self._show_filter()
        self.show_content(self.query_one("#halves"), unless="Looking for runs…", focus=self.query_one(RowTable))
        if self.plotted:
            self.call_after_refresh(self.show_plot)

    def command_for_selection(self) -> str:
        """Return the shell command that does the same as the marks or the selected row."""
        raise NotImplementedError

    # The table

    @property
    def is_redrawing(self) -> bool:
        """Whether the table or the plot waits for its next update."""
        return self._redraw is not None or self._replot is not None

    def show_soon(self) -> None:
        """Update the table within a moment, once for all changes until then."""
        if self._redraw is None:
            self._redraw = self.set_timer(_REDRAW, self.show)

    def show(self) -> None:
        """Show the rows that match the filter, in order."""
        if self._redraw is not None:
            self._redraw.stop()
            self._redraw = None
        resume = self.kdtui.key_of("runs.resume")
        entries = self.known.entries(self.evaluation, with_floors=self._with_floors, resume_key=resume)
        text = self.query_one("#filter", Input).value
        shown = [entry for entry in entries if matches(entry, text)]
        shown = sort_entries(shown, self._sort_by, descending=self._descending)
        self.entries = {entry.key: entry for entry in shown}
        table = self.query_one(RowTable)
        table.show_rows(map(self._row, shown), keep=True)
        table.show_sorted(self._sort_by, descending=self._descending)
        table.show_marks(self.marks)
        notice = self._notice(text, has_runs=bool(entries))
        self.show_content(self.query_one("#halves"), unless=notice, focus=table)
        self.show_selection()

    def _row(self, entry: Entry) -> Row:
        """Return the row of an entry, which is made once."""
        cached = self._rows.get(entry.key)
        if cached is None or cached[0] is not entry:
            cached = self._rows[entry.key] = entry, entry_row(entry)
        return cached[1]

    def _notice(self, text: str, *, has_runs: bool) -> str:
        """Return the sentence to show in place of an empty table; empty if there are rows."""
        if self.entries:
            return ""
        if has_runs:
            key = self.kdtui.key_of("runs.clear_search")
            return f"No run matches “{one_line(text, 60)}”.\n\n{key} shows all runs again."
        if self.problem:
            return one_line(self.problem)
        listing = self.known.listing
        if not listing.datasets:
            return self.first_steps(listing.named_database)
        [dataset, *_] = self.datasets_to_begin_with(listing.datasets)
        options = {"--dataset": dataset, "--limit": "20"}
        command = command_line(("evaluate",), options=options, database=listing.named_database)
        return (
            f"No student has been evaluated yet. Press {self.kdtui.key_of('runs.new')} to evaluate one, or in a "
            "shell:\n\n"
            f"    {one_line(command)}\n\n{self.look_again()}"
        )

    @property
    def datasets_under_cursor(self) -> Sequence[str]:
        """The dataset of the selected run or floor."""
        entry = self.selected
        return () if entry is None else (entry.selection.dataset,)

    @property
    def selected(self) -> Entry | None:
        """The entry under the cursor."""
        return self.entries.get(self.query_one(RowTable).cursor_key or "")

    @on(RowTable.RowHighlighted, "#runs")
    def show_selection(self) -> None:
        """Show the command for the selected row, and the plot that it belongs to."""
        self.show_command(self.command_for_selection())
        # Refreshing remakes the footer, so do it only when something changes.
        available = {action: self.why_not(action) is None for action in _ACTIONS}
        if available != self._available:
            self._available = available
            self.refresh_bindings()
        if self.plotted and self._replot is None:
            # A plot is slow to draw, and the cursor may be moving.
            self._replot = self.set_timer(_REDRAW, self._draw_plot)

    # Marks

    def action_mark(self) -> None:
        """Mark or unmark the selected run; a third mark replaces the first."""
        entry = self.selected
        if entry is None:
            return
        if entry.key in self.marks:
            self.marks.remove(entry.key)
        else:
            self.marks = [*self.marks[-1:], entry.key]
        table = self.query_one(RowTable)
        table.show_marks(self.marks)
        table.action_down()
        self.show_selection()

    @property
    def pair(self) -> "tuple[Run, Run] | None":
        """The two runs to compare: the marked ones, or the marked one and the selected one."""
        runs = {f"run {summary.run.id}": summary.run for summary in self.known.listing.summaries}
        entry = self.selected
        keys = [*self.marks, *([entry.key] if entry is not None and len(self.marks) == 1 else [])]
        if len(keys) != 2 or keys[0] == keys[1] or not all(key in runs for key in keys):
            return None
        return runs[keys[0]], runs[keys[1]]

    # Sorting, filtering, floors

    @on(RowTable.SortWanted, "#runs")
    def sort_by_title(self, event: RowTable.SortWanted) -> None:
        """Sort by the clicked column, or reverse the order if it is the sorted one."""
        descending = not self._descending if event.sort == self._sort_by else is_largest_first(event.sort)
        self._sort(event.sort, descending=descending)

    def action_sort(self) -> None:
        """Sort by the next visible column."""
        sorts = self.query_one(RowTable).sorts
        by = sorts[(sorts.index(self._sort_by) + 1) % len(sorts)] if self._sort_by in sorts else sorts[0]
        self._sort(by, descending=is_largest_first(by))

    def action_reverse(self) -> None:
        self._sort(self._sort_by, descending=not self._descending)

    def _sort(self, by: str, *, descending: bool) -> None:
        self._sort_by, self._descending = by, descending
        self.remembered("runs").update(sort=by, descending=descending)
        self.show()

    def action_search(self) -> None:
        """Go to the filter."""
        self.query_one("#find").display = True
        self.set_focus(self.query_one("#filter", Input))

    @on(Input.Changed, "#filter")
    def filter_while_typing(self, event: Input.Changed) -> None:
        """Filter the table as the user types."""
        self.remembered("runs")["filter"] = event.value
        self.show_soon()

    def action_leave_search(self) -> None:
        """Go from the filter to the list; clear a filter that matches nothing."""
        if not self.entries and self._redraw is None:
            self.action_clear_search()
        self._go_to_list()

    @on(Input.Submitted, "#filter")
    def _go_to_list(self) -> None:
        # A notice in place of the table takes no focus.
        self.set_focus(self.query_one(RowTable) if self.query_one("#halves").display else None)
        self._show_filter()

    def action_clear_search(self) -> None:
        """Clear the filter."""
        self.query_one("#filter", Input).value = ""
        self._show_filter()

    def _show_filter(self) -> None:
        """Show the filter if it is not empty."""
        self.query_one("#find").display = bool(self.query_one("#filter", Input).value)

    def action_floors(self) -> None:
        """Show or hide the floors."""
        self._with_floors = not self._with_floors
        self.remembered("runs")["floors"] = self._with_floors
        self.show()

    # The plot

    def action_plot(self) -> None:
        """Plot against the next measure."""
        plots = list(PLOTS)
        self.plotted = plots[(plots.index(self.plotted) + 1) % len(plots)]
        self.remembered("runs")["plot"] = self.plotted
        self.show_plot()

    def show_plot(self) -> None:
        """Show the plot against the current measure, or hide it."""
        self.query_one(RunPlot).plot_against(self.plotted)
        self._draw_plot()

    def _draw_plot(self) -> None:
        """Plot the runs in the table over the sessions of the selected one."""
        if self._replot is not None:
            self._replot.stop()
            self._replot = None
        entry = self.selected
        floors = self.known.floors_over(entry.selection) if entry is not None else None
        self.query_one(RunPlot).show_runs(self.entries.values(), entry, floors or [])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Give `escape` to the search action that applies."""
        is_typing = isinstance(self.focused, Input)
        if action == "leave_search":
            return is_typing
        if action == "clear_search":
            return self.is_mounted and not is_typing and bool(self.query_one("#filter", Input).value)
        return super().check_action(action, parameters)
