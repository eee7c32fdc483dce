"""Tables of results: runs, floors and published results."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isnan
from typing import TYPE_CHECKING, Annotated

import typer

from kdtui.bundling.metrics import ANSWERED, EVERY_SESSION, INTENTS, has_intent_scores
from kdtui.cli.output import Output, print_gap, print_table, progress_bar, say
from kdtui.text import counted

if TYPE_CHECKING:
    from kdtui.workflows.runs.evaluate import ScoreRow
    from kdtui.workflows.runs.published import PublishedRow
    from store.runs import Run

PublishedOption = Annotated[
    bool,
    typer.Option(
        "--published",
        help="Add published results for the same sessions, if they are the test split of Electronic or Clothing.",
    ),
]


@contextmanager
def progress_of(name: str, sessions: int) -> "Iterator[Callable[[], None]]":
    """Show the progress through sessions; yields a function to call once for each."""
    with progress_bar() as progress:
        task = progress.add_task(name, total=sessions)
        yield lambda: progress.advance(task)


def with_run(rows: "Sequence[ScoreRow | PublishedRow]", run: "Run", row: "ScoreRow") -> "list[ScoreRow | PublishedRow]":
    """Insert the row of a run before the last row; if a floor has its name and scores, replace that row and say so."""
    from kdtui.workflows.runs.evaluate import ScoreRow, scores_to_json

    for place, other in enumerate(rows):
        # Compared as JSON, because NaN does not equal itself.
        if not isinstance(other, ScoreRow) or other.name != row.name:
            continue
        if scores_to_json(other.scores) == scores_to_json(row.scores):
            say(f"run {run.id} has the scores of the floor {row.name}; they share the row {row.name}")
            return [*rows[:place], row, *rows[place + 1 :]]
    # The truth stays the last row, as the reference for the others.
    return [*rows[:-1], row, *rows[-1:]]


def print_rows(rows: "Sequence[ScoreRow | PublishedRow]", output: Output) -> None:
    """Print the tables of results; as JSON or CSV, one table with all numbers."""
    from kdtui.workflows.runs.costs import NOT_KNOWN
    from kdtui.workflows.runs.intent_cosine import MOST_SESSIONS
    from kdtui.workflows.runs.published import PublishedRow

    published = [row for row in rows if isinstance(row, PublishedRow)]
    if output in ("json", "csv"):
        print_table([], [()] * len(rows), output=output, records=_records(rows))
        return
    measured = [row for row in rows if not isinstance(row, PublishedRow)]
    total = measured[0].scores.sessions
    matchable = max(row.scores.intent_bundles for row in measured)
    named = [row for row in measured if has_intent_scores(row.scores)]
    intents = f"intents, over the true bundles (of {matchable:,}) that a predicted bundle overlaps"
    if any(row.intent_floors for row in measured):
        intents += "; the rows below a run score its bundles with other intents"
    answered = "over the n sessions with a predicted bundle; P, R and cov. are the metrics of the paper"
    for metrics, meaning, shown in (
        (EVERY_SESSION, f"over all {counted(total, 'session')}", rows),
        (ANSWERED, answered, rows),
        (INTENTS, intents, named),
    ):
        names = [metric for metric, _ in metrics]
        cells = []
        for row in shown:
            cells.append((_row_name(row), *_values(row, names)))
            if metrics is INTENTS:
                cells += _floor_cells(row, names)
        cells = [each for each in cells if any(value is not None for value in each[1:])]
        if not cells:
            continue
        print_table(["", *(label.replace(" ", "\n") for _, label in metrics)], cells, wide=[""], output=output)
        print_gap(output)
        say(meaning)
    if named and all(isnan(row.scores.intent_cosine) for row in named):
        too_many = f"there are more than {MOST_SESSIONS:,} sessions"
        no_encoder = "the sentence encoder cannot be used; kdtui doctor says why"
        say(f"there is no cosine of intents: {too_many if total > MOST_SESSIONS else no_encoder}")
    _print_ratings(measured, output)
    _print_costs([row for row in measured if row.cost != NOT_KNOWN], output)
    for tag, source in dict.fromkeys((row.tag, row.source) for row in published):
        say(f"[{tag}] {source}")


def _print_ratings(rows: "Sequence[ScoreRow]", output: Output) -> None:
    """Print the ratings of intents, if a judge was asked."""
    from kdtui.distill.judging import BEST_RATING, LEAST_RATING

    judged = [(row.name, row.ratings) for row in rows if row.ratings is not None]
    if not judged:
        return
    cells = [(name, ratings.mean, ratings.n, ratings.failed, ratings.intents) for name, ratings in judged]
    print_table(["", "rating", "n", "failed", "of"], cells, wide=[""], output=output)
    print_gap(output)
    judges = " and ".join(dict.fromkeys(ratings.judge for _, ratings in judged))
    say(f"ratings of how well intents name their bundles, from {LEAST_RATING} to {BEST_RATING}, by {judges}")


def _print_costs(rows: "Sequence[ScoreRow]", output: Output) -> None:
    """Print the costs of a session of each run, as far as they are known."""
    from kdtui.workflows.calls.costs import cost_text
    from kdtui.workflows.runs.costs import megabytes

    columns: dict[str, list[object]] = {
        "seconds": [row.cost.seconds for row in rows],
        "prompt\ntokens": [_whole(row.cost.prompt_tokens) for row in rows],
        "answer\ntokens": [_whole(row.cost.completion_tokens) for row in rows],
        "joules": [row.cost.joules for row in rows],
        "peak\nmemory": [
            None if row.cost.peak_memory_bytes is None else megabytes(row.cost.peak_memory_bytes) for row in rows
        ],
        "money": [None if row.cost.money is None else cost_text(row.cost.money) for row in rows],
    }
    shown = {title: values for title, values in columns.items() if any(value is not None for value in values)}
    if not shown:
        return
    cells = zip((row.name for row in rows), *shown.values(), strict=True)
    print_table(["", *shown], cells, wide=[""], right=["peak\nmemory", "peak memory", "money"], output=output)
    print_gap(output)
    meters = sorted({row.cost.meters for row in rows if row.cost.meters is not None})
    energy = f"; joules are those of the whole machine, measured by {' and '.join(meters)}" if meters else ""
    say(f"costs of a session; peak memory is that of the process{energy}")


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)


def _records(rows: "Sequence[ScoreRow | PublishedRow]") -> "list[dict[str, object]]":
    """Return the rows as objects, with sources if there are published results, and ratings if a judge was asked."""
    from kdtui.workflows.runs.published import PublishedRow

    records = [row.to_json() for row in rows]
    if any(isinstance(row, PublishedRow) for row in rows):
        for row, record in zip(rows, records, strict=True):
            record["source"] = row.source if isinstance(row, PublishedRow) else None
    if any(not isinstance(row, PublishedRow) and row.ratings is not None for row in rows):
        for row, record in zip(rows, records, strict=True):
            ratings = None if isinstance(row, PublishedRow) else row.ratings
            record["ratings"] = None if ratings is None else ratings.to_json()
    return records


def _floor_cells(row: "ScoreRow | PublishedRow", metrics: "Sequence[str]") -> "Iterator[tuple[object, ...]]":
    """Yield the rows below that of a run: its own bundles with other intents."""
    from kdtui.workflows.runs.intent_floors import IN_WORDS
    from kdtui.workflows.runs.published import PublishedRow

    if not isinstance(row, PublishedRow):
        for name, scores in row.intent_floors.items():
            values = {"intent_matched": scores.matched, **scores.to_json()}
            yield (IN_WORDS[name], *(values[metric] for metric in metrics))


def _row_name(row: "ScoreRow | PublishedRow") -> str:
    from kdtui.workflows.runs.published import PublishedRow

    return f"{row.name} [{row.tag}]" if isinstance(row, PublishedRow) else row.name


def _values(row: "ScoreRow | PublishedRow", metrics: "Sequence[str]") -> "list[object]":
    """Return the values of a row; None for a metric that a published result does not report."""
    from kdtui.workflows.runs.published import PublishedRow

    if isinstance(row, PublishedRow):
        return [row.scores.get(metric) for metric in metrics]
    return [getattr(row.scores, metric) for metric in metrics]
