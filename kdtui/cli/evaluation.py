"""An evaluation with its progress and its tables, for `kdtui evaluate` and for trainings that are done."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kdtui.bundling.metrics import has_intent_scores
from kdtui.cli.judging import rate_with_progress
from kdtui.cli.options import next_command
from kdtui.cli.output import Output, progress_bar, say
from kdtui.cli.results import print_rows, progress_of, with_run
from kdtui.cli.student_messages import StudentMessages
from kdtui.text import counted

if TYPE_CHECKING:
    from kdtui.workflows.runs.evaluate import EvaluateEvent, ScoreRow
    from kdtui.workflows.runs.judge import Judge
    from kdtui.workflows.runs.local_judge import LocalJudge
    from kdtui.workflows.runs.published import PublishedRow
    from kdtui.workflows.runs.session_selection import SessionSelection
    from store.records import RunSettings, Session
    from store.runs import Run
    from store.sqlite import Database


def run_evaluation(
    store: "Database",
    selection: "SessionSelection",
    settings: "RunSettings | None",
    tell: StudentMessages,
    *,
    resumed: "Run | None" = None,
    tags: Sequence[str] = (),
    published: bool = False,
    judge: "Judge | LocalJudge | None" = None,
    output: Output = "table",
    database: Path | None = None,
) -> None:
    """Answer sessions, score the answers, and print them next to the floors.

    Args:
        selection: the sessions to answer.
        settings: those of the student; None for the floors only, or with a run to resume.
        tell: shows the messages of the student.
        resumed: a run to resume instead of a new one; its own settings apply.
        tags: those of a new run.
        published: whether to add published results.
        judge: rates the intents of the run; None for no rating.
        output: the format of the tables.
        database: the --db option of this command, for the commands that messages name.

    Raises:
        KdtuiError: there are no published results for these sessions, or not all intents could be rated.
        ModelError: the student cannot be loaded, or fails.
    """
    from dataclasses import replace

    from kdtui.workflows.runs import evaluate as workflow
    from kdtui.workflows.runs.evaluate import ScoreRow
    from kdtui.workflows.runs.floors import CheckedSessions, floors_over
    from kdtui.workflows.runs.published import published_results
    from kdtui.workflows.runs.runs import scores_of
    from store.runs import summary_of

    sessions = selection.sessions(store)
    # Before any session is answered: this may fail.
    others = published_results(store, selection) if published else []
    run, begun = resumed, None
    if resumed is not None:
        begun = _follow(workflow.resume_run(store, resumed, sessions, tell), selection, database)
    elif settings is not None:
        events = workflow.evaluate_split(store, selection.dataset, selection.split, settings, sessions, tags, tell)
        run = begun = _follow(events, selection, database)
    if begun is None and selection.limit is not None:
        say(selection.in_words)
    with progress_of("floors", len(sessions)) as check:
        floors = floors_over(store, selection, check=check)
    problem: Exception | None = None
    rows: Sequence[ScoreRow | PublishedRow] = [*floors[:-1], *others, *floors[-1:]]
    if run is not None:
        with progress_of("scores", len(sessions)) as check:
            result = ScoreRow(run.name, scores_of(store, summary_of(store, run.id), check=check))
        with progress_of("intents", len(sessions)) as check:
            result = _with_costs_and_intent_floors(store, run, result, CheckedSessions(sessions, check))
        if judge is not None:
            ratings, problem = rate_with_progress(store, run, sessions, judge)
            result = replace(result, ratings=ratings)
        rows = with_run(rows, run, result)
    print_rows(rows, output)
    if problem is not None:
        raise problem


def _with_costs_and_intent_floors(
    store: "Database", run: "Run", row: "ScoreRow", sessions: "Collection[Session]"
) -> "ScoreRow":
    from dataclasses import replace

    from kdtui.workflows.runs.costs import costs_of
    from kdtui.workflows.runs.intent_floors import intent_floors
    from store.runs import summary_of

    return replace(
        row,
        cost=costs_of(store, [summary_of(store, run.id)])[run.id],
        intent_floors=intent_floors(store, run, sessions) if has_intent_scores(row.scores) else {},
    )


def _follow(events: "Iterator[EvaluateEvent]", selection: "SessionSelection", database: Path | None) -> "Run | None":
    """Answer the sessions of a run and show the progress.

    Returns:
        the run; None if all of its sessions had an answer before.
    """
    from kdtui.workflows.runs.evaluate import NothingAnswered, RunBegun
    from kdtui.workflows.student.command_options import resume_arguments
    from kdtui.workflows.student.generate import SessionAnswered
    from models.errors import ModelError
    from models.student_protocol import Noted

    run = None
    with progress_bar() as progress:
        task = progress.add_task("sessions", visible=False)
        try:
            for event in events:
                if isinstance(event, RunBegun):
                    run = event.run
                    left = f"{counted(event.sessions - event.answered, 'session')} to answer"
                    before = f", {event.answered:,} answered before" if event.answered else ""
                    say(f"run {run.id}: {run.name} on {run.dataset} {run.split}, {left}{before}")
                    if selection.limit is not None:
                        say(selection.in_words)
                    progress.update(task, total=event.sessions, completed=event.answered, visible=True)
                elif isinstance(event, Noted):
                    say(f"kdtui: {event.text}")
                elif isinstance(event, SessionAnswered):
                    progress.advance(task)
                    if event.prediction.error is not None:
                        say(f"kdtui: session {event.session.id}: {event.prediction.error}")
        except KeyboardInterrupt:
            if run is not None:
                again = next_command(*resume_arguments(run.id), database=database)
                say(f"interrupted; finished answers are kept, resume with: {again}")
            raise
        except ModelError as error:
            if run is None or isinstance(error, NothingAnswered):
                raise
            again = next_command(*resume_arguments(run.id), database=database)
            raise ModelError(f"{error}; finished answers are kept, resume with: {again}") from error
    return run
