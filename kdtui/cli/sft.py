"""`kdtui sft`: fine-tune a student, and follow it."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kdtui.cli import completion
from kdtui.cli.commands import App
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
    next_command,
    open_store,
)
from kdtui.cli.output import live_table, print_gap, print_json, print_table, print_text, say
from kdtui.cli.removal import YesOption, confirm_removal, counts
from kdtui.cli.trainings import (
    curve,
    evaluate_adapter,
    fetch_adapter,
    fetched,
    follow_training,
    look,
    print_estimate,
    print_log,
    say_about_source,
    say_estimate,
    say_what_waits,
    start_training,
    stop_training,
    try_to_fetch,
)
from kdtui.text import counted

if TYPE_CHECKING:
    from kdtui.workflows.job_state import JobRow
    from store.records import TrainingSettings
    from store.sqlite import Database

app = App(
    "Fine-tune a student with LoRA, and follow the training.",
    examples=["kdtui sft launch --name camping --dataset demo-outdoor", "kdtui sft ls"],
    no_args_is_help=True,
)

# Told here, and not where they are from, which takes a while to import; a test compares them.
_RATE, _CONTINUED_RATE = "0.0005", "0.0002"

NameArgument = Annotated[
    str, typer.Argument(help="Name of a training.", metavar="NAME", autocompletion=completion.names("trainings"))
]
DatasetsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        "-d",
        help="Whose training sessions; may be repeated.",
        metavar="NAME",
        autocompletion=completion.names("datasets"),
    ),
]
_ASKED = "What the student is asked: about pairs, for a list, or for the intents of bundles"
FormOption = Annotated[Literal["pairs", "list", "intents"], typer.Option("--form", help=f"{_ASKED}.")]
LaunchedFormOption = Annotated[
    Literal["pairs", "list", "intents"] | None, typer.Option("--form", help=f"{_ASKED} (pairs).")
]
_SHOWN = typer.Option(
    "--knowledge",
    help="Formats to learn with, comma-separated: pattern, rule, thought.",
    metavar="FORMATS",
    autocompletion=completion.lists(*completion.FORMATS),
)
ShownOption = Annotated[str, _SHOWN]
LaunchedKnowledgeOption = Annotated[str | None, _SHOWN]
_USED = "Knowledge is shown in the prompt, or learned to be written before a list"
UsageOption = Annotated[Literal["context", "target"], typer.Option("--as", help=f"{_USED}.")]
LaunchedUsageOption = Annotated[Literal["context", "target"] | None, typer.Option("--as", help=f"{_USED} (context).")]
EpochsOption = Annotated[int, typer.Option(help="Rounds; the products are shuffled in each.", min=1)]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same adapter.", min=0)]
LongestOption = Annotated[int, typer.Option(help="Longer examples are skipped.", min=1, metavar="TOKENS")]
_BASE = typer.Option(
    "--base",
    help="smollm2 (embedded), a name that kdtui model ls shows, a GGUF file, or a folder or id of transformers.",
    metavar="BASE",
    autocompletion=completion.names("bases", "smollm2"),
)
BaseOption = Annotated[str, _BASE]
LaunchedBaseOption = Annotated[str | None, _BASE]


HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        help="On this host; kdtui host ls shows them.",
        metavar="NAME",
        autocompletion=completion.names("hosts"),
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Begin from this adapter: shipped, that of a training, a folder of PEFT or a GGUF file. Its form, "
        "knowledge, rank and alpha are taken over.",
        metavar="ADAPTER",
        autocompletion=completion.names("adapters", "shipped"),
    ),
]
EvaluateOption = Annotated[
    bool,
    typer.Option("--evaluate", help="When it is done, score the adapter on the validation splits of its datasets."),
]


@app.command(
    "data",
    examples=[
        "kdtui sft data --dataset demo-outdoor --knowledge pattern",
        "kdtui sft data --dataset demo-outdoor --output rows.jsonl",
    ],
)
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
        Literal["train", "valid"], typer.Option(help="valid is what the training is judged on as it goes.")
    ] = "train",
    longest: LongestOption = 2048,
    show: Annotated[int, typer.Option("--show", help="So many examples, whole.", min=0)] = 1,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write it for TRL, Axolotl or LLaMA-Factory.", metavar="FILE"),
    ] = None,
    printed: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Show what would be trained on, and how many tokens it has; or write it as rows of prompt and completion."""
    from kdtui.distill.training_set import as_prompt_completion, encode_line
    from kdtui.errors import KdtuiError
    from kdtui.exchange.output import write_lines
    from kdtui.workflows.training.dataset import token_statistics, training_examples, validation_examples

    told = chosen_output(printed, as_json)
    examples = training_examples if split == "train" else validation_examples

    with open_store(db) as store:
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
        if output is not None:
            rows = (row for line in examples(store, settings) for row in as_prompt_completion(line))
            written = write_lines(output, map(encode_line, rows))
            say(f"wrote {counted(written, 'row')} of prompt and completion to {output}")
            return
        lines = list(examples(store, settings))
        if not lines:
            raise KdtuiError(f"there is no session of the split {split!r} to show")
        statistics = token_statistics(store, base, lines, longest)
    # Beside the numbers as data, examples would be in the way.
    for line in lines[: show if told in ("table", "json") else 0]:
        if told == "json":
            print_json(line)
            continue
        for message in line["prompt"]:
            print_text(f"[{message['role']}]\n{message['content']}\n")
        print_text("\n".join(f"{each['given']} ->{each['answer']}" for each in line["completions"]) + "\n")
    found = {
        "examples": len(lines),
        "tokens": statistics.tokens,
        "learned": statistics.learned,
        "shortest": statistics.shortest,
        "median": statistics.median,
        "longest": statistics.longest,
        "too long": statistics.too_long,
    }
    print_table(list(found), [list(found.values())], output=told)


@app.command(
    "launch",
    examples=[
        "kdtui sft launch --name camping --dataset demo-outdoor --epochs 1",
        "kdtui sft launch --name camping --dataset demo-outdoor --host gpu --follow",
        "kdtui sft launch --name camping --dataset demo-outdoor --from shipped --follow",
    ],
)
def launch(
    name: Annotated[str, typer.Option("--name", help="What to call the training and its adapter.", metavar="NAME")],
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
    alpha: Annotated[float | None, typer.Option(help="How strongly it acts, over its rank; twice the rank.")] = None,
    dropout: Annotated[float, typer.Option(help="Share of the adapter's inputs that is left out, by chance.")] = 0.0,
    learning_rate: Annotated[
        float | None, typer.Option(help=f"At its highest ({_RATE}, or {_CONTINUED_RATE} with --from).")
    ] = None,
    batch_tokens: Annotated[int, typer.Option(help="Tokens of a batch; fewer take less memory.", min=1)] = 2048,
    accumulate: Annotated[int, typer.Option(help="Batches of a step; more take no more memory.", min=1)] = 1,
    longest: LongestOption = 2048,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="auto is bfloat16 on GPUs that have it.")
    ] = "auto",
    recompute: Annotated[bool, typer.Option("--recompute", help="Less memory, and a third more time.")] = False,
    evaluations: Annotated[int, typer.Option(help="On the validation sessions, per epoch.", min=1)] = 2,
    patience: Annotated[
        int | None, typer.Option(help="End after so many evaluations without a better one.", min=1, metavar="N")
    ] = None,
    checkpoints: Annotated[int, typer.Option(help="Per epoch.", min=1)] = 4,
    host: HostOption = None,
    local: Annotated[bool, typer.Option("--local", help="On this machine, as without --host.")] = False,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            help="Begin when this training is done; it is on the same host.",
            metavar="JOB",
            autocompletion=completion.names("trainings"),
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show it until it ends.")] = False,
    evaluate: EvaluateOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take, in tokens, time and memory, and start nothing.")
    ] = False,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Start a training, here or on a host, which goes on when the terminal is closed; what it will take is said first,
    by what trainings took there before."""
    from kdtui.workflows.training.estimate import estimate
    from kdtui.workflows.training.service import TrainingPlan, check_training, jobs_folder, prepare_training
    from kdtui.workflows.training.start_from import Terms, find_source, taken_over
    from models.embedded import NAME
    from store.jobs import get_job

    if local and host is not None:
        raise typer.BadParameter("--local is here, and --host elsewhere")
    with open_store(db) as store:
        if after is not None and get_job(store, after).host != host:
            raise typer.BadParameter(f"training {after} is not on the same host")
        said = Terms(
            form,
            None if knowledge is None else formats(knowledge),
            None if usage is None else usage == "target",
            base,
            rank,
            alpha,
        )
        begun = None if source is None else find_source(store, source)
        terms = said if begun is None else taken_over(begun, said)
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
            began_from=None if begun is None else begun.name,
        )
        plan = TrainingPlan(
            name,
            settings,
            terms.base or NAME,
            source=begun,
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
            check_training(store, plan, jobs_folder(database_path(db)))
            print_estimate(estimate(store, plan), plan, as_json=as_json)
            say_about_source(store, plan, said)
            return
        ready = prepare_training(store, plan, jobs_folder(database_path(db)))
        say(f"training {name}: in {ready.folder}")
        say_estimate(store, plan, as_json=as_json)
        say_about_source(store, plan, said)
        start_training(store, name)
        if follow:
            follow_training(store, name, db)


@app.command("ls", examples=["kdtui sft ls", "kdtui sft ls --cached"])
def ls(
    cached: Annotated[bool, typer.Option("--cached", help="As they were seen last, without asking hosts.")] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """List the trainings, the newest first: those on hosts as they were seen last, and as they are as soon as that is
    known."""
    from kdtui.workflows.job_state import all_jobs

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        rows = all_jobs(store)
        if not rows:
            print_table(_COLUMNS, (), output=told, empty=_no_training())
            return
        events = []
        with nullcontext() if told != "table" else live_table(_COLUMNS, wide=["datasets"]) as show:
            if show is not None:
                show(map(_cells, rows))
            # Imported here: the first line does not wait for it.
            from kdtui.workflows.training.on_host import CameHome, refresh

            for event in () if cached else refresh(store, bring_home=True):
                events.append(event)
                # What has come home becomes ready for use by that.
                rows = all_jobs(store)
                if show is not None:
                    show(map(_cells, rows))
        if told != "table":
            print_table(_COLUMNS, map(_cells, rows), output=told, records=map(_to_json, rows))
        for event in events:
            if isinstance(event, CameHome):
                say(f"kdtui: {event.problem}" if event.problem else fetched(event.name, event.files))
            elif event.problem:
                say(f"kdtui: {event.problem}; its trainings are shown as they were seen last")
        for row in rows:
            say_what_waits(row)


def _no_training() -> str:
    launch = next_command("sft", "launch", "--dataset", "NAME", "--name", "NAME")
    return f"there is no training yet; start one with: {launch}"


_COLUMNS = ["name", "where", "state", "step", "of", "loss", "pair F1", "tokens/s", "left", "seen", "datasets"]


def _cells(row: "JobRow") -> tuple[object, ...]:
    from kdtui.text import ago, duration

    status = row.status
    return (
        row.job.name,
        row.job.host or "here",
        status.state,
        status.step,
        status.steps,
        status.loss,
        status.pair_f1,
        None if status.tokens_per_second is None else round(status.tokens_per_second),
        duration(status.eta_seconds),
        ago(row.job.seen_at),
        ", ".join(row.job.settings.datasets),
    )


@app.command("show", examples=["kdtui sft show camping"])
def show(
    name: NameArgument, output: OutputOption = None, as_json: JsonOption = False, db: DatabaseOption = None
) -> None:
    """Show a training: how it is, what it is made of and what it began from, its loss and pair F1 so far, and at its
    end whether it helped."""
    from msgspec import to_builtins

    from kdtui.text import duration
    from kdtui.workflows.job_state import is_to_fetch, one_job
    from kdtui.workflows.training.outcomes import conclude
    from store.default_adapters import default_adapters

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        look(store, name)
        row = one_job(store, name)
        if is_to_fetch(row):
            try_to_fetch(store, name)
            row = one_job(store, name)
        outcome = conclude(store, row)
        defaults = [dataset for dataset, adapter in default_adapters(store).items() if adapter == name]
    say_what_waits(row)
    worth = {"outcome": outcome and {"verdict": outcome.verdict, **to_builtins(outcome)}, "default_of": defaults}
    if told == "json":
        print_json(_to_json(row) | worth)
        return
    status, settings = row.status, row.job.settings
    shown = _to_json(row) | {
        "datasets": ", ".join(settings.datasets),
        "knowledge": ", ".join(settings.knowledge) or None,
        "target": "the student writes the knowledge" if settings.target else None,
        "eta_seconds": duration(status.eta_seconds),
        "to_evaluate": "when it is done" if row.job.evaluate else None,
        "peak_memory": None if status.pace is None else f"{status.pace.peak_memory_bytes / 1e9:,.1f} GB",
        "pace": None,
        "curve": None,
        "evaluations": None,
        "folder": str(row.job.folder),
        "outcome": outcome and "; ".join(outcome.in_words),
        "default_of": ", ".join(defaults) or None,
    }
    print_table(
        ["" if told == "table" else "what", "value"],
        [(key, value) for key, value in shown.items() if value is not None],
        wide=["value"],
        output=told,
    )
    if status.curve and told == "table":
        print_text(f"loss     {curve(status.curve)}  {status.curve[0]:.3f} to {status.curve[-1]:.3f}")
    values = [value for _, _, value in status.evaluations if value is not None]
    if values and told == "table":
        print_text(f"pair F1  {curve(values)}  {values[0]:.3f} to {values[-1]:.3f}")
    if status.evaluations:
        print_gap(told)
        print_table(["step", "validation loss", "pair F1"], status.evaluations, output=told)


@app.command("logs", examples=["kdtui sft logs camping --follow"])
def logs(
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the training ends.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Print the log of a training; followed, until it ends, with its loss and pair F1 in the last line."""
    from kdtui.workflows.training import jobs, on_host
    from store.jobs import get_job

    with open_store(db) as store:
        if follow:
            follow_training(store, name, db)
            return
        job = get_job(store, name)
        print_log(jobs.log_of(job) if job.host is None else on_host.log_of(store, job))


@app.command("cancel", examples=["kdtui sft cancel camping", "kdtui sft cancel camping --now"])
def cancel(
    name: NameArgument,
    now: Annotated[bool, typer.Option("--now", help="Kill it, without a checkpoint of what it did last.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Stop a training; it leaves a checkpoint, from which kdtui sft resume goes on."""
    with open_store(db) as store:
        stop_training(store, name, now=now)


@app.command("resume", examples=["kdtui sft resume camping", "kdtui sft resume camping --host other"])
def resume(
    name: NameArgument,
    host: HostOption = None,
    local: Annotated[bool, typer.Option("--local", help="On this machine.")] = False,
    from_here: Annotated[
        bool,
        typer.Option(
            "--from-here", help="Its host is gone for good: go on elsewhere from the checkpoints that are here."
        ),
    ] = False,
    base: Annotated[
        str | None, typer.Option("--base", help="Where its base is here, if it was taken over.", metavar="BASE")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show it until it ends.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Go on with a training from its last checkpoint: where it was, on another host, or here."""
    from kdtui.workflows.model_names import trainable
    from kdtui.workflows.training.base_files import find_base
    from kdtui.workflows.training.on_host import move
    from store.jobs import get_job

    if local and host is not None:
        raise typer.BadParameter("--local is here, and --host elsewhere")
    if from_here and not local and host is None:
        raise typer.BadParameter("--from-here needs --local or --host, to say where to go on")
    with open_store(db) as store:
        job = get_job(store, name)
        if base is not None:
            find_base(store, job, Path(trainable(store, base)))
        if (local or host is not None) and job.host != host:
            move(store, job, host, from_here=from_here)
            if from_here and job.host is not None:
                say(f"host {job.host} was not asked; if it comes back, its copy of {name} must not go on")
        start_training(store, name)
        if follow:
            follow_training(store, name, db)


@app.command("fetch", examples=["kdtui sft fetch camping"])
def fetch(
    name: NameArgument,
    checkpoints: Annotated[bool, typer.Option("--checkpoints", help="The checkpoints too.")] = False,
    evaluate: EvaluateOption = False,
    db: DatabaseOption = None,
) -> None:
    """Bring home the adapter of a training on a host, and evaluate it if that was asked for; what is here whole already
    does not come again."""
    from kdtui.workflows.job_state import is_to_fetch, one_job

    with open_store(db) as store:
        row = one_job(store, name)
        waits = evaluate or row.job.evaluate
        is_here = row.job.host is not None and row.status.state == "done" and not is_to_fetch(row)
        # What is here is evaluated without its host, which may be gone.
        if checkpoints or not (is_here and waits):
            fetch_adapter(store, name, checkpoints=checkpoints)
        if waits and one_job(store, name).status.state == "done":
            evaluate_adapter(store, name, db)


@app.command("adopt", examples=["kdtui sft adopt gpu", "kdtui sft adopt gpu:camping"])
def adopt(
    place: Annotated[
        str,
        typer.Argument(help="A host, and the name of a training there; all of them without.", metavar="HOST[:NAME]"),
    ],
    db: DatabaseOption = None,
) -> None:
    """Take over what another machine has started on a host, or what this store has forgotten: one training, or all."""
    from kdtui.errors import KdtuiError
    from kdtui.workflows.training.on_host import adopt as take_over
    from kdtui.workflows.training.on_host import adopt_all
    from kdtui.workflows.training.service import jobs_folder
    from store.hosts import get_host

    host, colon, folder = place.partition(":")
    if not host or (colon and not folder):
        raise typer.BadParameter("say HOST, or HOST:NAME, such as gpu:camping")
    with open_store(db) as store:
        known = get_host(store, host)
        if not folder:
            found = []
            for each in adopt_all(store, known, jobs_folder(database_path(db))):
                found.append(each)
                say(f"kdtui: {each.problem}" if each.problem else f"training {each.name} is known now")
            if any(each.problem for each in found):
                raise KdtuiError(f"not all trainings of host {host} could be taken over")
            say(
                f"{next_command('sft', 'ls')} says how they are"
                if found
                else f"host {host} has no training that is not known"
            )
            return
        name = folder.removeprefix(f"{known.workdir}/jobs/").strip("/")
        take_over(store, known, name, jobs_folder(database_path(db)))
        look(store, name)
    say(f"training {name} is known now; {next_command('sft', 'show', name)} says how it is")


@app.command(
    "default",
    examples=["kdtui sft default", "kdtui sft default camping", "kdtui sft default --none --dataset demo-outdoor"],
)
def default(
    adapter: Annotated[
        str | None,
        typer.Argument(
            help="The adapter, by its name; without it, the defaults are listed.",
            metavar="ADAPTER",
            autocompletion=completion.names("adapters", "shipped"),
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "-d",
            help="Of this dataset; may be repeated; otherwise of those that the adapter was trained on.",
            metavar="NAME",
            autocompletion=completion.names("datasets"),
        ),
    ] = None,
    none: Annotated[
        bool, typer.Option("--none", help="Have the shipped student answer it again; without --dataset, all.")
    ] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Say which adapter answers a dataset where neither --student nor --adapter is given, or list those that do. A
    training that has helped becomes the default by itself."""
    from kdtui.workflows.adapters.defaults import drop_default, make_default
    from store.default_adapters import default_adapters

    told = chosen_output(output, as_json)
    if none and adapter is not None:
        raise typer.BadParameter("--none takes the default away; name no adapter")
    with open_store(db) as store:
        if none:
            for name, before in drop_default(store, dataset or ()).items():
                say(f"{before} is no longer the default adapter of {name}")
        elif adapter is not None:
            for name in make_default(store, adapter, dataset or ()):
                say(f"{adapter} is the default adapter of {name} now")
        else:
            rows = [(name, each) for name, each in default_adapters(store).items() if name in (dataset or [name])]
            print_table(
                ["dataset", "adapter"],
                rows,
                output=told,
                empty="no dataset has a default adapter; the shipped student answers them all",
            )


@app.command("rm", examples=["kdtui sft rm camping", "kdtui sft rm camping other --keep --yes"])
def rm(
    names: Annotated[
        list[str],
        typer.Argument(help="Names of trainings.", metavar="NAME", autocompletion=completion.names("trainings")),
    ],
    yes: YesOption = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave their directories on the hosts, and only forget them.")
    ] = False,
    db: DatabaseOption = None,
) -> None:
    """Delete trainings with their folders, checkpoints and adapters, on their hosts too."""
    from kdtui.workflows.training.service import remove
    from models.sft.job_files import ADAPTER, CHECKPOINTS
    from store.jobs import get_job
    from store.runs import runs_of_model

    with open_store(db) as store:
        chosen = {}
        for name in dict.fromkeys(names):
            job = get_job(store, name)
            found = counts(
                {
                    "checkpoint": len(list(job.folder.glob(f"{CHECKPOINTS}/*"))),
                    "adapter": int((job.folder / ADAPTER).is_dir()),
                }
            )
            where = [] if job.host is None else [f"whose directory on {job.host} {'stays' if keep else 'goes, too'}"]
            chosen[name] = [*found, *where, *counts({"run": runs_of_model(store, name)}, "named by")]
        confirm_removal({f"training {name}": told for name, told in chosen.items()}, yes=yes)
        for name, told in chosen.items():
            remove(store, name, keep=keep)
            say(", ".join([f"deleted training {name}", *told]))


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


def _to_json(row: "JobRow") -> dict[str, Any]:
    from dataclasses import asdict

    import msgspec

    return {
        "name": row.job.name,
        **asdict(row.status),
        **msgspec.to_builtins(row.job.settings),
        "host": row.job.host,
        "to_evaluate": row.job.evaluate,
        "seen_at": row.job.seen_at,
        "created_at": row.job.created_at,
    }
