"""The report of a study: one self-contained HTML file, and the same as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from math import isnan
from pathlib import Path
from typing import Any

from kdtui.bundling.tables import markdown_lines, markdown_text
from kdtui.errors import KdtuiError
from kdtui.statistics.results import Comparison
from kdtui.text import short_number
from kdtui.workflows.runs.published import PublishedRow, published_results
from kdtui.workflows.runs.session_selection import SessionSelection
from kdtui.workflows.studies.plan import StudyPlan
from kdtui.workflows.studies.provenance import provenance_of
from kdtui.workflows.studies.report_errors import ERROR_HEADINGS, GROUP_HEADINGS, error_tables
from kdtui.workflows.studies.report_plots import question_plots
from kdtui.workflows.studies.report_routers import ROUTER_HEADINGS, ROUTER_NOTE, router_rows
from kdtui.workflows.studies.report_setup import knowledge_of, setup_of
from kdtui.workflows.studies.report_tables import (
    COLUMNS,
    COST_HEADINGS,
    Table,
    cost_row,
    metric_label,
    results_table_of,
)
from kdtui.workflows.studies.results import QuestionResult, StudyResults, study_results
from kdtui.workflows.studies.spec_files import to_toml
from kdtui.workflows.studies.verdicts import comparison_in_words
from store.sqlite import Database

_MOST_ANALYSED = 24
"""Rows of a question whose errors are analysed at most: nobody reads longer tables."""


@dataclass(frozen=True, slots=True)
class Section:
    """A question in the report."""

    title: str
    answer: str
    caveat: str
    knowledge: str
    metric: str
    tables: list[Table]
    comparisons: list[tuple[str, str, str, str]]
    plots: list[tuple[str, str]]
    routers: list[tuple[str, ...]]
    costs: list[tuple[str, ...]]
    errors: list[tuple[str, ...]]
    groups: list[tuple[str, ...]]
    worst: list[tuple[str, str]]
    left_out: list[str]


def write_report(db: Database, plan: StudyPlan, folder: Path) -> list[Path]:
    """Write the report of a study as HTML and as Markdown, each completely or not at all.

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

    # The names of products, datasets and intents are data, never markup.
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
    """Write a table of results as Markdown, each interval after its value."""
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
        "setup": setup_of(plan),
        "notes": plan.notes,
        "done": len(plan.cells) - len(missing),
        "cells": len(plan.cells),
        "missing": _summed(missing),
        "sections": [_section(db, results, result, published) for result in results.questions],
        "router_headings": ROUTER_HEADINGS,
        "router_note": ROUTER_NOTE,
        "cost_headings": COST_HEADINGS,
        "error_headings": ERROR_HEADINGS,
        "group_headings": GROUP_HEADINGS,
        "columns": [(heading, what) for _, heading, what in COLUMNS],
        "provenance": provenance_of(db, plan),
        "spec": to_toml(plan.spec),
        "versions": _versions(),
    }


def _summed(states: Iterable[str]) -> list[tuple[str, int]]:
    """Count the cells in each state."""
    counts: dict[str, int] = {}
    for state in states:
        counts[state] = counts.get(state, 0) + 1
    return list(counts.items())


def _versions() -> list[tuple[str, str]]:
    versions = []
    for package in ("kdtui", "llama-cpp-python", "numpy", "scipy", "torch", "transformers", "peft"):
        try:
            versions.append((package, version(package)))
        except PackageNotFoundError:
            # A machine that only reads the results of trainings on hosts need not have it.
            continue
    return versions


def _section(
    db: Database, results: StudyResults, result: QuestionResult, published: Mapping[str, Sequence[PublishedRow]]
) -> Section:
    question = result.question
    several = len(question.dataset) > 1
    names = {row.name: row.label_in(question) for row in result.rows}
    by_dataset = {dataset: [row for row in result.rows if row.dataset == dataset] for dataset in question.dataset}
    metric = metric_label(question.metric)
    plots = []
    for dataset, rows in by_dataset.items():
        plots += [
            (f"{dataset}: {title}" if several else title, svg) for title, svg in question_plots(results, result, rows)
        ]
    analysed = [row for row in result.rows if row.estimates][:_MOST_ANALYSED]
    errors, groups, worst = error_tables(db, results, analysed, names)
    return Section(
        question.title,
        result.answer,
        result.caveat,
        knowledge_of(result.rows),
        metric,
        [results_table_of(results, dataset, rows, published[dataset]) for dataset, rows in by_dataset.items()],
        [_compared(each, names) for each in result.comparisons],
        plots,
        router_rows(db, results.plan, result.rows, names),
        [cost_row(row, names[row.name]) for row in result.rows if row.estimates],
        errors,
        groups,
        worst,
        result.left_out,
    )


def _published(db: Database, plan: StudyPlan, dataset: str) -> Sequence[PublishedRow]:
    """Return published results about exactly these sessions, if there are any."""
    spec = plan.spec
    try:
        return published_results(db, SessionSelection.among(db, dataset, spec.split, spec.sessions, spec.draw))
    except KdtuiError:
        return ()


def _compared(each: Comparison, names: Mapping[str, str]) -> tuple[str, str, str, str]:
    shown = "" if isnan(each.smallest_effect) else short_number(each.smallest_effect)
    return names[each.other], names[each.baseline], comparison_in_words(each), shown
