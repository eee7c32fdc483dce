"""Plots: the numbers on their axes are those of their rows."""

import re
from collections.abc import Sequence

import pytest
from textual.app import App, ComposeResult

from kdtui.tui.places.runs.quality_plot import QualityPlot, RunPoint
from kdtui.tui.widgets.curve import Curve, Points
from kdtui.tui.widgets.tick_plot import TickPlot, row_ticks


def rows_of(plot: TickPlot) -> list[tuple[str, str]]:
    """Return the rows of a plot from the lowest up: the number on the axis, and the drawn text."""
    found = re.findall(r"^ *([\d.,]*) *[│┤├](.*)[│┤├]", str(plot.render()), re.MULTILINE)
    return found[::-1]


class Plotted(App[None]):
    def compose(self) -> ComposeResult:
        yield Curve()
        yield QualityPlot()


@pytest.mark.parametrize("height", [20, 24, 31])
@pytest.mark.parametrize("values", [(2.31, 1.07, 0.4), (0.6871, 0.6904), (1730.0, 12.0), (0.0, 1.0)])
async def test_each_number_on_the_axis_is_the_value_of_its_row(values: Sequence[float], height: int) -> None:
    app = Plotted()
    async with app.run_test(size=(60, height)):
        curve = app.query_one(Curve)
        curve.show("loss", [Points(range(len(values)), values, "x")])
        rows = rows_of(curve)
        low, high = min(values), max(values)
        step = (high - low) / (len(rows) - 1)
        named = {row: float(label.replace(",", "")) for row, (label, _) in enumerate(rows) if label}
        assert len(named) > 2
        assert all(abs(low + step * row - value) <= step / 2 for row, value in named.items())
        assert ["x" in rows[0][1], "x" in rows[-1][1]] == [True, True]


async def test_a_run_and_the_floor_are_on_the_row_of_their_quality() -> None:
    app = Plotted()
    async with app.run_test(size=(60, 40)):
        plot = app.query_one(QualityPlot)
        points = [RunPoint(1, 2.0, 0.61), RunPoint(2, 3.0, 0.7)]
        plot.show_runs(points, selected=2, floor=("whole session", 0.52), title="pair F1", cost="seconds")
        rows = rows_of(plot)
        named = {row: float(label) for row, (label, _) in enumerate(rows) if label}
        (row, value), (other_row, other_value) = next(iter(named.items())), list(named.items())[-1]
        step = (other_value - value) / (other_row - row)
        for mark, quality in (("1", 0.61), ("[2]", 0.7), ("───", 0.52)):
            [stands] = [at for at, (_, drawn) in enumerate(rows) if mark in drawn]
            assert abs(value + (stands - row) * step - quality) < step


def test_numbers_have_enough_digits_to_tell_rows_apart() -> None:
    assert list(row_ticks(0.5, 0.75, 6).values()) == ["0.50", "0.60", "0.70"]
    assert list(row_ticks(0, 5000, 11).values()) == ["0", "1,000", "2,000", "3,000", "4,000", "5,000"]
    assert row_ticks(0, 1, 1) == {}, "where there is no room"
    assert row_ticks(2, 2, 9) == {}
