"""The error analysis of a report."""

from collections.abc import Mapping, Sequence
from math import isnan

from kdtui.bundling.bundle_errors import ERROR_TYPES
from kdtui.text import short_number
from kdtui.workflows.studies.results import QuestionRow, StudyResults
from kdtui.workflows.studies.verdicts import estimate_in_words
from store.sqlite import Database

_WORST = 5
"""The worst sessions that are named for each row."""


ERROR_HEADINGS = (
    "cell",
    "bundles of all seeds",
    *ERROR_TYPES,
    "of the true bundles: not found",
    "of the sessions: without a bundle",
)


GROUP_HEADINGS = ("cell", "sessions", "how many", "pair F1")


def error_tables(
    db: Database, results: StudyResults, rows: Sequence[QuestionRow], names: Mapping[str, str]
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]], list[tuple[str, str]]]:
    """Return three tables for rows: errors by type, pair F1 by groups of sessions, and the worst sessions."""
    from kdtui.workflows.studies.error_analysis import analyse_errors
    from kdtui.workflows.studies.measures import cell_values
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
        row_errors = whole.errors
        errors.append(
            (
                name,
                f"{row_errors.predicted:,}",
                *(_share(row_errors.share(kind)) for kind in ERROR_TYPES),
                _share(row_errors.share_not_found),
                _share((row_errors.failed + row_errors.silent) / row_errors.answers if row_errors.answers else 0.0),
            )
        )
        groups += [
            (name, f"{part.respect}: {part.label}", f"{part.pair_f1.sessions:,}", estimate_in_words(part.pair_f1))
            for part in parts
        ]
        columns = {session.id: at for at, session in enumerate(sessions)}
        cell = cell_values(row.seeds, "pair_f1", columns)
        means = cell.values.mean(axis=0)
        known = [at for at in range(len(sessions)) if cell.weights[:, at].all()]
        lowest = sorted(known, key=lambda at: (means[at], at))[:_WORST]
        worst.append((name, ", ".join(f"{sessions[at].id} ({short_number(float(means[at]))})" for at in lowest)))
    return errors, groups, worst


def _share(value: float) -> str:
    return "" if isnan(value) else f"{value:.0%}"
