"""Plots of a study as SVG inside a page. Text and lines take the text colour of the page."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from math import isnan
from typing import TYPE_CHECKING, Any

from kdtui.statistics.results import Estimate
from kdtui.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = "#123456"
"""A placeholder for the text colour of the page until the SVG is written."""

_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)

_COLOURS = ("#3b7dd8", "#d1782b", "#3a9a5b", "#a45bb8", "#c2506a", "#7a7f2a")
"""Legible on white and on black, and distinguishable for colour-blind readers; markers differ too."""

_MARKERS = "osD^vP"
_LONGEST = 48
"""Characters of a label at most."""


@dataclass(frozen=True, slots=True)
class CostPoint:
    """A row in a plot of quality and cost."""

    label: str
    cost: float
    quality: Estimate
    is_on_front: bool


def intervals_plot(rows: Sequence[tuple[str, Estimate]], floors: Mapping[str, float], metric: str) -> str:
    """Plot a dot and its interval for each row, from the top. Floors are dashed lines."""
    with _axes(7.2, 0.9 + 0.3 * len(rows)) as (axes, svg):
        for at, (_, estimate) in enumerate(rows):
            _interval(axes, estimate, at, 0)
        axes.set_yticks(range(len(rows)), [_text(label) for label, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        for at, (name, value) in enumerate(floors.items()):
            colour = _COLOURS[1 + at % (len(_COLOURS) - 1)]
            axes.axvline(value, linestyle=(0, (4, 3)), linewidth=1, color=colour)
            axes.annotate(
                _text(name),
                (value, 1),
                xycoords=("data", "axes fraction"),
                xytext=(2, 2 + 9 * (at % 2)),
                textcoords="offset points",
                fontsize=7,
                color=colour,
            )
        axes.set_xlabel(metric)
        axes.grid(axis="x", alpha=0.2)
    return svg.getvalue()


def lines_plot(
    lines: Mapping[str, Sequence[tuple[float, Estimate]]], levels: Mapping[str, Estimate], axis: str, metric: str
) -> str:
    """Plot a line for each context, with the intervals of its points, for an axis with numbers.

    The scale is logarithmic if the numbers differ more than tenfold.

    Args:
        levels: rows without a value on the axis. Each is a dashed line across the plot, on a band for its interval.
    """
    with _axes(7.2, 3.6) as (axes, svg):
        values = sorted({x for points in lines.values() for x, _ in points})
        is_wide = bool(values) and 0 < 10 * values[0] < values[-1]
        if is_wide:
            axes.set_xscale("log")
            axes.set_xticks(values, [f"{value:,g}" for value in values])
            axes.set_xticks([], minor=True)
        for at, (label, points) in enumerate(lines.items()):
            colour, marker = _look(at)
            # Next to each other, if several have an interval at the same place.
            shift = at - (len(lines) - 1) / 2
            centres = [x * 1.04**shift if is_wide else x + values[-1] * 0.006 * shift for x, _ in points]
            axes.plot(centres, [each.mean for _, each in points], color=colour, linewidth=1.2, label=_text(label))
            for centre, (_, each) in zip(centres, points, strict=True):
                _interval(axes, each, centre, at, upright=True, marker=marker)
        for at, (label, each) in enumerate(levels.items(), start=len(lines)):
            colour, _ = _look(at)
            axes.axhline(each.mean, color=colour, linewidth=1.2, linestyle=(0, (4, 3)), label=_text(label))
            if not isnan(each.low):
                axes.axhspan(each.low, each.high, color=colour, alpha=0.1, linewidth=0)
        axes.set_xlabel(axis)
        axes.set_ylabel(metric)
        axes.grid(alpha=0.2)
        if len(lines) > 1 or levels:
            _legend(axes)
    return svg.getvalue()


def cost_plot(points: Sequence[CostPoint], cost: str, metric: str) -> str:
    """Plot quality against cost on a logarithmic scale. A line joins the points that no cheaper point matches."""
    from matplotlib.ticker import LogLocator, NullFormatter

    with _axes(7.2, 3.6) as (axes, svg):
        for at, point in enumerate(points):
            colour, marker = _look(at)
            _interval(axes, point.quality, point.cost, at, upright=True, marker=marker)
            axes.plot([], [], marker, color=colour, markersize=5, label=_text(point.label))
        front = sorted((point.cost, point.quality.mean) for point in points if point.is_on_front)
        axes.plot(*zip(*front, strict=True), color=_INK, linewidth=0.8, alpha=0.5, zorder=0)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        _legend(axes)
        axes.set_xlabel(cost)
        axes.set_ylabel(metric)
        axes.margins(x=0.15)
        axes.grid(alpha=0.2)
    return svg.getvalue()


def _interval(
    axes: "Axes", estimate: Estimate, centre: float, at: int, *, upright: bool = False, marker: str = "o"
) -> None:
    colour = _COLOURS[at % len(_COLOURS)]
    ends = None if isnan(estimate.low) else [[estimate.mean - estimate.low], [estimate.high - estimate.mean]]
    x, y = (centre, estimate.mean) if upright else (estimate.mean, centre)
    axes.errorbar(
        [x],
        [y],
        yerr=ends if upright else None,
        xerr=None if upright else ends,
        fmt=marker,
        markersize=5,
        linewidth=1.4,
        color=colour,
    )


def _legend(axes: "Axes") -> None:
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _look(at: int) -> tuple[str, str]:
    """Return a colour and a marker; the first three dozen pairs differ."""
    return _COLOURS[at % len(_COLOURS)], _MARKERS[(at + at // len(_COLOURS)) % len(_MARKERS)]


def _text(label: str) -> str:
    # Dollar signs begin formulas in matplotlib.
    return one_line(label, _LONGEST).replace("$", r"\$")


@contextmanager
def _axes(width: float, height: float) -> "Iterator[tuple[Axes, StringIO]]":
    """Provide axes of this size in inches, and the buffer that holds the SVG afterwards."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "kdtui",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 8.5,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
    }
    svg = StringIO()
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height))
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.patch.set_alpha(0)
        yield axes, svg
        drawn = StringIO()
        figure.savefig(drawn, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    # A page needs only the element, without links to other sites.
    element = _METADATA.sub("", drawn.getvalue()[drawn.getvalue().index("<svg") :])
    svg.write(element.replace(_INK, "currentColor"))
