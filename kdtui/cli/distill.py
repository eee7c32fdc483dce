"""`kdtui knowledge mine` and `distill`: how knowledge is made."""

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from kdtui.bundling.subset import subset_in_words
from kdtui.cli import completion
from kdtui.cli.calls import spent
from kdtui.cli.options import (
    LARGEST,
    AnswerPriceOption,
    AnswerTokensOption,
    DatabaseOption,
    DatasetOption,
    JsonOption,
    MaxCostOption,
    PromptPriceOption,
    RetryFailedOption,
    SeedOption,
    SessionsOption,
    check_seed,
    chosen_dataset,
    finite,
    formats,
    formats_and_output,
    open_store,
)
from kdtui.cli.output import OUTPUTS, Output, print_json, print_table, progress_bar, say
from kdtui.text import counted

if TYPE_CHECKING:
    from kdtui.workflows.knowledge.distill_with_model import DistillationRequest
    from kdtui.workflows.knowledge.findings import Distilled, Loss
    from store.records import Format
    from store.sqlite import Database

ANNOTATIONS = "annotations"
"""The teacher without a model."""

ReplaceOption = Annotated[
    bool | None,
    typer.Option(
        "--replace/--keep",
        help="Delete what was found before and is not found again, or keep it. Without either, you are asked in a "
        "terminal, and elsewhere it is kept.",
        show_default=False,
    ),
]


def mine(
    dataset: DatasetOption = None,
    level: Annotated[
        list[int] | None,
        typer.Option(
            "--level", help="Category depth to mine; may be given several times (2, 3 and 4).", min=1, metavar="N"
        ),
    ] = None,
    min_support: Annotated[
        float,
        typer.Option(help="Least share of training bundles that hold a pattern.", min=0, max=1, callback=finite),
    ] = 0.005,
    max_size: Annotated[int, typer.Option(help="Most categories in a pattern.", min=2, max=6)] = 3,
    replace: ReplaceOption = None,
    db: DatabaseOption = None,
) -> None:
    """Mine frequent category patterns from the training bundles.

    They are stored beside those that were mined before. These stay where they are not found again, unless you have them
    deleted, from samples too. Imported patterns always stay.
    """
    from kdtui.workflows.knowledge.findings import loss_by, store_findings
    from kdtui.workflows.knowledge.mine_patterns import find_patterns

    with open_store(db) as store:
        name = chosen_dataset(store, dataset)
        findings = find_patterns(store, name, levels=level, min_support=min_support, max_size=max_size)
        agreed = _may_replace(loss_by(store, findings), replace)
        [mined] = store_findings(store, findings, replace=agreed)
    say(f"mined {counted(mined.kept, 'pattern')} of dataset {name} ({mined.renewal.new:,} new)")
    _tell_aftermath(mined, replace)


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
    limit: SessionsOption = None,
    seed: SeedOption = None,
    concurrency: Annotated[int, typer.Option(help="Calls under way at a time.", min=1, max=1000)] = 16,
    per_minute: Annotated[
        int | None,
        typer.Option("--requests-per-minute", help="Calls a minute at most.", min=1, max=LARGEST, metavar="N"),
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(help="Tokens a minute at most, by an estimate.", min=1, max=LARGEST, metavar="N")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that a call may take.", min=0.1, callback=finite)] = 120.0,
    prompt_price: PromptPriceOption = None,
    answer_price: AnswerPriceOption = None,
    max_calls: Annotated[
        int | None,
        typer.Option(
            help="Pay for so many calls at most, about sessions drawn by chance.", min=0, max=LARGEST, metavar="N"
        ),
    ] = None,
    max_cost: MaxCostOption = None,
    answer_tokens: AnswerTokensOption = None,
    retry_failed: RetryFailedOption = False,
    replace: ReplaceOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would cost.")] = False,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Distil rules and thoughts from the training sessions.

    The annotations are a teacher without a model: rules and thoughts are composed from bundles, intents and
    categories. A model behind an endpoint finds bundles, corrects itself, is shown its errors, and states rules (three
    calls a session); a thought is one call. A student of your own answers the training sessions, and rules are about
    what it got wrong. Every answer is kept as it comes, and is never paid for twice: the same command goes on where it
    was stopped, and asks again for an answer that was of no use with --retry-failed only. What is not good enough is
    kept apart, with the reason: kdtui knowledge ls --rejected.

    What is found is stored beside what the teacher gave before. That stays where it is not found again, unless you have
    it deleted, from samples too. What was imported, and thoughts from an endpoint, always stay; and so does all where
    nothing was found to take its place, or not all sessions gave an answer.
    """
    from kdtui.errors import KdtuiError
    from kdtui.workflows.knowledge.distill import DISTILLED, compose_findings
    from kdtui.workflows.knowledge.findings import loss_by, store_findings
    from kdtui.workflows.model_names import check_address, check_student, is_endpoint
    from store.sessions import split_size

    if any("pattern" in formats(value) for value in format_ or ()):
        raise KdtuiError("patterns are mined, with kdtui knowledge mine; of what is distilled there are: rule, thought")
    named, told = formats_and_output(format_, as_json, DISTILLED)
    wanted = named or DISTILLED
    # A budget, too, takes some of the sessions.
    drawn_by = check_seed(1 if limit is None and (max_calls is not None or max_cost is not None) else limit, seed)
    with open_store(db) as store:
        name = chosen_dataset(store, dataset)
        if limit is not None:
            size = split_size(store, name, "train")
            say(f"from {subset_in_words('train', min(limit, size), size, drawn_by)}")
        if teacher == ANNOTATIONS:
            if dry_run:
                raise KdtuiError("the annotations cost nothing; leave out --dry-run")
            findings = compose_findings(store, name, wanted, limit, drawn_by)
            agreed = _may_replace(loss_by(store, findings), replace)
            for event in store_findings(store, findings, replace=agreed):
                _print_distilled(event, name, told, replace)
            return
        if not is_endpoint(teacher):
            if dry_run:
                check_student(store, teacher)
                raise KdtuiError(f"{teacher} is a student of your own, and costs nothing; leave out --dry-run")
            _have_answered(store, name, wanted, teacher, limit, drawn_by, told, replace)
            return
        check_address(teacher)
        from kdtui.workflows.calls.costs import Budget, Prices
        from kdtui.workflows.knowledge.distill_with_model import DistillationRequest
        from models.endpoint.chat_server import Endpoint
        from models.endpoint.teacher import Pace

        url, _, model = teacher.partition("#")
        job = DistillationRequest(
            name,
            wanted,
            Endpoint(url, model or None, key),
            Pace(concurrency, per_minute, tokens_per_minute, timeout),
            Prices(prompt_price, answer_price),
            Budget(max_calls, max_cost),
            limit,
            answer_tokens,
            retry_failed,
            seed=drawn_by,
        )
        _ask_model(store, job, told, replace, dry_run=dry_run)


def _may_replace(loss: "Loss", option: bool | None) -> bool:
    """Whether what is found may take the place of what is there; asked in a terminal, where nothing is said.

    Args:
        loss: what would go.
    """
    if option is False or not loss:
        return bool(option)
    if option:
        say(loss.sentence)
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return typer.confirm(f"{loss.sentence} Go ahead?", err=True)


def _have_answered(
    store: "Database",
    dataset: str,
    wanted: "tuple[Format, ...]",
    student: str,
    limit: int | None,
    seed: int,
    output: Output,
    replace: bool | None,
) -> None:
    """Distil with a model of one's own and show how it goes."""
    from kdtui.workflows.knowledge.distill import training_sessions
    from kdtui.workflows.knowledge.distill_with_student import distil_with_student, student_as_teacher
    from kdtui.workflows.knowledge.findings import Distilled, largest_loss
    from kdtui.workflows.student.generate import SessionAnswered
    from models.student_protocol import Noted

    # Asked before: nobody may be there any more when it has answered.
    loss = largest_loss(store, dataset, wanted, student_as_teacher(store, dataset, student))
    agreed = _may_replace(loss, replace)
    with progress_bar() as progress:
        task = progress.add_task("sessions", total=len(training_sessions(store, dataset, limit, seed)))
        try:
            for event in distil_with_student(store, dataset, wanted, student, limit, seed, replace=agreed):
                if isinstance(event, SessionAnswered):
                    progress.advance(task)
                    if event.prediction.error is not None:
                        say(f"kdtui: session {event.session.id}: {event.prediction.error}")
                elif isinstance(event, Noted):
                    say(f"kdtui: {event.text}")
                elif isinstance(event, Distilled):
                    _print_distilled(event, dataset, output, replace)
        except KeyboardInterrupt:
            say("interrupted; what was answered is kept, and the same command goes on from there")
            raise


def _ask_model(
    store: "Database", job: "DistillationRequest", output: Output, replace: bool | None, *, dry_run: bool
) -> None:
    """Distil with a model and show how it goes, or only what it would cost."""
    from dataclasses import asdict
    from dataclasses import replace as changed

    from kdtui.errors import KdtuiError
    from kdtui.workflows.calls.asker import Tally
    from kdtui.workflows.calls.costs import cost_text
    from kdtui.workflows.knowledge.distill_with_model import (
        DistillProgress,
        DistillStopped,
        SessionFailed,
        distil_with_model,
        model_as_teacher,
        rehearse,
    )
    from kdtui.workflows.knowledge.findings import Distilled, largest_loss
    from models.student_protocol import Noted

    if dry_run:
        estimate = rehearse(store, job)
        if output == "json":
            print_json({"estimate": asdict(estimate)})
            return
        print_table(
            ["" if output == "table" else "what", "calls", "prompt tokens", "answer tokens", "cost", "at most"],
            [
                ("answered already", estimate.hits, None, None, None, None),
                (
                    "to be paid",
                    estimate.paid,
                    estimate.prompt_tokens,
                    estimate.completion_tokens,
                    cost_text(estimate.cost),
                    cost_text(estimate.most_cost),
                ),
            ],
            right=["cost", "at most"],
            output=output,
        )
        say(
            "nothing has been asked; tokens and cost are estimates, and at most that is paid if each answer is as long "
            "as it may be"
        )
        if not job.prices.are_known:
            say("the cost is unknown: no prices were given, with --prompt-price and --answer-price")
        _say_what_is_free(job)
        return
    if "rule" in job.formats:
        # Asked before: nobody may be there any more when it has answered.
        loss = largest_loss(store, job.dataset, ["rule"], model_as_teacher(job))
        job = changed(job, replace=_may_replace(loss, replace))
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
                        case DistillProgress(format, sessions, of, tally):
                            progress.start_task(tasks[format])
                            progress.update(
                                tasks[format],
                                total=of,
                                completed=sessions,
                                description=f"{format}s · {spent(tally)}",
                            )
                        case SessionFailed(format, session, reason):
                            failed += 1
                            say(f"kdtui: session {session}: no {format}s; {reason}")
                        case DistillStopped(reason, tally):
                            stopped = reason
                        case Noted():
                            say(f"kdtui: {event.text}")
                        case Distilled():
                            _print_distilled(event, job.dataset, output, replace)
        except KeyboardInterrupt:
            say("interrupted; what was answered is kept, and the same command goes on from there")
            raise
    say(f"calls: {spent(tally)}")
    _say_what_is_free(job)
    if stopped is not None:
        raise KdtuiError(f"stopped: {stopped}; what was answered is kept, and the same command goes on from there")
    if failed:
        raise KdtuiError(f"{counted(failed, 'session')} gave no knowledge")


def _say_what_is_free(job: "DistillationRequest") -> None:
    """A price that was left out beside the other may have been forgotten."""
    prices = job.prices
    if prices.are_known and None in (prices.prompt, prices.completion):
        left_out = "--prompt-price" if prices.prompt is None else "--answer-price"
        say(f"{left_out} was not given, and counts as 0")


def _print_distilled(event: "Distilled", dataset: str, output: Output, replace: bool | None) -> None:
    renewal = event.renewal
    if output == "json":
        print_json(
            {
                "dataset": dataset,
                "format": event.format,
                "kept": event.kept,
                "rejected": event.rejected,
                "new": renewal.new,
                "not_found_again": len(renewal.missing),
                "worse": len(renewal.worse),
                "better": renewal.better,
                "replaced": event.is_replaced,
            }
        )
    else:
        say(
            f"kept {counted(event.kept, event.format)} of dataset {dataset}, and rejected {event.rejected:,} "
            f"({renewal.new:,} new)"
        )
    _tell_aftermath(event, replace)


def _tell_aftermath(event: "Distilled", replace: bool | None) -> None:
    """Say what became of what was there before and was not found again."""
    if aftermath := event.aftermath:
        renewal = event.renewal
        can_go = renewal.lost and event.is_whole and renewal.can_replace and not event.is_replaced and replace is None
        say(f"{event.format}s: {aftermath}" + (" (--replace deletes them)" if can_go else ""))
