"""The report of a study: one HTML file that needs nothing else, and the same as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from math import isnan
from pathlib import Path
from typing import Any

from kdtui.bundling.bundle_errors import ERROR_TYPES
from kdtui.bundling.metrics import EVERY_SESSION
from kdtui.bundling.tables import markdown_lines, markdown_text
from kdtui.errors import KdtuiError
from kdtui.statistics.results import Comparison, Estimate
from kdtui.text import counted, duration, short_number
from kdtui.workflows.runs.published import PublishedRow, published_results
from kdtui.workflows.runs.scored import Scored
from kdtui.workflows.studies.plan import StudyPlan
from kdtui.workflows.studies.plots import Point, cost_plot, intervals_plot, lines_plot
from kdtui.workflows.studies.provenance import provenance_of
from kdtui.workflows.studies.results import QuestionResult, ResultRow, StudyResults, study_results, value_label
from kdtui.workflows.studies.spec import AXES, to_toml
from kdtui.workflows.studies.verdicts import estimate_in_words, phrase
from store.sqlite import Database

COLUMNS = (
    ("n", "n", "sessions with a bundle, in each seed, over which P, R, cov., set P, set R and GJS are averaged"),
    ("precision", "P", "precision of the paper"),
    ("recall", "R", "recall of the paper"),
    ("coverage", "cov.", "coverage of the paper"),
    ("strict_precision", "strict P", "precision over every session"),
    ("strict_recall", "strict R", "recall over every session"),
    ("pair_f1", "pair F1", "F1 over pairs of products, over every session"),
    ("exact", "exact", "sessions whose bundles all equal the true ones"),
    ("set_precision", "set P", "bundles that equal a true one"),
    ("set_recall", "set R", "true bundles that are found as they are"),
    ("gjs", "GJS", "greedy Jaccard score"),
    ("intent_f1", "intent F1", "token F1 of intents to those of people"),
    ("intent_rouge_l", "ROUGE-L", "the same by the longest common subsequence"),
    ("intent_cosine", "cosine", "the same by the sentence encoder"),
)
"""The measures of tables: their field, their heading, and what they are."""

_WITH_INTERVAL = ("strict_precision", "strict_recall", "pair_f1", "exact")
_MOST_ANALYSED = 24
"""Rows of a question whose errors are analysed; a table of more is read by nobody."""

_MOST_PLOTTED = 40
"""Rows of a plot."""

_WORST = 5
"""Sessions that are named of a row: those that it does worst on."""


@dataclass(frozen=True, slots=True)
class Value:
    """A number in a table.

    Attributes:
        interval: empty where there is none.
    """

    text: str
    interval: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table of results.

    Attributes:
        kind: a cell, a floor, or a published result.
        note: why it has no numbers, or where they are from.
    """

    label: str
    kind: str
    values: tuple[Value, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The results of a question on one dataset."""

    dataset: str
    headings: tuple[tuple[str, str], ...]
    rows: tuple[TableRow, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A question in the report."""

    title: str
    answer: str
    caveat: str
    metric: str
    tables: list[Table]
    comparisons: list[tuple[str, str, str, str]]
    plots: list[tuple[str, str]]
    costs: list[tuple[str, ...]]
    errors: list[tuple[str, ...]]
    groups: list[tuple[str, ...]]
    worst: list[tuple[str, str]]
    left_out: list[str]


def write_report(db: Database, plan: StudyPlan, folder: Path) -> list[Path]:
    """Write the report of a study as HTML and as Markdown, each whole or not at all.

    Returns:
        the two files.

    Raises:
        KdtuiError: no cell is done yet, or the folder cannot be written to.
    """
    from kdtui.exchange.output import write_lines

    content = _content(db, study_results(db, plan))
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, template in (("html", "report.html.jinja"), ("md", "report.md.jinja")):
        path = folder / f"{plan.spec.name}.{suffix}"
        text = _environment(suffix).from_string(_template(template)).render(content)
        write_lines(path, [text.encode()])
        written.append(path)
    return written


def _template(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text("utf-8")


def _environment(suffix: str) -> Any:
    from jinja2 import Environment, StrictUndefined

    # What products, datasets and intents are called is data, in a page as everywhere.
    environment = Environment(
        autoescape=suffix == "html", undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["markdown"] = _markdown_table
    environment.filters["results"] = _results_table
    environment.filters["text"] = markdown_text
    return environment


def _markdown_table(rows: Sequence[Sequence[object]], headings: Sequence[str]) -> str:
    return markdown_lines(list(headings), [list(row) for row in rows])


def _results_table(table: Table) -> str:
    """A table of results, each interval behind its value."""
    rows = [
        [
            row.label,
            *(f"{value.text} {value.interval}".strip() for value in row.values),
            row.note or ("floor" if row.kind == "floor" else ""),
        ]
        for row in table.rows
    ]
    return markdown_lines(["cell", *(heading for heading, _ in table.headings), ""], rows)


def _content(db: Database, results: StudyResults) -> Mapping[str, Any]:
    plan = results.plan
    published = {dataset: _published(db, plan, dataset) for dataset in results.sessions}
    missing = [results.states[cell.key] for cell in plan.cells if cell.status != "done"]
    return {
        "name": plan.spec.name,
        "made": datetime.now(UTC).strftime("%Y-%m-%d"),
        "split": plan.spec.split,
        "sessions": {dataset: len(known) for dataset, known in results.sessions.items()},
        "drawn": plan.spec.sessions is not None,
        "draw": plan.spec.draw,
        "notes": plan.notes,
        "done": len(plan.cells) - len(missing),
        "cells": len(plan.cells),
        "missing": _summed(missing),
        "sections": [_section(db, results, found, published) for found in results.questions],
        "cost_headings": COST_HEADINGS,
        "error_headings": ERROR_HEADINGS,
        "group_headings": GROUP_HEADINGS,
        "columns": [(heading, what) for _, heading, what in COLUMNS],
        "provenance": provenance_of(db, plan),
        "spec": to_toml(plan.spec),
        "versions": _versions(),
    }


def _summed(states: Iterable[str]) -> list[tuple[str, int]]:
    """How many cells are in each state."""
    found: dict[str, int] = {}
    for state in states:
        found[state] = found.get(state, 0) + 1
    return list(found.items())


def _versions() -> list[tuple[str, str]]:
    found = []
    for package in ("kdtui", "llama-cpp-python", "numpy", "scipy", "torch", "transformers", "peft"):
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            # It need not be installed to read the results of what was trained elsewhere.
            continue
    return found


def metric_label(metric: str) -> str:
    """What a metric is called in tables."""
    return next((heading for name, heading in EVERY_SESSION if name == metric), metric)


def _section(
    db: Database, results: StudyResults, found: QuestionResult, published: Mapping[str, Sequence[PublishedRow]]
) -> Section:
    question = found.question
    several = len(question.dataset) > 1
    names = {row.name: row.label_in(question) for row in found.rows}
    by_dataset = {dataset: [row for row in found.rows if row.dataset == dataset] for dataset in question.dataset}
    metric = metric_label(question.metric)
    plots = []
    for dataset, rows in by_dataset.items():
        plots += [(f"{dataset}: {title}" if several else title, svg) for title, svg in _plots(results, found, rows)]
    analysed = [row for row in found.rows if row.estimates][:_MOST_ANALYSED]
    errors, groups, worst = _errors(db, results, analysed, names)
    return Section(
        question.title,
        found.answer,
        found.caveat,
        metric,
        [_table(results, dataset, rows, published[dataset]) for dataset, rows in by_dataset.items()],
        [_compared(each, names) for each in found.comparisons],
        plots,
        [_cost(row, names[row.name]) for row in found.rows if row.estimates],
        errors,
        groups,
        worst,
        found.left_out,
    )


def _published(db: Database, plan: StudyPlan, dataset: str) -> Sequence[PublishedRow]:
    """What others have published about exactly these sessions, if anything."""
    spec = plan.spec
    try:
        return published_results(db, Scored.among(db, dataset, spec.split, spec.sessions, spec.draw))
    except KdtuiError:
        return ()


def _table(results: StudyResults, dataset: str, rows: Sequence[ResultRow], published: Sequence[PublishedRow]) -> Table:
    floors = results.floors[dataset]
    has_intents = any("intent_f1" in row.estimates for row in rows)
    columns = [column for column in COLUMNS if has_intents or not column[0].startswith("intent_")]
    lines = [
        TableRow(
            row.label or "all",
            "cell",
            tuple(
                _value(name, row.estimates, [seed.count("precision") for seed in row.seeds]) for name, _, _ in columns
            ),
            _note(results, row),
        )
        for row in rows
    ]
    lines += [
        TableRow(name, "floor", tuple(_value(column, found) for column, _, _ in columns))
        for name, found in floors.items()
        if name != "truth"
    ]
    lines += [
        TableRow(
            each.name,
            "published",
            tuple(
                Value(short_number(each.scores[column]) if column in each.scores else "") for column, _, _ in columns
            ),
            each.source,
        )
        for each in published
    ]
    return Table(dataset, tuple((heading, what) for _, heading, what in columns), tuple(lines))


def _note(results: StudyResults, row: ResultRow) -> str:
    states = [results.states[cell.key] for cell in row.cells if cell.status != "done"]
    notes = []
    if states:
        missing = f"{len(states)} of {counted(len(row.cells), 'seed')} missing: " if len(row.cells) > 1 else ""
        notes.append(missing + "; ".join(dict.fromkeys(states)))
    elif len(row.cells) > 1:
        notes.append(counted(len(row.cells), "seed"))
    if row.failed:
        notes.append(f"no answer to {counted(row.failed, 'session')}")
    return "; ".join(notes)


def _value(name: str, estimates: Mapping[str, Estimate], counts: Sequence[int] = ()) -> Value:
    """A measure of a row.

    Args:
        counts: sessions with a bundle, of each seed.
    """
    if name == "n":
        if counts and min(counts) < max(counts):
            return Value(f"{min(counts):,}–{max(counts):,}")
        if counts:
            return Value(f"{counts[0]:,}")
        # Sessions with a bundle: those that precision counts.
        found = estimates.get("precision")
        return Value("" if not estimates else f"{0 if found is None else found.sessions:,}")
    found = estimates.get(name)
    if found is None or isnan(found.mean):
        return Value("")
    interval = ""
    if name in _WITH_INTERVAL and not isnan(found.low):
        interval = f"[{short_number(found.low)}, {short_number(found.high)}]"
        if found.seeds > 1:
            interval += f" ± {short_number(found.between_seeds)} between seeds"
    return Value(short_number(found.mean), interval)


def _compared(each: Comparison, names: Mapping[str, str]) -> tuple[str, str, str, str]:
    shown = "" if isnan(each.smallest_effect) else short_number(each.smallest_effect)
    return names[each.other], names[each.baseline], phrase(each), shown


def _plots(results: StudyResults, found: QuestionResult, rows: Sequence[ResultRow]) -> list[tuple[str, str]]:
    question = found.question
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
                f"{metric} against seconds a session{part}; the line joins those that nothing faster is as good as",
                cost_plot(
                    [Point(label, cost, each, _is_on_front(cost, each, points)) for label, cost, each in points],
                    "seconds a session",
                    metric,
                ),
            )
        )
    return plots


def _lines(
    compare: str, rows: Sequence[tuple[ResultRow, Estimate]]
) -> tuple[dict[str, list[tuple[float, Estimate]]], dict[str, Estimate]]:
    """The lines of a plot by the compared axis, and the levels of the rows to which that axis makes no difference."""
    levels = {row.label or "all": each for row, each in rows if compare in row.without}
    placed = [(at, each) for row, each in rows if compare not in row.without for at in row.places]
    varying = [
        axis
        for axis in AXES
        if axis not in ("seed", "dataset", compare) and len({str(at[axis]) for at, _ in placed}) > 1
    ]
    lines: dict[str, dict[float, Estimate]] = {}
    for at, each in placed:
        # What several places come to, as all of the knowledge, however it is drawn, is a point of all their lines.
        label = " · ".join(value_label(axis, at[axis]) for axis in varying)
        lines.setdefault(label, {})[float(at[compare])] = each
    return {label: sorted(points.items()) for label, points in lines.items()}, levels


def _is_on_front(cost: float, quality: Estimate, points: Sequence[tuple[str, float, Estimate]]) -> bool:
    return not any(
        other <= cost and each.mean >= quality.mean and (other < cost or each.mean > quality.mean)
        for _, other, each in points
    )


COST_HEADINGS = (
    "cell",
    "seconds a session",
    "tokens read",
    "tokens written",
    "joules a session",
    "memory, MB",
    "training",
    "adapter, MB",
    "money a session",
)


def _cost(row: ResultRow, name: str) -> tuple[str, ...]:
    cost = row.cost

    def number(value: float | None, places: int = 0, unit: float = 1) -> str:
        return "" if value is None else f"{value / unit:,.{places}f}"

    return (
        name,
        number(cost.seconds, 2),
        number(cost.prompt_tokens),
        number(cost.completion_tokens),
        number(cost.joules, 1),
        number(cost.peak_memory_bytes, unit=1e6),
        duration(row.training_seconds) or "",
        number(row.adapter_bytes, 1, 1e6),
        "" if cost.money is None else f"{cost.money:.4g}",
    )


ERROR_HEADINGS = (
    "cell",
    "bundles of all seeds",
    *ERROR_TYPES,
    "of the true bundles: not found",
    "of the sessions: without a bundle",
)
GROUP_HEADINGS = ("cell", "sessions", "how many", "pair F1")


def _errors(
    db: Database, results: StudyResults, rows: Sequence[ResultRow], names: Mapping[str, str]
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]], list[tuple[str, str]]]:
    """Of each row: the errors of its bundles by type, its pair F1 by what sessions are like, and its worst sessions."""
    from kdtui.workflows.studies.error_analysis import analyse_errors
    from kdtui.workflows.studies.measures import cell_of
    from store.predictions import predictions

    errors: list[tuple[str, ...]] = []
    groups: list[tuple[str, ...]] = []
    worst: list[tuple[str, str]] = []
    for row in rows:
        sessions = results.sessions[row.dataset]
        answers = [
            {
                session: None if each.bundles is None else [frozenset(bundle.positions) for bundle in each.bundles]
                for session, each in predictions(db, run).items()
            }
            for run in row.runs
        ]
        name = names[row.name]
        whole, *parts = analyse_errors(sessions, answers, results.resampling)
        found = whole.errors
        errors.append(
            (
                name,
                f"{found.predicted:,}",
                *(_share(found.share(kind)) for kind in ERROR_TYPES),
                _share(found.share_not_found),
                _share((found.failed + found.silent) / found.answers if found.answers else 0.0),
            )
        )
        groups += [
            (name, f"{part.respect}: {part.label}", f"{part.pair_f1.sessions:,}", estimate_in_words(part.pair_f1))
            for part in parts
        ]
        places = {session.id: at for at, session in enumerate(sessions)}
        cell = cell_of(row.seeds, "pair_f1", places)
        means = cell.values.mean(axis=0)
        known = [at for at in range(len(sessions)) if cell.weights[:, at].all()]
        lowest = sorted(known, key=lambda at: (means[at], at))[:_WORST]
        worst.append((name, ", ".join(f"{sessions[at].id} ({short_number(float(means[at]))})" for at in lowest)))
    return errors, groups, worst


def _share(value: float) -> str:
    return "" if isnan(value) else f"{value:.0%}"
