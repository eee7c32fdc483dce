"""`kdtui sft data` and `kdtui sft launch`: show the training data, and start a training."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.cli import completion
from kdtui.cli.options import (
    BudgetOption,
    DatabaseOption,
    JsonOption,
    NeighboursOption,
    OutputOption,
    SampleOption,
    SessionsOption,
    chosen_dataset,
    chosen_output,
    database_path,
    formats,
    open_store,
)
from kdtui.cli.output import print_json, print_table, print_text, say
from kdtui.cli.sft_options import (
    BaseOption,
    DatasetsOption,
    EpochsOption,
    EvaluateOption,
    FormOption,
    FromOption,
    HostOption,
    LaunchedBaseOption,
    LaunchedFormOption,
    LaunchedKnowledgeOption,
    LaunchedUsageOption,
    LongestOption,
    SeedOption,
    ShownOption,
    UsageOption,
)
from kdtui.cli.trainings import (
    follow_training,
    print_estimate,
    say_about_source,
    say_estimate,
    start_training,
)
from kdtui.text import counted

if TYPE_CHECKING:
    from store.records import TrainingSettings
    from store.sqlite import Database


# Repeated here because importing models.sft.job takes a while; a test compares them.
RATE, CONTINUED_RATE = "0.0005", "0.0002"
BATCH = "2048, or 512 with 200 training sessions or fewer"


def data(
    dataset: DatasetsOption = None,
    form: FormOption = "pairs",
    knowledge: ShownOption = "none",
    usage: UsageOption = "context",
    sample: SampleOption = None,
    neighbours: NeighboursOption = None,
    budget: BudgetOption = None,
    limit: SessionsOption = None,
    epochs: EpochsOption = 1,
    seed: SeedOption = 0,
    base: BaseOption = "smollm2",
    split: Annotated[
        Literal["train", "valid"], typer.Option(help="Split to show; a training is evaluated on valid.")
    ] = "train",
    longest: LongestOption = 2048,
    show: Annotated[int, typer.Option("--show", help="Print N examples in full.", min=0)] = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write the examples for TRL, Axolotl or LLaMA-Factory to this file.", metavar="FILE"
        ),
    ] = None,
    printed: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Show the training examples and their token counts, or write them as rows of prompt and completion."""
    from kdtui.distill.training_set import as_prompt_completion, encode_line
    from kdtui.errors import KdtuiError
    from kdtui.exchange.output import write_lines
    from kdtui.workflows.model_names import trainable_base
    from kdtui.workflows.training.examples import training_examples, validation_examples
    from kdtui.workflows.training.tokens import count_tokens, open_vocabulary, token_statistics

    printed_as = chosen_output(printed, as_json)
    examples = training_examples if split == "train" else validation_examples

    with open_store(database) as store:
        settings = _settings(
            store,
            dataset,
            form,
            formats(knowledge),
            usage,
            sample,
            neighbours,
            budget,
            epochs=epochs,
            seed=seed,
            limit=limit,
        )
        with open_vocabulary(trainable_base(store, base)) as vocabulary:
            made = examples(store, settings, partial(count_tokens, vocabulary))
            if output is not None:
                rows = (row for line in made for row in as_prompt_completion(line))
                written = counted(write_lines(output, map(encode_line, rows)), "row")
                say(f"wrote {written} of prompt and completion to {output}")
                return
            lines = list(made)
            if not lines:
                raise KdtuiError(f"there is no session in the split {split!r} to show")
            statistics = token_statistics(vocabulary, lines, longest)
    # In CSV and Markdown, examples would break the table of numbers.
    for line in lines[: show if printed_as in ("table", "json") else 0]:
        if printed_as == "json":
            print_json(line)
            continue
        for message in line["prompt"]:
            print_text(f"[{message['role']}]\n{message['content']}\n")
        print_text("\n".join(f"{each['given']} ->{each['answer']}" for each in line["completions"]) + "\n")
    numbers = {
        "examples": len(lines),
        "tokens": statistics.tokens,
        "learned": statistics.learned,
        "shortest": statistics.shortest,
        "median": statistics.median,
        "longest": statistics.longest,
        "too long": statistics.too_long,
    }
    print_table(list(numbers), [list(numbers.values())], output=printed_as)


def launch(
    name: Annotated[str, typer.Option("--name", help="Name for the training and its adapter.", metavar="NAME")],
    dataset: DatasetsOption = None,
    source: FromOption = None,
    form: LaunchedFormOption = None,
    knowledge: LaunchedKnowledgeOption = None,
    usage: LaunchedUsageOption = None,
    sample: SampleOption = None,
    neighbours: NeighboursOption = None,
    budget: BudgetOption = None,
    base: LaunchedBaseOption = None,
    limit: SessionsOption = None,
    epochs: EpochsOption = 2,
    seed: SeedOption = 0,
    rank: Annotated[int | None, typer.Option(help="Rank of the adapter (16).", min=1)] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Alpha (by default twice the rank); the adapter is scaled by alpha / rank.")
    ] = None,
    dropout: Annotated[float, typer.Option(help="Dropout rate of the adapter's inputs.")] = 0.0,
    learning_rate: Annotated[
        float | None, typer.Option(help=f"Peak learning rate ({RATE}, or {CONTINUED_RATE} with --from).")
    ] = None,
    batch_tokens: Annotated[
        int | None,
        typer.Option(help=f"Tokens in a batch; fewer need less memory ({BATCH}).", min=1),
    ] = None,
    accumulate: Annotated[
        int, typer.Option(help="Batches in a step (gradient accumulation); more need no more memory.", min=1)
    ] = 1,
    longest: LongestOption = 2048,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="Precision of the computation; auto: bfloat16 on GPUs that support it."),
    ] = "auto",
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Recompute activations: less memory, a third more time.")
    ] = False,
    evaluations: Annotated[int, typer.Option(help="Evaluations on the validation split per epoch.", min=1)] = 2,
    patience: Annotated[
        int | None, typer.Option(help="Stop early after N evaluations without improvement.", min=1, metavar="N")
    ] = None,
    checkpoints: Annotated[int, typer.Option(help="Checkpoints per epoch.", min=1)] = 4,
    host: HostOption = None,
    local: Annotated[bool, typer.Option("--local", help="Train on this machine, as without --host.")] = False,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            help="Start when this training, on the same host, is done.",
            metavar="NAME",
            autocompletion=completion.names("trainings"),
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show the progress until the training ends.")] = False,
    evaluate: EvaluateOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print an estimate of tokens, time and memory.")
    ] = False,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Start a training on this machine or on a host.

    The training continues when the terminal is closed. First, kdtui prints an estimate of its time and memory, based
    on earlier trainings there. With --sample, a training uses only the sessions that the rules and thoughts of the
    sample come from.
    """
    from kdtui.workflows.training.estimate import estimate_training
    from kdtui.workflows.training.plan import TrainingPlan, check_training_plan, jobs_folder, prepare_training
    from kdtui.workflows.training.source_adapters import Terms, find_source, inherited_terms
    from models.embedded import NAME
    from store.jobs import get_job

    if local and host is not None:
        raise typer.BadParameter("--local and --host contradict each other; give only one of them")
    with open_store(database) as store:
        if after is not None and get_job(store, after).host != host:
            raise typer.BadParameter(f"training {after} is not on the same host")
        given = Terms(
            form,
            None if knowledge is None else formats(knowledge),
            None if usage is None else usage == "target",
            base,
            rank,
            alpha,
        )
        start = None if source is None else find_source(store, source)
        terms = given if start is None else inherited_terms(start, given)
        settings = _settings(
            store,
            dataset,
            terms.form or "pairs",
            terms.knowledge or (),
            "target" if terms.target else "context",
            sample,
            neighbours,
            budget,
            epochs=epochs,
            seed=seed,
            limit=limit,
            began_from=None if start is None else start.name,
        )
        plan = TrainingPlan(
            name,
            settings,
            terms.base or NAME,
            source=start,
            rank=terms.rank,
            alpha=terms.alpha,
            dropout=dropout,
            learning_rate=learning_rate,
            batch_tokens=batch_tokens,
            accumulate=accumulate,
            longest=longest,
            precision=precision,
            recompute=recompute,
            evaluations=evaluations,
            patience=patience,
            checkpoints=checkpoints,
            host=host,
            after=after,
            evaluate=evaluate,
        )
        if dry_run:
            check_training_plan(store, plan, jobs_folder(database_path(database)))
            print_estimate(estimate_training(store, plan), plan, as_json=as_json)
            say_about_source(store, plan, given)
            return
        ready = prepare_training(store, plan, jobs_folder(database_path(database)))
        say(f"training {name} is in {ready.folder}")
        say_estimate(store, plan, as_json=as_json)
        say_about_source(store, plan, given)
        start_training(store, name)
        if follow:
            follow_training(store, name, database)


def _settings(
    store: "Database",
    datasets: list[str] | None,
    form: Literal["pairs", "list", "intents"],
    knowledge: tuple[str, ...],
    usage: str,
    sample: str | None,
    neighbours: int | None,
    budget: int | None,
    *,
    epochs: int,
    seed: int,
    limit: int | None,
    began_from: str | None = None,
) -> "TrainingSettings":
    from store.records import TrainingSettings

    names = tuple(dict.fromkeys(datasets or [chosen_dataset(store, None)]))
    target = usage == "target"
    return TrainingSettings(names, form, knowledge, target, sample, neighbours, budget, epochs, seed, limit, began_from)
