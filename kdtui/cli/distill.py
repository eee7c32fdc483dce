"""`kdtui knowledge mine` and `distill`: make knowledge from training sessions."""

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from kdtui.bundling.subset import subset_in_words
from kdtui.cli import completion
from kdtui.cli.calls import tally_in_words
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
    from kdtui.workflows.knowledge.distillation_plan import DistillationPlan
    from kdtui.workflows.knowledge.findings import Distilled, LostPieces
    from store.records import Format
    from store.sqlite import Database

ANNOTATIONS = "annotations"
"""The teacher without a model."""

ReplaceOption = Annotated[
    bool | None,
    typer.Option(
        "--replace/--keep",
        help="Delete or keep earlier pieces that are not found again. By default kdtui asks in a terminal, and keeps "
        "them otherwise.",
        show_default=False,
    ),
]


def mine(
    dataset: DatasetOption = None,
    level: Annotated[
        list[int] | None,
        typer.Option("--level", help="Category level to mine; may be repeated (2, 3 and 4).", min=1, metavar="N"),
    ] = None,
    min_support: Annotated[
        float,
        typer.Option(help="Minimum share of training bundles that contain a pattern.", min=0, max=1, callback=finite),
    ] = 0.005,
    max_size: Annotated[int, typer.Option(help="Maximum number of categories in a pattern.", min=2, max=6)] = 3,
    replace: ReplaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Mine frequent category patterns from the training bundles.

    New patterns are added to those mined before. Earlier patterns that are not found again stay, unless you let kdtui
    delete them, from samples too. Imported patterns always stay.
    """
    from kdtui.workflows.knowledge.findings import loss_by, store_findings
    from kdtui.workflows.knowledge.mine_patterns import find_patterns

    with open_store(database) as store:
        name = chosen_dataset(store, dataset)
        findings = find_patterns(store, name, levels=level, min_support=min_support, max_size=max_size)
        agreed = _may_replace(loss_by(store, findings), replace)
        [mined] = store_findings(store, findings, replace=agreed)
    say(f"mined {counted(mined.kept, 'pattern')} of dataset {name} ({mined.renewal.new:,} new)")
    _say_aftermath(mined, replace)


def distill(
    dataset: DatasetOption = None,
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            help="Only this format of knowledge (rule, thought), or the output format (table, json, csv, markdown); "
            "may be repeated.",
            metavar="FORMAT",
            autocompletion=completion.several_of("rule", "thought", *OUTPUTS),
        ),
    ] = None,
    teacher: Annotated[
        str,
        typer.Option(
            help="annotations (the bundles that people made), an endpoint (URL#MODEL), or a student.",
            metavar="TEACHER",
            autocompletion=completion.names("bases", "annotations", "shipped", "smollm2"),
        ),
    ] = "annotations",
    key: Annotated[
        str, typer.Option(help="Environment variable with the API key of the endpoint.", metavar="NAME")
    ] = "OPENAI_API_KEY",
    limit: SessionsOption = None,
    seed: SeedOption = None,
    concurrency: Annotated[
        int, typer.Option(help="Maximum number of calls in progress at a time.", min=1, max=1000)
    ] = 16,
    per_minute: Annotated[
        int | None,
        typer.Option("--requests-per-minute", help="Maximum calls per minute.", min=1, max=LARGEST, metavar="N"),
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(help="Maximum tokens per minute, estimated.", min=1, max=LARGEST, metavar="N")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.", min=0.1, callback=finite)] = 120.0,
    prompt_price: PromptPriceOption = None,
    answer_price: AnswerPriceOption = None,
    max_calls: Annotated[
        int | None,
        typer.Option(help="Pay for at most N calls, about sessions drawn at random.", min=0, max=LARGEST, metavar="N"),
    ] = None,
    max_cost: MaxCostOption = None,
    answer_tokens: AnswerTokensOption = None,
    retry_failed: RetryFailedOption = False,
    replace: ReplaceOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print an estimate of the calls and their cost.")
    ] = False,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Distil rules and thoughts from the training sessions.

    The annotations (the default teacher) need no model: rules and thoughts are composed from the bundles that people
    made, their intents and the categories. An endpoint takes three calls a session for rules (it finds bundles,
    corrects itself, and states rules from its errors) and one for a thought. A student answers the training sessions;
    rules come from its errors.

    Each answer is stored at once and paid for only once: after an interrupt, the same command resumes. Calls without a
    usable answer are repeated only with --retry-failed. Pieces that are not good enough are stored as rejected, with
    the reason: kdtui knowledge ls --rejected.

    New pieces are added to the earlier ones. Earlier pieces that are not found again stay, unless you let kdtui delete
    them, from samples too. Imported pieces, and thoughts from an endpoint, always stay. If nothing was found, or some
    sessions have no answer, nothing is deleted.
    """
    from kdtui.errors import KdtuiError
    from kdtui.workflows.knowledge.distill import DISTILLED, compose_findings
    from kdtui.workflows.knowledge.findings import loss_by, store_findings
    from kdtui.workflows.model_names import check_address, check_student, is_endpoint
    from store.sessions import split_size

    if any("pattern" in formats(value) for value in format_ or ()):
        raise KdtuiError("patterns are mined, with kdtui knowledge mine; distill makes: rule, thought")
    named, printed_as = formats_and_output(format_, as_json, DISTILLED)
    chosen_formats = named or DISTILLED
    # A budget draws sessions too, so --seed is valid with it.
    draw_seed = check_seed(1 if limit is None and (max_calls is not None or max_cost is not None) else limit, seed)
    with open_store(database) as store:
        name = chosen_dataset(store, dataset)
        if limit is not None:
            size = split_size(store, name, "train")
            say(f"from {subset_in_words('train', min(limit, size), size, draw_seed)}")
        if teacher == ANNOTATIONS:
            if dry_run:
                raise KdtuiError("the annotations cost nothing; leave out --dry-run")
            findings = compose_findings(store, name, chosen_formats, limit, draw_seed)
            agreed = _may_replace(loss_by(store, findings), replace)
            for event in store_findings(store, findings, replace=agreed):
                _print_distilled(event, name, printed_as, replace)
            return
        if not is_endpoint(teacher):
            if dry_run:
                check_student(store, teacher)
                raise KdtuiError(f"{teacher} runs on this machine and costs nothing; leave out --dry-run")
            _distill_with_student(store, name, chosen_formats, teacher, limit, draw_seed, printed_as, replace)
            return
        check_address(teacher)
        from kdtui.workflows.calls.costs import Budget, Prices
        from kdtui.workflows.knowledge.distillation_plan import DistillationPlan
        from models.endpoint.chat_server import Endpoint
        from models.endpoint.teacher import RequestLimits

        url, _, model = teacher.partition("#")
        plan = DistillationPlan(
            name,
            chosen_formats,
            Endpoint(url, model or None, key),
            RequestLimits(concurrency, per_minute, tokens_per_minute, timeout),
            Prices(prompt_price, answer_price),
            Budget(max_calls, max_cost),
            limit,
            answer_tokens,
            retry_failed,
            seed=draw_seed,
        )
        _distill_with_endpoint(store, plan, printed_as, replace, dry_run=dry_run)


def _may_replace(loss: "LostPieces", option: bool | None) -> bool:
    """Tell whether earlier pieces may be deleted; ask in a terminal if the option is missing.

    Args:
        loss: the pieces to delete.
        option: the value of --replace/--keep; None if it is missing.
    """
    if option is False or not loss:
        return bool(option)
    if option:
        say(loss.sentence)
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return typer.confirm(f"{loss.sentence} Go ahead?", err=True)


def _distill_with_student(
    store: "Database",
    dataset: str,
    chosen_formats: "tuple[Format, ...]",
    student: str,
    limit: int | None,
    seed: int,
    output: Output,
    replace: bool | None,
) -> None:
    """Distil with a student on this machine and show the progress."""
    from kdtui.workflows.knowledge.distill import training_sessions
    from kdtui.workflows.knowledge.distill_with_student import distill_with_student, student_as_teacher
    from kdtui.workflows.knowledge.findings import Distilled, possible_loss
    from kdtui.workflows.student.generate import SessionAnswered
    from models.student_protocol import Noted

    # Ask the user before the long work, not after it.
    loss = possible_loss(store, dataset, chosen_formats, student_as_teacher(store, dataset, student))
    agreed = _may_replace(loss, replace)
    with progress_bar() as progress:
        task = progress.add_task("sessions", total=len(training_sessions(store, dataset, limit, seed)))
        try:
            for event in distill_with_student(store, dataset, chosen_formats, student, limit, seed, replace=agreed):
                if isinstance(event, SessionAnswered):
                    progress.advance(task)
                    if event.prediction.error is not None:
                        say(f"kdtui: session {event.session.id}: {event.prediction.error}")
                elif isinstance(event, Noted):
                    say(f"kdtui: {event.text}")
                elif isinstance(event, Distilled):
                    _print_distilled(event, dataset, output, replace)
        except KeyboardInterrupt:
            say("interrupted; finished answers are kept, and the same command resumes")
            raise


def _distill_with_endpoint(
    store: "Database", plan: "DistillationPlan", output: Output, replace: bool | None, *, dry_run: bool
) -> None:
    """Distil with an endpoint and show the progress, or print the estimate of a dry run."""
    from dataclasses import asdict
    from dataclasses import replace as changed

    from kdtui.errors import KdtuiError
    from kdtui.workflows.calls.costs import cost_text
    from kdtui.workflows.calls.tally import Tally
    from kdtui.workflows.knowledge.distill_with_model import (
        DistillProgress,
        DistillStopped,
        SessionFailed,
        distill_with_model,
    )
    from kdtui.workflows.knowledge.distillation_plan import model_as_teacher
    from kdtui.workflows.knowledge.estimate_distillation import estimate_distillation
    from kdtui.workflows.knowledge.findings import Distilled, possible_loss
    from models.student_protocol import Noted

    if dry_run:
        estimate = estimate_distillation(store, plan)
        if output == "json":
            print_json({"estimate": asdict(estimate)})
            return
        print_table(
            ["" if output == "table" else "what", "calls", "prompt tokens", "answer tokens", "cost", "at most"],
            [
                ("answered before", estimate.hits, None, None, None, None),
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
            "no calls were made; tokens and cost are estimates, and 'at most' is the cost if each answer has its "
            "maximum length"
        )
        if not plan.prices.are_known:
            say("the cost is unknown without --prompt-price and --answer-price")
        _warn_of_missing_price(plan)
        return
    if "rule" in plan.formats:
        # Ask the user before the long work, not after it.
        loss = possible_loss(store, plan.dataset, ["rule"], model_as_teacher(plan))
        plan = changed(plan, replace=_may_replace(loss, replace))
    failed = 0
    stopped: str | None = None
    tally = Tally()
    with progress_bar() as progress:
        tasks = {format: progress.add_task(f"{format}s", total=None, start=False) for format in plan.formats}
        try:
            # Closing waits for the calls in progress, also after an interrupt.
            with closing(distill_with_model(store, plan)) as events:
                for event in events:
                    match event:
                        case DistillProgress(format, sessions, of, tally):
                            progress.start_task(tasks[format])
                            progress.update(
                                tasks[format],
                                total=of,
                                completed=sessions,
                                description=f"{format}s · {tally_in_words(tally)}",
                            )
                        case SessionFailed(format, session, reason):
                            failed += 1
                            say(f"kdtui: session {session}: no {format}s; {reason}")
                        case DistillStopped(reason, tally):
                            stopped = reason
                        case Noted():
                            say(f"kdtui: {event.text}")
                        case Distilled():
                            _print_distilled(event, plan.dataset, output, replace)
        except KeyboardInterrupt:
            say("interrupted; finished answers are kept, and the same command resumes")
            raise
    say(f"calls: {tally_in_words(tally)}")
    _warn_of_missing_price(plan)
    if stopped is not None:
        raise KdtuiError(f"stopped: {stopped}; finished answers are kept, and the same command resumes")
    if failed:
        raise KdtuiError(f"{counted(failed, 'session')} gave no knowledge")


def _warn_of_missing_price(plan: "DistillationPlan") -> None:
    """Say so if only one of the two prices was given; the user may have forgotten the other."""
    prices = plan.prices
    if prices.are_known and None in (prices.prompt, prices.completion):
        left_out = "--prompt-price" if prices.prompt is None else "--answer-price"
        say(f"{left_out} was not given and counts as 0")


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
    _say_aftermath(event, replace)


def _say_aftermath(event: "Distilled", replace: bool | None) -> None:
    """Say what happened to earlier pieces that were not found again."""
    if aftermath := event.aftermath:
        renewal = event.renewal
        can_go = renewal.lost and event.is_whole and renewal.can_replace and not event.is_replaced and replace is None
        say(f"{event.format}s: {aftermath}" + (" (--replace deletes them)" if can_go else ""))
