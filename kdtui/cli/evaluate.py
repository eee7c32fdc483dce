"""`kdtui evaluate`: how well a student does on a split, beside the floors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.cli.options import (
    LARGEST,
    AdapterOption,
    BudgetOption,
    ContextOption,
    DatabaseOption,
    DatasetOption,
    JsonOption,
    KnowledgeOption,
    NearOption,
    NeighboursOption,
    SampleOption,
    StrategyOption,
    StudentOption,
    adapters,
    chosen_dataset,
    formats,
    open_store,
)
from kdtui.cli.output import print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from sqlite_utils import Database

    from kdtui.workflows.evaluate import ResultRow
    from store.records import RunSettings, Session, Split
    from store.runs import Run


def evaluate(
    dataset: DatasetOption = None,
    split: Annotated[Literal["train", "valid", "test"], typer.Option(help="Split to answer and score.")] = "test",
    student: StudentOption = "shipped",
    knowledge: KnowledgeOption = "none",
    sample: SampleOption = None,
    neighbours: NeighboursOption = None,
    near: NearOption = None,
    budget: BudgetOption = None,
    strategy: StrategyOption = None,
    adapter: AdapterOption = None,
    context: ContextOption = None,
    limit: Annotated[
        int | None, typer.Option(help="Only the first N sessions, as imported.", min=1, max=LARGEST, metavar="N")
    ] = None,
    resume: Annotated[
        int | None,
        typer.Option(help="Go on with this run; its settings count, not those given here.", metavar="RUN", max=LARGEST),
    ] = None,
    floors_only: Annotated[bool, typer.Option("--floors-only", help="Only the rows that need no student.")] = False,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Answer a split and score it: the paper's metrics over n sessions, and strict metrics over all.

    Every answer is kept as it comes; an interrupted run goes on with --resume.
    """
    from kdtui.workflows.evaluate import score_floors, score_run, split_to_score
    from kdtui.workflows.students import check_settings, resolved, settings_for
    from store.runs import get_run

    if floors_only and resume is not None:
        raise typer.BadParameter("--resume goes on with a student's run, and --floors-only has none")
    with open_store(db) as store:
        run = get_run(store, resume) if resume is not None else None
        if run is not None:
            dataset, split, limit = run.dataset, run.split, run.settings.limit
        name = chosen_dataset(store, dataset)
        sessions = split_to_score(store, name, split, limit)
        if not floors_only:
            if run is None:
                settings = settings_for(
                    student,
                    formats(knowledge),
                    limit=limit,
                    context=context,
                    strategy=strategy,
                    adapters=adapters(adapter),
                    sample=sample,
                    neighbours=neighbours,
                    budget=budget,
                    near=near,
                )
                check_settings(settings, name)
                settings = resolved(store, name, settings)
            else:
                settings = run.settings
            run = _answer(store, run, name, split, settings, sessions)
        rows = list(score_floors(store, name, sessions))
        if run is not None:
            # The truth stays the last row: it is what the others are measured by.
            rows.insert(-1, score_run(store, run, sessions))
    print_rows(rows, as_json)


def _answer(
    store: "Database",
    run: "Run | None",
    dataset: str,
    split: "Split",
    settings: "RunSettings",
    sessions: "Sequence[Session]",
) -> "Run":
    """Answer what the run has not answered yet, with progress; a new run begins when the student is ready."""
    from kdtui.workflows.evaluate import answer_split
    from kdtui.workflows.generate import SessionAnswered
    from kdtui.workflows.students import open_student
    from store.runs import predictions, start_run

    done = len(predictions(store, run)) if run is not None else 0
    if run is not None and run.finished_at is not None and done >= len(sessions):
        return run
    with open_student(store, dataset, settings) as student, progress_bar() as progress:
        run = run or start_run(store, dataset, split, student.name, settings)
        say(f"run {run.id}: {run.name} on {dataset} {split}, {done:,} of {len(sessions):,} sessions answered")
        task = progress.add_task("sessions", total=len(sessions), completed=done)
        try:
            for event in answer_split(store, run, sessions, student):
                if isinstance(event, SessionAnswered):
                    progress.advance(task)
                    if event.prediction.error is not None:
                        say(f"kdtui: session {event.session.id}: {event.prediction.error}")
        except KeyboardInterrupt:
            say(f"interrupted; what was answered is kept, go on with: kdtui evaluate --resume {run.id}")
            raise
    return run


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
