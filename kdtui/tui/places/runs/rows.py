"""Runs and floors as rows: what is shown of them, and how they are sorted and found."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

from kdtui.tui.widgets.rows import Column, Row

if TYPE_CHECKING:
    from kdtui.bundling.metrics import Scores
    from kdtui.workflows.runs.scored import Scored
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
    # In sight on screens that have no room for all of the others.
    Column("State", 13, share=1),
    Column("Tokens", 7, right=True, sort="tokens", wide=True),
    Column("When", 16, sort="when", wide=True),
    Column("Of", 16, wide=True),
    Column("Tags", 10, share=1, wide=True),
)

SORTS = tuple(column.sort for column in COLUMNS if column.sort)
"""What rows can be sorted by, in the order of the columns."""

_WORDS = frozenset({"name", "dataset", "split"})
"""Those that are words: they begin with the first; numbers begin with the largest."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A run, or the floors over some sessions, with what is known so far.

    Attributes:
        key: tells it from others.
        scored: the sessions that it is about.
        summary: of the run; None for a floor, and for a run that has not begun.
        answered, sessions: how many it has answered, and of how many; None for a floor.
        scores: None where they are not computed yet, or cannot be.
        tokens: of a prompt, about.
        state: finished, or how to go on.
    """

    key: str
    name: str
    scored: "Scored"
    state: str
    summary: "RunSummary | None" = None
    answered: int | None = None
    sessions: int | None = None
    scores: "Scores | None" = None
    seconds: float | None = None
    tokens: float | None = None

    @property
    def number(self) -> int | None:
        """Of the run."""
        return None if self.summary is None else self.summary.run.id

    @property
    def tags(self) -> tuple[str, ...]:
        """Of the run."""
        return () if self.summary is None else self.summary.run.tags

    @property
    def is_floor(self) -> bool:
        """Whether it needs no model."""
        return self.answered is None

    @property
    def f1(self) -> float | None:
        """Its pair F1, the quality that counts most."""
        return None if self.scores is None else self.scores.pair_f1

    @property
    def when(self) -> str | None:
        """When it began, in the time of this place."""
        from datetime import datetime

        if self.summary is None:
            return None
        return datetime.fromisoformat(self.summary.run.created_at).astimezone().strftime("%Y-%m-%d %H:%M")


def sort_value(entry: Entry, by: str) -> float | str | None:
    """What an entry is sorted by; None where that is not known."""
    scores = entry.scores
    match by:
        case "name":
            return entry.name.casefold()
        case "dataset":
            return entry.scored.dataset.casefold()
        case "split":
            return entry.scored.split
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


def begins_with_the_largest(by: str) -> bool:
    """Whether the largest value is looked for first."""
    return by not in _WORDS


def in_order(entries: Iterable[Entry], by: str, *, descending: bool) -> list[Entry]:
    """Entries sorted; those come last of which the value is not known, whatever the direction."""
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
    """Whether each word of a text stands in its number, name, dataset, split, tags or note."""
    limit, seed = entry.scored.limit, entry.scored.seed
    subset = "" if limit is None else f"first {limit}" if seed is None else f"{limit} seed {seed}"
    kind = "floor" if entry.is_floor else f"run {entry.number}"
    said = "" if entry.summary is None else f"{' '.join(entry.tags)} {entry.summary.run.note}"
    there = f"{kind} {entry.name} {entry.scored.dataset} {entry.scored.split} {subset} {said}".casefold()
    return all(word in there for word in text.casefold().split())


def row_of(entry: Entry) -> Row:
    """An entry as cells."""
    scores = entry.scores
    return Row(
        entry.key,
        (
            "–" if entry.number is None else str(entry.number),
            entry.name,
            entry.scored.dataset,
            entry.scored.split,
            _progress(entry),
            share(None if scores is None else scores.strict_precision),
            share(None if scores is None else scores.strict_recall),
            share(entry.f1),
            share(None if scores is None else scores.exact),
            duration(entry.seconds),
            entry.state,
            "–" if entry.tokens is None else f"{entry.tokens:,.0f}",
            entry.when or "–",
            _subset(entry),
            ", ".join(entry.tags) or "–",
        ),
    )


def share(value: float | None) -> str:
    """A share or a rate in four cells."""
    if value is None or isnan(value):
        return "–"
    # A cosine may be below zero.
    return f"{value:.2f}" if value >= 0.9995 else f"{value:.3f}".replace("0.", ".", 1)


def duration(seconds: float | None) -> str:
    """Seconds in five cells: a pattern student takes less than a thousandth, a large one on a processor minutes."""
    if seconds is None:
        return "–"
    return f"{seconds:.3f}" if seconds < 1 else f"{seconds:.2f}" if seconds < 100 else f"{seconds:,.0f}"


def _subset(entry: Entry) -> str:
    """Of how many sessions these are, and how they were chosen, in sixteen cells."""
    scored = entry.scored
    if scored.limit is None:
        return "all"
    if not scored.split_size:
        return "–"
    return f"{scored.split_size:,}, " + ("the first" if scored.seed is None else f"seed {scored.seed}")


def _progress(entry: Entry) -> str:
    if entry.answered is None:
        return "–" if entry.scores is None else f"{entry.scores.sessions:,}"
    return f"{entry.answered:,}/{entry.sessions:,}" if entry.answered != entry.sessions else f"{entry.answered:,}"
