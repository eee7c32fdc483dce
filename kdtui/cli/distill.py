"""`kdtui knowledge mine` and `distill`: how knowledge is made."""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from kdtui.bundling.text import counted
from kdtui.cli import completion
from kdtui.cli.options import (
    LARGEST,
    DatabaseOption,
    DatasetOption,
    JsonOption,
    chosen_dataset,
    formats_and_output,
    open_store,
)
from kdtui.cli.output import OUTPUTS, Output, print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from kdtui.workflows.consult import Tally
    from kdtui.workflows.distill import Distilled
    from kdtui.workflows.distill_with_model import Job
    from store.records import Format
    from store.sqlite import Database

ANNOTATIONS = "annotations"
"""The teacher without a model."""


def mine(
    dataset: DatasetOption = None,
    level: Annotated[
        list[int] | None,
        typer.Option(
            "--level", help="Category depth to mine; may be given several times (2, 3 and 4).", min=1, metavar="N"
        ),
    ] = None,
    min_support: Annotated[
        float, typer.Option(help="Least share of training bundles that hold a pattern.", min=0, max=1)
    ] = 0.005,
    max_size: Annotated[int, typer.Option(help="Most categories in a pattern.", min=2, max=6)] = 3,
    db: DatabaseOption = None,
) -> None:
    """Mine frequent category patterns from the training bundles.

    Patterns that were mined before, and are not found again, are deleted, from samples too.
    """
    from kdtui.distill.patterns import DEFAULT_LEVELS
    from kdtui.workflows.mine_patterns import mine_patterns

    with open_store(db) as store:
        name = chosen_dataset(store, dataset)
        count = mine_patterns(store, name, levels=level or DEFAULT_LEVELS, min_support=min_support, max_size=max_size)
    say(f"mined {counted(count, 'pattern')} of dataset {name}")


def distill(
    dataset: DatasetOption = None,
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            help="Only this format of knowledge: rule or thought. Or how to print numbers: table, json, csv or "
            "markdown. May be repeated.",
            metavar="FORMAT",
            autocompletion=completion.lists("rule", "thought", *OUTPUTS),
        ),
    ] = None,
    teacher: Annotated[
        str,
        typer.Option(
            help="annotations (those who bundled), an endpoint (URL#MODEL), or a student.",
            metavar="TEACHER",
            autocompletion=completion.names("bases", "annotations", "shipped", "smollm2"),
        ),
    ] = "annotations",
    key: Annotated[
        str, typer.Option(help="The environment variable that holds the key of the endpoint.", metavar="NAME")
    ] = "OPENAI_API_KEY",
    limit: Annotated[
        int | None, typer.Option(help="Only the first N training sessions.", min=1, max=LARGEST, metavar="N")
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Calls under way at a time.", min=1, max=1000)] = 16,
    per_minute: Annotated[
        int | None, typer.Option("--requests-per-minute", help="Calls a minute at most.", min=1, metavar="N")
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(help="Tokens a minute at most, by an estimate.", min=1, metavar="N")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that a call may take.", min=0.1)] = 120.0,
    prompt_price: Annotated[float, typer.Option(help="Of a million tokens of prompts.", min=0)] = 0.0,
    answer_price: Annotated[float, typer.Option(help="Of a million tokens of answers.", min=0)] = 0.0,
    max_calls: Annotated[
        int | None, typer.Option(help="Pay for so many calls at most.", min=0, max=LARGEST, metavar="N")
    ] = None,
    max_cost: Annotated[float | None, typer.Option(help="Pay so much at most, by these prices.", min=0)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would cost.")] = False,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Distil rules and thoughts from the training sessions.

    The annotations are a teacher without a model: rules and thoughts are composed from bundles, intents and
    categories. A model behind an endpoint finds bundles, corrects itself, is shown its errors, and states rules (three
    calls a session); a thought is one call. A student of your own answers the training sessions, and rules are about
    what it got wrong. Every answer is kept as it comes, and is never paid for twice: the same
    command goes on where it was stopped. What is not good enough is kept apart, with the reason: kdtui knowledge ls
    --rejected. What the teacher gave before, and is not found again, is deleted, from samples too; thoughts that were
    paid for stay.
    """
    from kdtui.errors import KdtuiError
    from kdtui.workflows.distill import DISTILLED, distil_annotations
    from kdtui.workflows.model_names import check_address, is_endpoint

    named, told = formats_and_output(format_, as_json, DISTILLED)
    wanted = named or DISTILLED
    with open_store(db) as store:
        name = chosen_dataset(store, dataset)
        if teacher == ANNOTATIONS:
            if dry_run:
                raise KdtuiError("the annotations cost nothing; leave out --dry-run")
            for event in distil_annotations(store, name, wanted, limit):
                _print_distilled(event, name, told)
            return
        if not is_endpoint(teacher):
            if dry_run:
                raise KdtuiError("a model here costs nothing; leave out --dry-run")
            _have_answered(store, name, wanted, teacher, limit, told)
            return
        check_address(teacher)
        from kdtui.workflows.consult import Budget, Prices
        from kdtui.workflows.distill_with_model import Job
        from models.chat_server import Endpoint
        from models.teacher import Pace

        url, _, model = teacher.partition("#")
        job = Job(
            name,
            wanted,
            Endpoint(url, model or None, key),
            Pace(concurrency, per_minute, tokens_per_minute, timeout),
            Prices(prompt_price, answer_price),
            Budget(max_calls, max_cost),
            limit,
        )
        _ask_model(store, job, told, dry_run=dry_run)


def _have_answered(
    store: "Database", dataset: str, wanted: "tuple[Format, ...]", student: str, limit: int | None, output: Output
) -> None:
    """Distil with a model of one's own and show how it goes."""
    from kdtui.workflows.distill import Distilled, training_sessions
    from kdtui.workflows.distill_with_student import distil_with_student
    from kdtui.workflows.generate import SessionAnswered

    with progress_bar() as progress:
        task = progress.add_task("sessions", total=len(training_sessions(store, dataset)[:limit]))
        try:
            for event in distil_with_student(store, dataset, wanted, student, limit):
                if isinstance(event, SessionAnswered):
                    progress.advance(task)
                    if event.prediction.error is not None:
                        say(f"kdtui: session {event.session.id}: {event.prediction.error}")
                elif isinstance(event, Distilled):
                    _print_distilled(event, dataset, output)
        except KeyboardInterrupt:
            say("interrupted; what was answered is kept, and the same command goes on from there")
            raise


def _ask_model(store: "Database", job: "Job", output: Output, *, dry_run: bool) -> None:
    """Distil with a model and show how it goes, or only what it would cost."""
    from dataclasses import asdict

    from kdtui.errors import KdtuiError
    from kdtui.workflows.consult import Tally
    from kdtui.workflows.distill import Distilled
    from kdtui.workflows.distill_with_model import (
        Progress,
        SessionFailed,
        Stopped,
        distil_with_model,
        rehearse,
    )

    if dry_run:
        estimate = rehearse(store, job)
        if output == "json":
            print_json({"estimate": asdict(estimate)})
            return
        print_table(
            ["" if output == "table" else "what", "calls", "prompt tokens", "answer tokens", "cost"],
            [
                ("answered already", estimate.hits, None, None, 0.0),
                ("to be paid", estimate.paid, estimate.prompt_tokens, estimate.completion_tokens, estimate.cost),
            ],
            output=output,
        )
        say("tokens and cost are estimates; nothing has been asked")
        return
    failed = 0
    stopped: str | None = None
    tally = Tally()
    with progress_bar() as progress:
        tasks = {format: progress.add_task(f"{format}s", total=None, start=False) for format in job.formats}
        try:
            # An interrupt may come here, too: what is under way is waited for before anything else.
            with closing(distil_with_model(store, job)) as events:
                for event in events:
                    match event:
                        case Progress(format, sessions, of, tally):
                            progress.start_task(tasks[format])
                            progress.update(
                                tasks[format],
                                total=of,
                                completed=sessions,
                                description=f"{format}s · {_spent(tally)}",
                            )
                        case SessionFailed(format, session, reason):
                            failed += 1
                            say(f"kdtui: session {session}: no {format}s; {reason}")
                        case Stopped(reason, tally):
                            stopped = reason
                        case Distilled():
                            _print_distilled(event, job.dataset, output)
        except KeyboardInterrupt:
            say("interrupted; what was answered is kept, and the same command goes on from there")
            raise
    say(f"calls: {_spent(tally)}")
    if stopped is not None:
        raise KdtuiError(f"stopped: {stopped}; what was answered is kept, and the same command goes on from there")
    if failed:
        raise KdtuiError(f"{counted(failed, 'session')} gave no knowledge")


def _spent(tally: "Tally") -> str:
    """Calls answered from the ledger and paid calls apart, and the cost so far."""
    failed = f", {tally.failed:,} failed" if tally.failed else ""
    return f"{tally.hits:,} answered before, {tally.paid:,} paid{failed}, cost {tally.cost:.4f}"


def _print_distilled(event: "Distilled", dataset: str, output: Output) -> None:
    if output == "json":
        print_json({"dataset": dataset, "format": event.format, "kept": event.kept, "rejected": event.rejected})
        return
    say(f"kept {counted(event.kept, event.format)} of dataset {dataset}, and rejected {event.rejected:,}")
