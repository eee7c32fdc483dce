"""`kdtui evaluate`: how well a student does on a split, beside the floors."""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.bundling.metrics import ANSWERED, EVERY_SESSION, INTENTS, names_intents
from kdtui.bundling.text import counted
from kdtui.cli import completion
from kdtui.cli.options import (
    LARGEST,
    AdapterOption,
    AnswerPriceOption,
    AnswerTokensOption,
    AskedKnowledgeOption,
    BudgetOption,
    ContextOption,
    DatabaseOption,
    DatasetOption,
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
    StudentOption,
    adapters,
    check_seed,
    chosen_dataset,
    chosen_output,
    formats,
    next_command,
    open_store,
)
from kdtui.cli.output import Output, print_gap, print_table, progress_bar, say
from kdtui.cli.student_messages import StudentMessages

if TYPE_CHECKING:
    from kdtui.workflows.evaluate import EvaluateEvent, ResultRow
    from kdtui.workflows.judge import Judge, JudgeEvent
    from kdtui.workflows.judge_here import JudgeHere
    from kdtui.workflows.published import PublishedRow
    from kdtui.workflows.ratings import Ratings
    from kdtui.workflows.scored import Scored
    from store.records import Session
    from store.runs import Run
    from store.sqlite import Database

PublishedOption = Annotated[
    bool,
    typer.Option(
        "--published",
        help="Add what others have published about these sessions: the test splits of Electronic and Clothing, "
        "recognized by their content.",
    ),
]

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
    student: StudentOption = "shipped",
    knowledge: AskedKnowledgeOption = None,
    sample: SampleOption = None,
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

    from kdtui.workflows import evaluate as workflow
    from kdtui.workflows.as_trained import settings_as_trained
    from kdtui.workflows.evaluate import ResultRow
    from kdtui.workflows.floors import Checked, floors_over
    from kdtui.workflows.published import published_results
    from kdtui.workflows.runs import scores_of
    from kdtui.workflows.scored import Scored
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
        rater = _judge(
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
                limit=limit,
                seed=seed,
                context=context,
                strategy=strategy,
                adapters=adapters(adapter),
                sample=sample,
                neighbours=neighbours,
                budget=budget,
                near=near,
            )
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
                ratings, problem = _rated(store, run, sessions, rater)
                result = replace_fields(result, ratings=ratings)
            rows = with_run(rows, run, result)
    print_rows(rows, told)
    if problem is not None:
        raise problem


def _judge(
    store: "Database",
    name: str | None,
    key: str | None,
    prices: tuple[float | None, float | None],
    budget: tuple[int | None, float | None],
    answer_tokens: int | None,
    *,
    retry_failed: bool,
) -> "Judge | JudgeHere | None":
    """The judge that the options name.

    Raises:
        BadParameter: none is named, or it is free, and something is said of its calls.
        KdtuiError: there is no such judge, or the budget could not be kept to.
    """
    from kdtui.workflows.model_names import is_endpoint

    said = {
        "--judge-key": key,
        "--judge-prompt-price": prices[0],
        "--judge-answer-price": prices[1],
        "--max-calls": budget[0],
        "--max-cost": budget[1],
        "--answer-tokens": answer_tokens,
        "--retry-failed": retry_failed or None,
    }
    options = " and ".join(option for option, value in said.items() if value is not None)
    if name is None:
        if options:
            raise typer.BadParameter(f"there is no judge for {options}; name one with --judge")
        return None
    # Imported here: only who has intents rated needs them.
    if not is_endpoint(name):
        from kdtui.workflows.judge_here import judge_here

        if options:
            raise typer.BadParameter(f"{name} is a judge of your own, and costs nothing; leave out {options}")
        return judge_here(store, name)
    from kdtui.workflows.costs import Budget, Prices
    from kdtui.workflows.judge import judge_at

    return judge_at(
        name,
        key or "OPENAI_API_KEY",
        Prices(*prices),
        Budget(*budget),
        answer_tokens=answer_tokens,
        retry_failed=retry_failed,
    )


def _rated(
    store: "Database", run: "Run", sessions: "Collection[Session]", judge: "Judge | JudgeHere"
) -> "tuple[Ratings | None, Exception | None]":
    """What a judge says of a run, with progress, and why not all of its intents are rated; None where all are."""
    from contextlib import closing

    from kdtui.cli.calls import spent
    from kdtui.errors import KdtuiError
    from kdtui.workflows.consult import Tally
    from kdtui.workflows.judge import NotRated, Rated, count_intents
    from kdtui.workflows.ratings import Ratings
    from models.answers import Noted
    from models.errors import ModelError

    ratings, tally = None, Tally()
    with progress_bar() as progress:
        task = progress.add_task("ratings", total=count_intents(store, run, sessions))
        try:
            with closing(_ratings(store, run, sessions, judge)) as events:
                for event in events:
                    match event:
                        case Rated(done, tally):
                            progress.update(task, completed=done, description=f"ratings · {spent(tally)}")
                        case NotRated(session, reason):
                            say(f"kdtui: session {session}: an intent has no rating; {reason}")
                        case Noted():
                            say(f"kdtui: {event.text}")
                        case Ratings():
                            ratings = event
        except KeyboardInterrupt:
            say("interrupted; what the judge answered is kept, and --resume with the same judge goes on from there")
            raise
        except (ModelError, KdtuiError) as error:
            # The scores are there all the same.
            return None, error
    say(f"calls of the judge: {spent(tally)}")
    if ratings is not None and ratings.stopped is not None:
        kept = "what was answered is kept, and --resume with the same judge goes on from there"
        return ratings, KdtuiError(f"stopped rating intents: {ratings.stopped}; {kept}")
    return ratings, None


def _ratings(
    store: "Database", run: "Run", sessions: "Collection[Session]", judge: "Judge | JudgeHere"
) -> "Generator[JudgeEvent]":
    """The events of the one or the other judge."""
    from kdtui.workflows.judge import Judge, rate_intents
    from kdtui.workflows.judge_here import rate_intents_here

    if isinstance(judge, Judge):
        return rate_intents(store, run, sessions, judge)
    return rate_intents_here(store, run, sessions, judge)


def _in_full(store: "Database", run: "Run", row: "ResultRow", sessions: "Collection[Session]") -> "ResultRow":
    """The row of a run, with what a session cost, and the floors of its intents."""
    from dataclasses import replace

    from kdtui.workflows.intent_floors import intent_floors
    from kdtui.workflows.run_costs import costs_of
    from store.runs import summary_of

    return replace(
        row,
        cost=costs_of(store, [summary_of(store, run.id)])[run.id],
        intent_floors=intent_floors(store, run, sessions) if names_intents(row.scores) else {},
    )


def _resumed(store: "Database", number: int, tags: list[str] | tuple[()]) -> "Run":
    """The run to go on with, under these words too. Without any, nothing is written."""
    from store.runs import get_run, tag_run

    return tag_run(store, number, add=tags) if tags else get_run(store, number)


@contextmanager
def progress_of(name: str, sessions: int) -> "Iterator[Callable[[], None]]":
    """Progress through sessions, each of which calls what this yields."""
    with progress_bar() as progress:
        task = progress.add_task(name, total=sessions)
        yield lambda: progress.advance(task)


def _follow(events: "Iterator[EvaluateEvent]", scored: "Scored", db: Path | None) -> "Run | None":
    """Have sessions answered, with progress; the run that they are answered in, if there was anything to do."""
    from kdtui.workflows.command_options import resume_arguments
    from kdtui.workflows.evaluate import NothingAnswered, RunBegun
    from kdtui.workflows.generate import SessionAnswered
    from models.answers import Noted
    from models.errors import ModelError

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


def with_run(
    rows: "Sequence[ResultRow | PublishedRow]", run: "Run", row: "ResultRow"
) -> "list[ResultRow | PublishedRow]":
    """The rows of floors and of others with that of a run: once where the run is one of the floors, which is said."""
    from kdtui.workflows.evaluate import ResultRow, scores_to_json

    for place, other in enumerate(rows):
        if not isinstance(other, ResultRow) or other.name != row.name:
            continue
        # Compared as they are shown: what is no number equals nothing.
        if scores_to_json(other.scores) == scores_to_json(row.scores):
            say(f"run {run.id} answers as the floor {row.name}; the row {row.name} stands for both")
            return [*rows[:place], row, *rows[place + 1 :]]
    # The truth stays the last row: it is what the others are measured by.
    return [*rows[:-1], row, *rows[-1:]]


def print_rows(rows: "Sequence[ResultRow | PublishedRow]", output: Output) -> None:
    """The tables of results; as data, one that has all of the numbers."""
    from kdtui.workflows.intent_cosine import MOST_SESSIONS
    from kdtui.workflows.published import PublishedRow
    from kdtui.workflows.run_costs import NOT_KNOWN

    published = [row for row in rows if isinstance(row, PublishedRow)]
    if output in ("json", "csv"):
        print_table([], [()] * len(rows), output=output, records=_records(rows))
        return
    measured = [row for row in rows if not isinstance(row, PublishedRow)]
    total = measured[0].scores.sessions
    matchable = max(row.scores.intent_bundles for row in measured)
    named = [row for row in measured if names_intents(row.scores)]
    intents = f"intents, over those of {counted(matchable, 'true bundle')} that a predicted one overlaps"
    if any(row.intent_floors for row in measured):
        intents += "; below a run, its own bundles with other names"
    answered = "over the n sessions with a predicted bundle: P, R and cov. are the paper's"
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
        say(f"the cosine of intents is not known: {too_many if total > MOST_SESSIONS else no_encoder}")
    _print_ratings(measured, output)
    _print_costs([row for row in measured if row.cost != NOT_KNOWN], output)
    for tag, source in dict.fromkeys((row.tag, row.source) for row in published):
        say(f"[{tag}] {source}")


def _print_ratings(rows: "Sequence[ResultRow]", output: Output) -> None:
    """What a judge says of intents, where one was asked."""
    from kdtui.distill.judging import BEST_RATING, LEAST_RATING

    judged = [(row.name, row.ratings) for row in rows if row.ratings is not None]
    if not judged:
        return
    cells = [(name, ratings.mean, ratings.n, ratings.failed, ratings.intents) for name, ratings in judged]
    print_table(["", "rating", "n", "failed", "of"], cells, wide=[""], output=output)
    print_gap(output)
    judges = " and ".join(dict.fromkeys(ratings.judge for _, ratings in judged))
    say(f"how well intents name their bundles, from {LEAST_RATING} to {BEST_RATING}, by {judges}")


def _print_costs(rows: "Sequence[ResultRow]", output: Output) -> None:
    """What a session of a run took, as far as it is known."""
    from kdtui.workflows.costs import cost_text
    from kdtui.workflows.run_costs import megabytes

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
    print_table(["", *shown], cells, wide=[""], right=["peak\nmemory", "money"], output=output)
    print_gap(output)
    meters = sorted({row.cost.meters for row in rows if row.cost.meters is not None})
    energy = f"; joules are those of the whole machine, by {' and '.join(meters)}" if meters else ""
    say(f"what a session took; peak memory is that of the process{energy}")


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)


def _records(rows: "Sequence[ResultRow | PublishedRow]") -> "list[dict[str, object]]":
    """The rows as objects; where others' results are among them, each says where it comes from, and where a judge was
    asked, what it said."""
    from kdtui.workflows.published import PublishedRow

    records = [row.to_json() for row in rows]
    if any(isinstance(row, PublishedRow) for row in rows):
        for row, record in zip(rows, records, strict=True):
            record["source"] = row.source if isinstance(row, PublishedRow) else None
    if any(not isinstance(row, PublishedRow) and row.ratings is not None for row in rows):
        for row, record in zip(rows, records, strict=True):
            ratings = None if isinstance(row, PublishedRow) else row.ratings
            record["ratings"] = None if ratings is None else ratings.to_json()
    return records


def _floor_cells(row: "ResultRow | PublishedRow", metrics: "Sequence[str]") -> "Iterator[tuple[object, ...]]":
    """The rows below that of a run: its own bundles with other names."""
    from kdtui.workflows.intent_floors import IN_WORDS
    from kdtui.workflows.published import PublishedRow

    if not isinstance(row, PublishedRow):
        for name, scores in row.intent_floors.items():
            values = {"intent_matched": scores.matched, **scores.to_json()}
            yield (IN_WORDS[name], *(values[metric] for metric in metrics))


def _row_name(row: "ResultRow | PublishedRow") -> str:
    from kdtui.workflows.published import PublishedRow

    return f"{row.name} [{row.tag}]" if isinstance(row, PublishedRow) else row.name


def _values(row: "ResultRow | PublishedRow", metrics: "Sequence[str]") -> "list[object]":
    """The values of a row; None where a result does not report a metric."""
    from kdtui.workflows.published import PublishedRow

    if isinstance(row, PublishedRow):
        return [row.scores.get(metric) for metric in metrics]
    return [getattr(row.scores, metric) for metric in metrics]
