"""`kdtui evaluate`: how well a student does on a split, beside the floors."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.bundling.metrics import has_intent_scores
from kdtui.cli import completion
from kdtui.cli.judging import chosen_judge, rated
from kdtui.cli.options import (
    LARGEST,
    AdapterOption,
    AnswerPriceOption,
    AnswerTokensOption,
    AskedKnowledgeOption,
    AskedStudentOption,
    BudgetOption,
    ContextOption,
    DatabaseOption,
    DatasetOption,
    DomainsOption,
    JsonOption,
    MaxCallsOption,
    MaxCostOption,
    NearOption,
    NeighboursOption,
    OutputOption,
    PromptPriceOption,
    RetryFailedOption,
    SampleOption,
    SeedOption,
    SessionsOption,
    StrategyOption,
    adapters,
    check_seed,
    chosen_dataset,
    chosen_output,
    formats,
    next_command,
    open_store,
)
from kdtui.cli.output import progress_bar, say
from kdtui.cli.results import PublishedOption, print_rows, progress_of, with_run
from kdtui.cli.student_messages import StudentMessages, say_default
from kdtui.text import counted

if TYPE_CHECKING:
    from kdtui.workflows.runs.evaluate import EvaluateEvent, ResultRow
    from kdtui.workflows.runs.published import PublishedRow
    from kdtui.workflows.runs.scored import Scored
    from store.records import Session
    from store.runs import Run
    from store.sqlite import Database

EXAMPLES = [
    "kdtui evaluate --dataset electronic --limit 20",
    "kdtui evaluate --dataset electronic --floors-only --format csv",
    "kdtui evaluate --dataset electronic --published",
    "kdtui evaluate --resume 3",
    "kdtui evaluate --resume 3 --judge https://HOST/v1#MODEL --max-calls 100",
]


def evaluate(
    dataset: DatasetOption = None,
    split: Annotated[Literal["train", "valid", "test"], typer.Option(help="Split to answer and score.")] = "test",
    student: AskedStudentOption = None,
    knowledge: AskedKnowledgeOption = None,
    sample: SampleOption = None,
    domains: DomainsOption = "own",
    neighbours: NeighboursOption = None,
    near: NearOption = None,
    budget: BudgetOption = None,
    strategy: StrategyOption = None,
    adapter: AdapterOption = None,
    context: ContextOption = None,
    limit: SessionsOption = None,
    seed: SeedOption = None,
    prompt_price: PromptPriceOption = None,
    answer_price: AnswerPriceOption = None,
    resume: Annotated[
        int | None,
        typer.Option(
            help="Go on with this run; its settings count, not those given here.",
            metavar="RUN",
            max=LARGEST,
            autocompletion=completion.names("runs"),
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "--tag", help="Put the run under this word; may be repeated. See kdtui run ls --tag.", metavar="WORD"
        ),
    ] = None,
    floors_only: Annotated[bool, typer.Option("--floors-only", help="Only the rows that need no student.")] = False,
    published: PublishedOption = False,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            help="Have a model rate each intent of the run from 1 to 5: an endpoint (URL#MODEL), a name that kdtui "
            "model ls shows, or a GGUF file. Each call is kept, and paid for once.",
            metavar="TEACHER",
            autocompletion=completion.names("bases", "smollm2"),
        ),
    ] = None,
    judge_key: Annotated[
        str | None,
        typer.Option(
            "--judge-key",
            help="The environment variable that holds the key of the judge (OPENAI_API_KEY).",
            metavar="NAME",
        ),
    ] = None,
    judge_prompt_price: Annotated[
        float | None,
        typer.Option("--judge-prompt-price", help="As --prompt-price, of the judge.", min=0, metavar="PRICE"),
    ] = None,
    judge_answer_price: Annotated[
        float | None,
        typer.Option("--judge-answer-price", help="As --answer-price, of the judge.", min=0, metavar="PRICE"),
    ] = None,
    max_calls: MaxCallsOption = None,
    max_cost: MaxCostOption = None,
    answer_tokens: AnswerTokensOption = None,
    retry_failed: RetryFailedOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Answer a split and score it: the paper's metrics over n sessions, and strict metrics over all.

    Every answer is kept as it comes; an interrupted run goes on with --resume. Intents are compared with those of
    people by their words, and by a sentence encoder (cosine). Below them stands what the run's own bundles are worth
    with other names: the category that the products share, and the intent of the nearest training bundle. What a
    session took stands last; what is not known is left out.

    --judge has a model rate the intents; --max-calls, --max-cost, --answer-tokens and --retry-failed are about its
    calls. With --resume it rates those of a run that is finished.
    """
    from dataclasses import replace as replace_fields

    from msgspec.structs import replace

    from kdtui.workflows.runs import evaluate as workflow
    from kdtui.workflows.runs.evaluate import ResultRow
    from kdtui.workflows.runs.floors import Checked, floors_over
    from kdtui.workflows.runs.published import published_results
    from kdtui.workflows.runs.runs import scores_of
    from kdtui.workflows.runs.scored import Scored
    from kdtui.workflows.student.as_trained import settings_as_trained
    from store.runs import summary_of

    told = chosen_output(output, as_json)
    if floors_only and resume is not None:
        raise typer.BadParameter("--resume goes on with a student's run, and --floors-only has none")
    if floors_only and tag:
        raise typer.BadParameter("--tag is about a run, and --floors-only makes none")
    if floors_only and judge is not None:
        raise typer.BadParameter("--judge rates the intents of a run, and --floors-only makes none")
    drawn_by: int | None = check_seed(limit, seed)
    with open_store(db) as store, StudentMessages() as tell:
        rater = chosen_judge(
            store,
            judge,
            judge_key,
            (judge_prompt_price, judge_answer_price),
            (max_calls, max_cost),
            answer_tokens,
            retry_failed=retry_failed,
        )
        run = _resumed(store, resume, tag or ()) if resume is not None else None
        if run is not None:
            dataset, split, limit, drawn_by = run.dataset, run.split, run.settings.limit, run.settings.seed
        name = chosen_dataset(store, dataset)
        scored = Scored.among(store, name, split, limit, drawn_by)
        sessions = scored.sessions(store)
        # Before anything is answered: there may be none.
        others = published_results(store, scored) if published else []
        begun = None
        if run is not None:
            begun = _follow(workflow.resume(store, run, sessions, tell), scored, db)
        elif not floors_only:
            settings = settings_as_trained(
                store,
                student,
                None if knowledge is None else formats(knowledge),
                dataset=name,
                limit=limit,
                seed=seed,
                context=context,
                strategy=strategy,
                adapters=adapters(adapter),
                sample=sample,
                domains=domains,
                neighbours=neighbours,
                budget=budget,
                near=near,
            )
            if student is None and adapter is None:
                say_default(settings, name)
            settings = replace(settings, prompt_price=prompt_price, answer_price=answer_price)
            run = begun = _follow(
                workflow.evaluate(store, name, split, settings, sessions, tag or (), tell), scored, db
            )
        if begun is None and scored.limit is not None:
            say(scored.in_words)
        with progress_of("floors", len(sessions)) as check:
            floors = floors_over(store, scored, check=check)
        problem: Exception | None = None
        rows: Sequence[ResultRow | PublishedRow] = [*floors[:-1], *others, *floors[-1:]]
        if run is not None:
            with progress_of("scores", len(sessions)) as check:
                result = ResultRow(run.name, scores_of(store, summary_of(store, run.id), check=check))
            with progress_of("intents", len(sessions)) as check:
                result = _in_full(store, run, result, Checked(sessions, check))
            if rater is not None:
                ratings, problem = rated(store, run, sessions, rater)
                result = replace_fields(result, ratings=ratings)
            rows = with_run(rows, run, result)
    print_rows(rows, told)
    if problem is not None:
        raise problem


def _in_full(store: "Database", run: "Run", row: "ResultRow", sessions: "Collection[Session]") -> "ResultRow":
    """The row of a run, with what a session cost, and the floors of its intents."""
    from dataclasses import replace

    from kdtui.workflows.runs.costs import costs_of
    from kdtui.workflows.runs.intent_floors import intent_floors
    from store.runs import summary_of

    return replace(
        row,
        cost=costs_of(store, [summary_of(store, run.id)])[run.id],
        intent_floors=intent_floors(store, run, sessions) if has_intent_scores(row.scores) else {},
    )


def _resumed(store: "Database", number: int, tags: list[str] | tuple[()]) -> "Run":
    """The run to go on with, under these words too. Without any, nothing is written."""
    from store.runs import get_run, tag_run

    return tag_run(store, number, add=tags) if tags else get_run(store, number)


def _follow(events: "Iterator[EvaluateEvent]", scored: "Scored", db: Path | None) -> "Run | None":
    """Have sessions answered, with progress; the run that they are answered in, if there was anything to do."""
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
                    if scored.limit is not None:
                        say(scored.in_words)
                    progress.update(task, total=event.sessions, completed=event.answered, visible=True)
                elif isinstance(event, Noted):
                    say(f"kdtui: {event.text}")
                elif isinstance(event, SessionAnswered):
                    progress.advance(task)
                    if event.prediction.error is not None:
                        say(f"kdtui: session {event.session.id}: {event.prediction.error}")
        except KeyboardInterrupt:
            if run is not None:
                again = next_command(*resume_arguments(run.id), db=db)
                say(f"interrupted; what was answered is kept, go on with: {again}")
            raise
        except ModelError as error:
            if run is None or isinstance(error, NothingAnswered):
                raise
            resumed = f"go on with: {next_command(*resume_arguments(run.id), db=db)}"
            raise ModelError(f"{error}; what was answered is kept, {resumed}") from error
    return run
