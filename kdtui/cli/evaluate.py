"""`kdtui evaluate`: score a student on a split, next to the floors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.cli import completion
from kdtui.cli.evaluation import run_evaluation
from kdtui.cli.judging import chosen_judge
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
    open_store,
)
from kdtui.cli.results import PublishedOption
from kdtui.cli.student_messages import StudentMessages, say_default

if TYPE_CHECKING:
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
            help="Resume this run with its own settings; other settings are ignored.",
            metavar="RUN",
            max=LARGEST,
            autocompletion=completion.names("runs"),
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Tag the run; may be repeated. kdtui run ls --tag WORD lists it.", metavar="WORD"),
    ] = None,
    floors_only: Annotated[
        bool, typer.Option("--floors-only", help="Score only the floors, without a student.")
    ] = False,
    published: PublishedOption = False,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            help="Let this model rate each intent from 1 to 5: an endpoint (URL#MODEL), a name from kdtui model ls, or "
            "a GGUF file.",
            metavar="JUDGE",
            autocompletion=completion.names("bases", "smollm2"),
        ),
    ] = None,
    judge_key: Annotated[
        str | None,
        typer.Option(
            "--judge-key",
            help="Environment variable with the API key of the judge (OPENAI_API_KEY).",
            metavar="NAME",
        ),
    ] = None,
    judge_prompt_price: Annotated[
        float | None,
        typer.Option("--judge-prompt-price", help="Like --prompt-price, for the judge.", min=0, metavar="PRICE"),
    ] = None,
    judge_answer_price: Annotated[
        float | None,
        typer.Option("--judge-answer-price", help="Like --answer-price, for the judge.", min=0, metavar="PRICE"),
    ] = None,
    max_calls: MaxCallsOption = None,
    max_cost: MaxCostOption = None,
    answer_tokens: AnswerTokensOption = None,
    retry_failed: RetryFailedOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Answer a split and score the answers: strict metrics over all sessions, and the paper's metrics over n of them.

    n is the number of sessions with a predicted bundle. Each answer is stored at once; --resume continues an
    interrupted run. Intents are compared with those that people wrote, by words and by a sentence encoder (cosine).
    Two more rows score the same bundles with other intents: the category that the products share, and the intent of
    the nearest training bundle. The last table has the costs of a session, as far as they are known.

    --judge lets a model rate the intents; with --resume, those of a finished run. Each call to it is stored and paid
    for once. --max-calls, --max-cost, --answer-tokens and --retry-failed apply to these calls.
    """
    from msgspec.structs import replace

    from kdtui.workflows.runs.session_selection import SessionSelection
    from kdtui.workflows.student.as_trained import settings_as_trained

    printed_as = chosen_output(output, as_json)
    if floors_only and resume is not None:
        raise typer.BadParameter("--resume is about a run, and --floors-only makes none")
    if floors_only and tag:
        raise typer.BadParameter("--tag is about a run, and --floors-only makes none")
    if floors_only and judge is not None:
        raise typer.BadParameter("--judge rates the intents of a run, and --floors-only makes none")
    draw_seed: int | None = check_seed(limit, seed)
    with open_store(database) as store, StudentMessages() as tell:
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
            dataset, split, limit, draw_seed = run.dataset, run.split, run.settings.limit, run.settings.seed
        name = chosen_dataset(store, dataset)
        selection = SessionSelection.among(store, name, split, limit, draw_seed)
        settings = None
        if run is None and not floors_only:
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
            settings = replace(settings, prompt_price=prompt_price, answer_price=answer_price)
            if student is None and adapter is None:
                say_default(settings, name)
        run_evaluation(
            store,
            selection,
            settings,
            tell,
            resumed=run,
            tags=tag or (),
            published=published,
            judge=rater,
            output=printed_as,
            database=database,
        )


def _resumed(store: "Database", number: int, tags: Sequence[str]) -> "Run":
    """Return the run to resume, and add tags to it if there are any."""
    from store.runs import get_run, tag_run

    return tag_run(store, number, add=tags) if tags else get_run(store, number)
