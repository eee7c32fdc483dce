"""The tables of a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from kdtui.bundling.metrics import EVERY_SESSION
from kdtui.statistics.results import Estimate
from kdtui.text import counted, duration, short_number
from kdtui.workflows.runs.published import PublishedRow
from kdtui.workflows.studies.results import QuestionRow, StudyResults

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
"""The measures of tables: their field, their heading, and a description."""


_WITH_INTERVAL = ("strict_precision", "strict_recall", "pair_f1", "exact")


@dataclass(frozen=True, slots=True)
class Value:
    """A number in a table.

    Attributes:
        interval: empty if there is none.
    """

    text: str
    interval: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table of results.

    Attributes:
        kind: "cell", "floor" or "published".
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


def metric_label(metric: str) -> str:
    """Return the heading of a metric in tables."""
    return next((heading for name, heading in EVERY_SESSION if name == metric), metric)


def results_table_of(
    results: StudyResults, dataset: str, rows: Sequence[QuestionRow], published: Sequence[PublishedRow]
) -> Table:
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
        TableRow(name, "floor", tuple(_value(column, estimates) for column, _, _ in columns))
        for name, estimates in floors.items()
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


def _note(results: StudyResults, row: QuestionRow) -> str:
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
    """Return a measure of a row.

    Args:
        counts: sessions with a bundle, of each seed.
    """
    if name == "n":
        if counts and min(counts) < max(counts):
            return Value(f"{min(counts):,}–{max(counts):,}")
        if counts:
            return Value(f"{counts[0]:,}")
        # Sessions with a bundle: those that precision counts.
        estimate = estimates.get("precision")
        return Value("" if not estimates else f"{0 if estimate is None else estimate.sessions:,}")
    estimate = estimates.get(name)
    if estimate is None or isnan(estimate.mean):
        return Value("")
    interval = ""
    if name in _WITH_INTERVAL and not isnan(estimate.low):
        interval = f"[{short_number(estimate.low)}, {short_number(estimate.high)}]"
        if estimate.seeds > 1:
            interval += f" ± {short_number(estimate.between_seeds)} between seeds"
    return Value(short_number(estimate.mean), interval)


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


def cost_row(row: QuestionRow, name: str) -> tuple[str, ...]:
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
