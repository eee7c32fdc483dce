"""Runs and floors as rows of a table, with their order and filter."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

from kdtui.tui.widgets.rows import Column, Row

if TYPE_CHECKING:
    from kdtui.bundling.metrics import Scores
    from kdtui.workflows.runs.session_selection import SessionSelection
    from store.runs import RunSummary

COLUMNS = (
    Column("Run", 4, right=True, sort="number"),
    Column("Name", 14, share=6, sort="name"),
    Column("Dataset", 9, share=1, sort="dataset"),
    Column("Split", 5, sort="split"),
    Column("Sess.", 6, right=True, sort="answered"),
    Column("P", 4, right=True, sort="precision"),
    Column("R", 4, right=True, sort="recall"),
    Column("F1", 4, right=True, sort="f1"),
    Column("Exact", 6, right=True, sort="exact", wide=True),
    Column("Sec.", 5, right=True, sort="seconds"),
    # Visible also on screens that have no room for all of the others.
    Column("State", 13, share=1),
    Column("Tokens", 7, right=True, sort="tokens", wide=True),
    Column("When", 16, sort="when", wide=True),
    Column("Of", 16, wide=True),
    Column("Tags", 10, share=1, wide=True),
)

SORTS = tuple(column.sort for column in COLUMNS if column.sort)
"""Sort keys, in the order of the columns."""

_TEXT_SORTS = frozenset({"name", "dataset", "split"})
"""Sort keys of text, which begin with the first; numbers begin with the largest."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A run, or the floors over some sessions, with the numbers computed so far.

    Attributes:
        key: identifies the row.
        selection: the sessions of the run or floors.
        state: finished, or how to resume it.
        summary: None for a floor, and for a run that has not begun.
        answered: number of answered sessions; None for a floor.
        sessions: number of sessions of the run; None for a floor.
        scores: None if they are not computed yet, or cannot be.
        tokens: approximate tokens of a prompt.
    """

    key: str
    name: str
    selection: "SessionSelection"
    state: str
    summary: "RunSummary | None" = None
    answered: int | None = None
    sessions: int | None = None
    scores: "Scores | None" = None
    seconds: float | None = None
    tokens: float | None = None

    @property
    def number(self) -> int | None:
        """The number of the run."""
        return None if self.summary is None else self.summary.run.id

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the run."""
        return () if self.summary is None else self.summary.run.tags

    @property
    def is_floor(self) -> bool:
        """Whether this is a floor, which needs no model."""
        return self.answered is None

    @property
    def f1(self) -> float | None:
        """The pair F1, which counts most."""
        return None if self.scores is None else self.scores.pair_f1

    @property
    def when(self) -> str | None:
        """When the run began, in local time."""
        from datetime import datetime

        if self.summary is None:
            return None
        return datetime.fromisoformat(self.summary.run.created_at).astimezone().strftime("%Y-%m-%d %H:%M")


def sort_value(entry: Entry, by: str) -> float | str | None:
    """Return the value that an entry is sorted by; None if it is not known."""
    scores = entry.scores
    match by:
        case "name":
            return entry.name.casefold()
        case "dataset":
            return entry.selection.dataset.casefold()
        case "split":
            return entry.selection.split
        case "answered":
            return entry.answered
        case "precision":
            return None if scores is None else scores.strict_precision
        case "recall":
            return None if scores is None else scores.strict_recall
        case "f1":
            return entry.f1
        case "exact":
            return None if scores is None else scores.exact
        case "seconds":
            return entry.seconds
        case "tokens":
            return entry.tokens
        case "when":
            return None if entry.summary is None else entry.summary.run.created_at
    return entry.number


def is_largest_first(by: str) -> bool:
    """Return whether this order begins with the largest value."""
    return by not in _TEXT_SORTS


def sort_entries(entries: Iterable[Entry], by: str, *, descending: bool) -> list[Entry]:
    """Return the entries in order; entries without a value come last in both directions."""
    known, unknown = [], []
    for entry in entries:
        value = sort_value(entry, by)
        if value is None or value != value:
            unknown.append(entry)
        else:
            known.append((value, entry))
    # All values of a column are of one kind.
    known.sort(key=lambda each: each[0], reverse=descending)
    return [entry for _, entry in known] + unknown


def matches(entry: Entry, text: str) -> bool:
    """Return whether the number, name, dataset, split, tags and note of an entry contain each word of a text."""
    limit, seed = entry.selection.limit, entry.selection.seed
    subset = "" if limit is None else f"first {limit}" if seed is None else f"{limit} seed {seed}"
    kind = "floor" if entry.is_floor else f"run {entry.number}"
    notes = "" if entry.summary is None else f"{' '.join(entry.tags)} {entry.summary.run.note}"
    searched = f"{kind} {entry.name} {entry.selection.dataset} {entry.selection.split} {subset} {notes}".casefold()
    return all(word in searched for word in text.casefold().split())


def entry_row(entry: Entry) -> Row:
    """Return the cells of an entry, in the order of `COLUMNS`."""
    scores = entry.scores
    return Row(
        entry.key,
        (
            "–" if entry.number is None else str(entry.number),
            entry.name,
            entry.selection.dataset,
            entry.selection.split,
            _progress(entry),
            share(None if scores is None else scores.strict_precision),
            share(None if scores is None else scores.strict_recall),
            share(entry.f1),
            share(None if scores is None else scores.exact),
            short_seconds(entry.seconds),
            entry.state,
            "–" if entry.tokens is None else f"{entry.tokens:,.0f}",
            entry.when or "–",
            _subset(entry),
            ", ".join(entry.tags) or "–",
        ),
    )


def share(value: float | None) -> str:
    """Format a share or rate in four characters."""
    if value is None or isnan(value):
        return "–"
    # A cosine may be below zero.
    return f"{value:.2f}" if value >= 0.9995 else f"{value:.3f}".replace("0.", ".", 1)


def short_seconds(seconds: float | None) -> str:
    """Format seconds in five characters, from thousandths (the pattern student) to minutes (a large model)."""
    if seconds is None:
        return "–"
    return f"{seconds:.3f}" if seconds < 1 else f"{seconds:.2f}" if seconds < 100 else f"{seconds:,.0f}"


def _subset(entry: Entry) -> str:
    """Return, in sixteen characters, the size of the split and how the sessions of a run were chosen."""
    selection = entry.selection
    if selection.limit is None:
        return "all"
    if not selection.split_size:
        return "–"
    return f"{selection.split_size:,}, " + ("the first" if selection.seed is None else f"seed {selection.seed}")


def _progress(entry: Entry) -> str:
    if entry.answered is None:
        return "–" if entry.scores is None else f"{entry.scores.sessions:,}"
    return f"{entry.answered:,}/{entry.sessions:,}" if entry.answered != entry.sessions else f"{entry.answered:,}"
