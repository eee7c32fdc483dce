"""`kdtui evaluate`: how well a student does on a split, beside the floors."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.cli.options import (
    ContextOption,
    DatabaseOption,
    DatasetOption,
    JsonOption,
    KnowledgeOption,
    StudentOption,
    chosen_dataset,
    formats,
    open_store,
)
from kdtui.cli.output import print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from sqlite_utils import Database

    from kdtui.workflows.evaluate import ResultRow
    from store.runs import Run


def evaluate(
    dataset: DatasetOption = None,
    split: Annotated[Literal["train", "valid", "test"], typer.Option(help="Split to answer and score.")] = "test",
    student: StudentOption = "smollm2",
    knowledge: KnowledgeOption = "none",
    context: ContextOption = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N sessions.", min=1, metavar="N")] = None,
    resume: Annotated[
        int | None, typer.Option(help="Go on with this run; its settings count, not those given here.", metavar="RUN")
    ] = None,
    floors_only: Annotated[bool, typer.Option("--floors-only", help="Only the rows that need no student.")] = False,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Answer a split and score it: the paper's metrics over n sessions, and strict metrics over all.

    Every answer is kept as it comes; an interrupted run goes on with --resume.
    """
    from kdtui.workflows.evaluate import score_floors, score_run, split_to_score
    from kdtui.workflows.students import check_settings, student_name
    from store.records import RunSettings
    from store.runs import get_run, start_run

    with open_store(db) as store:
        run = get_run(store, resume) if resume is not None else None
        if run is not None:
            dataset, split, limit = run.dataset, run.split, run.settings.limit
        name = chosen_dataset(store, dataset)
        sessions = split_to_score(store, name, split, limit)
        rows = []
        if not floors_only:
            if run is None:
                settings = RunSettings(student, formats(knowledge), limit, context)
                check_settings(settings, name)
                run = start_run(store, name, split, student_name(settings), settings)
            _answer(store, run, len(sessions))
        rows = list(score_floors(store, name, sessions))
        if run is not None and not floors_only:
            # The truth stays the last row: it is what the others are measured by.
            rows.insert(-1, score_run(store, run, sessions))
    print_rows(rows, as_json)


def _answer(store: "Database", run: "Run", total: int) -> None:
    """Answer what the run has not answered yet, with progress."""
    from kdtui.workflows.evaluate import answer_split, split_to_score
    from kdtui.workflows.generate import SessionAnswered
    from kdtui.workflows.students import open_student
    from store.runs import predictions

    sessions = split_to_score(store, run.dataset, run.split, run.settings.limit)
    done = len(predictions(store, run))
    if done == total:
        return
    say(f"run {run.id}: {run.name} on {run.dataset} {run.split}, {done:,} of {total:,} sessions answered")
    try:
        with open_student(store, run.dataset, run.settings) as student, progress_bar() as progress:
            task = progress.add_task("sessions", total=total, completed=done)
            for event in answer_split(store, run, sessions, student):
                if isinstance(event, SessionAnswered):
                    progress.advance(task)
                    if event.prediction.error is not None:
                        say(f"kdtui: session {event.session.id}: {event.prediction.error}")
    except KeyboardInterrupt:
        say(f"interrupted; what was answered is kept, go on with: kdtui evaluate --resume {run.id}")
        raise


def print_rows(rows: "list[ResultRow]", as_json: bool) -> None:
    """The table of results, or one object per row."""
    if as_json:
        for row in rows:
            print_json(row.to_json())
        return
    print_table(
        ["", "n", "P", "R", "cov.", "strict\nP", "strict\nR", "pair\nF1", "exact", "per\nsess.", "valid"],
        [
            (
                row.name,
                row.scores.n,
                row.scores.precision,
                row.scores.recall,
                row.scores.coverage,
                row.scores.strict_precision,
                row.scores.strict_recall,
                row.scores.pair_f1,
                row.scores.exact,
                row.scores.bundles_per_session,
                row.scores.valid,
            )
            for row in rows
        ],
    )
    total = rows[0].scores.sessions
    say(f"P, R and cov. are the paper's, over the n sessions with a predicted bundle; the rest is over all {total:,}")
