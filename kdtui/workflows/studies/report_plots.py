"""The plots of a report."""

from collections.abc import Sequence

from kdtui.statistics.results import Estimate
from kdtui.workflows.studies.plots import CostPoint, cost_plot, intervals_plot, lines_plot
from kdtui.workflows.studies.report_tables import metric_label
from kdtui.workflows.studies.results import QuestionResult, QuestionRow, StudyResults, value_label
from kdtui.workflows.studies.spec import AXES

_MOST_PLOTTED = 40
"""Rows of a plot at most."""


def question_plots(results: StudyResults, result: QuestionResult, rows: Sequence[QuestionRow]) -> list[tuple[str, str]]:
    question = result.question
    metric = metric_label(question.metric)
    measured = [(row, row.estimates[question.metric]) for row in rows if question.metric in row.estimates]
    if not measured:
        return []
    best = sorted(measured, key=lambda each: -each[1].mean)[:_MOST_PLOTTED]
    shown = [each for each in measured if each in best]
    part = "" if len(shown) == len(measured) else f", the best {len(shown)} of {len(measured):,} cells"
    floors = {
        name: estimates[question.metric].mean
        for name, estimates in results.floors[rows[0].dataset].items()
        if name in ("whole session", "patterns") and question.metric in estimates
    }
    plots = [
        (
            f"{metric}, with 95 % intervals; dashed lines are floors{part}",
            intervals_plot([(row.label or "all", each) for row, each in shown], floors, metric),
        )
    ]
    if question.compare in ("ratio", "training_sessions", "rank"):
        lines, levels = _lines(question.compare, shown)
        if lines:
            plots.append((f"{metric} by {question.compare}{part}", lines_plot(lines, levels, question.compare, metric)))
    points = [(row.label or "all", row.cost.seconds, each) for row, each in shown if row.cost.seconds]
    if len(points) > 1:
        plots.append(
            (
                f"{metric} against seconds a session{part}; the line joins the cells that no faster cell matches",
                cost_plot(
                    [CostPoint(label, cost, each, _is_on_front(cost, each, points)) for label, cost, each in points],
                    "seconds a session",
                    metric,
                ),
            )
        )
    return plots


def _lines(
    compare: str, rows: Sequence[tuple[QuestionRow, Estimate]]
) -> tuple[dict[str, list[tuple[float, Estimate]]], dict[str, Estimate]]:
    """Return the lines over the compared axis, and the levels of rows to which that axis makes no difference."""
    levels = {row.label or "all": each for row, each in rows if compare in row.without}
    placed = [(at, each) for row, each in rows if compare not in row.without for at in row.positions]
    varying = [
        axis
        for axis in AXES
        if axis not in ("seed", "dataset", compare) and len({str(at[axis]) for at, _ in placed}) > 1
    ]
    lines: dict[str, dict[float, Estimate]] = {}
    for at, each in placed:
        # A row of several positions, such as all knowledge by any strategy, is a point on each of their lines.
        label = " · ".join(value_label(axis, at[axis]) for axis in varying)
        lines.setdefault(label, {})[float(at[compare])] = each
    return {label: sorted(points.items()) for label, points in lines.items()}, levels


def _is_on_front(cost: float, quality: Estimate, points: Sequence[tuple[str, float, Estimate]]) -> bool:
    return not any(
        other <= cost and each.mean >= quality.mean and (other < cost or each.mean > quality.mean)
        for _, other, each in points
    )
