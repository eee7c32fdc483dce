"""`kdtui sft`: fine-tune a student, and follow it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kdtui.cli.options import (
    BudgetOption,
    DatabaseOption,
    JsonOption,
    NeighboursOption,
    SampleOption,
    chosen_dataset,
    database_path,
    formats,
    open_store,
)
from kdtui.cli.output import print_json, print_table, print_text, progress_bar, say

if TYPE_CHECKING:
    from sqlite_utils import Database

    from kdtui.workflows.fine_tune import JobRow
    from store.records import TrainingSettings

app = typer.Typer(help="Fine-tune a student with LoRA, and follow the training.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Name of a training.", metavar="NAME")]
DatasetsOption = Annotated[
    list[str] | None,
    typer.Option("--dataset", "-d", help="Whose training sessions; may be repeated.", metavar="NAME"),
]
FormOption = Annotated[
    Literal["pairs", "list"], typer.Option("--form", help="What the student is asked: about pairs, or for a list.")
]
ShownOption = Annotated[
    str,
    typer.Option(
        "--knowledge", help="Formats to learn with, comma-separated: pattern, rule, thought.", metavar="FORMATS"
    ),
]
UsageOption = Annotated[
    Literal["context", "target"],
    typer.Option("--as", help="Knowledge is shown in the prompt, or learned to be written."),
]
EpochsOption = Annotated[int, typer.Option(help="Rounds; the products are shuffled in each.", min=1)]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same adapter.", min=0)]
BaseOption = Annotated[
    str,
    typer.Option(
        "--base",
        help="smollm2 (embedded), a name that kdtui model ls shows, a GGUF file, or a folder or id of transformers.",
        metavar="BASE",
    ),
]


@app.command("data")
def data(
    dataset: DatasetsOption = None,
    form: FormOption = "pairs",
    knowledge: ShownOption = "none",
    usage: UsageOption = "context",
    sample: SampleOption = None,
    neighbours: NeighboursOption = None,
    budget: BudgetOption = None,
    epochs: EpochsOption = 1,
    seed: SeedOption = 0,
    base: BaseOption = "smollm2",
    show: Annotated[int, typer.Option("--show", help="So many examples, whole.", min=0)] = 1,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write it for TRL, Axolotl or LLaMA-Factory.", metavar="FILE"),
    ] = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Show what would be trained on, and how many tokens it has; or write it as rows of prompt and completion."""
    from kdtui.distill.training_set import as_prompt_completion, encode
    from kdtui.exchange.output import write_whole
    from kdtui.workflows.training_set import token_statistics, training_examples

    with open_store(db) as store:
        settings = _settings(
            store, dataset, form, knowledge, usage, sample, neighbours, budget, epochs=epochs, seed=seed
        )
        if output is not None:
            rows = (row for line in training_examples(store, settings) for row in as_prompt_completion(line))
            say(f"wrote {write_whole(output, map(encode, rows)):,} rows of prompt and completion to {output}")
            return
        lines = list(training_examples(store, settings))
        statistics = token_statistics(store, base, lines)
    for line in lines[:show]:
        if as_json:
            print_json(line)
            continue
        for message in line["prompt"]:
            print_text(f"[{message['role']}]\n{message['content']}\n")
        print_text("\n".join(f"{each['given']} ->{each['answer']}" for each in line["completions"]) + "\n")
    found = {
        "examples": len(lines),
        "tokens": statistics.tokens,
        "learned": statistics.learned,
        "longest": statistics.longest,
    }
    if as_json:
        print_json(found)
    else:
        print_table(list(found), [list(found.values())])


@app.command("launch")
def launch(
    name: Annotated[str, typer.Option("--name", help="What to call the training and its adapter.", metavar="NAME")],
    dataset: DatasetsOption = None,
    form: FormOption = "pairs",
    knowledge: ShownOption = "none",
    usage: UsageOption = "context",
    sample: SampleOption = None,
    neighbours: NeighboursOption = None,
    budget: BudgetOption = None,
    base: BaseOption = "smollm2",
    epochs: EpochsOption = 2,
    seed: SeedOption = 0,
    rank: Annotated[int, typer.Option(help="Rank of the adapter.", min=1)] = 16,
    learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 5e-4,
    batch_tokens: Annotated[int, typer.Option(help="Tokens of a batch; fewer take less memory.", min=1)] = 2048,
    longest: Annotated[int, typer.Option(help="Longer examples are skipped.", min=1, metavar="TOKENS")] = 2048,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="auto is bfloat16 on GPUs that have it.")
    ] = "auto",
    recompute: Annotated[bool, typer.Option("--recompute", help="Less memory, and a third more time.")] = False,
    patience: Annotated[
        int | None, typer.Option(help="End after so many evaluations without a better one.", min=1, metavar="N")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show it until it ends.")] = False,
    local: Annotated[bool, typer.Option("--local", help="On this machine (the only place so far).")] = True,  # noqa: ARG001
    db: DatabaseOption = None,
) -> None:
    """Start a training, which goes on when the terminal is closed."""
    from kdtui.workflows.fine_tune import launch as start
    from kdtui.workflows.fine_tune import prepare, trainer_is_here
    from kdtui.workflows.model_names import trainable
    from models.sft.job import Job, Lora, Optimizer
    from store.jobs import get_job

    with open_store(db) as store:
        trainer_is_here()
        settings = _settings(
            store, dataset, form, knowledge, usage, sample, neighbours, budget, epochs=epochs, seed=seed
        )
        job = Job(
            trainable(store, base),
            epochs=epochs,
            seed=seed,
            batch_tokens=batch_tokens,
            longest=longest,
            precision=precision,
            recompute=recompute,
            patience=patience,
            lora=Lora(rank=rank, alpha=2.0 * rank),
            optimizer=Optimizer(learning_rate=learning_rate),
        )
        ready = prepare(store, name, jobs_folder(db), settings, job)
        say(f"training {name}: {ready.examples:,} sessions an epoch, {ready.valid:,} to validate on, in {ready.folder}")
        pid = start(get_job(store, name))
        say(f"it runs as process {pid}; kdtui sft logs {name} --follow shows it, and kdtui sft cancel {name} stops it")
        if follow:
            _follow(store, name)


@app.command("ls")
def ls(as_json: JsonOption = False, db: DatabaseOption = None) -> None:
    """List the trainings, the newest first."""
    from kdtui.workflows.fine_tune import all_jobs

    with open_store(db) as store:
        rows = all_jobs(store)
    if as_json:
        for row in rows:
            print_json(_to_json(row))
        return
    if not rows:
        say("there is no training yet; start one with: kdtui sft launch --dataset NAME --name NAME")
        return
    print_table(
        ["name", "state", "step", "of", "loss", "pair F1", "tokens/s", "left", "datasets"],
        [
            (
                row.job.name,
                row.status.state,
                row.status.step,
                row.status.steps,
                row.status.loss,
                row.status.pair_f1,
                None if row.status.tokens_per_second is None else round(row.status.tokens_per_second),
                _duration(row.status.eta_seconds),
                ", ".join(row.job.settings.datasets),
            )
            for row in rows
        ],
        wide=["datasets"],
    )


@app.command("show")
def show(name: NameArgument, as_json: JsonOption = False, db: DatabaseOption = None) -> None:
    """Show a training: how it is, what it is made of, and its loss and pair F1 so far."""
    from kdtui.jobs.state import metrics
    from kdtui.workflows.fine_tune import one_job

    with open_store(db) as store:
        row = one_job(store, name)
    if as_json:
        print_json(_to_json(row) | {"metrics": list(metrics(row.job.folder))})
        return
    settings = row.job.settings
    shown = _to_json(row) | {
        "datasets": ", ".join(settings.datasets),
        "knowledge": ", ".join(settings.knowledge) or None,
        "target": "the student writes the knowledge" if settings.target else None,
        "eta_seconds": _duration(row.status.eta_seconds),
        "folder": str(row.job.folder),
    }
    print_table(["", "value"], [(key, value) for key, value in shown.items() if value is not None], wide=["value"])
    lines = list(metrics(row.job.folder))
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    values = [(line["step"], line["valid_loss"], line.get("pair_f1")) for line in lines if "valid_loss" in line]
    if losses:
        print_text(f"loss     {_curve([loss for _, loss in losses])}  {losses[0][1]:.3f} to {losses[-1][1]:.3f}")
    if values:
        print_table(["step", "validation loss", "pair F1"], values)


@app.command("logs")
def logs(
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the training ends.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Print the log of a training; followed, its loss and pair F1 as they come."""
    from kdtui.jobs.state import LOG
    from store.jobs import get_job

    with open_store(db) as store:
        if follow:
            _follow(store, name)
            return
        path = get_job(store, name).folder / LOG
    if path.exists():
        print_text(path.read_text(encoding="utf-8", errors="replace").rstrip("\n"))


@app.command("cancel")
def cancel(name: NameArgument, db: DatabaseOption = None) -> None:
    """Stop a training; it leaves a checkpoint, from which kdtui sft resume goes on."""
    from kdtui.workflows.fine_tune import cancel as stop
    from store.jobs import get_job

    with open_store(db) as store:
        job = get_job(store, name)
    if stop(job):
        say(f"training {name} has stopped; kdtui sft resume {name} goes on")
    else:
        say(f"training {name} did not stop by itself, and was killed; kdtui sft resume {name} goes on from before")


@app.command("resume")
def resume(
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", help="Show it until it ends.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Go on with a training from its last checkpoint."""
    from kdtui.workflows.fine_tune import launch as start
    from store.jobs import get_job

    with open_store(db) as store:
        pid = start(get_job(store, name))
        say(f"training {name} goes on as process {pid}")
        if follow:
            _follow(store, name)


@app.command("rm")
def rm(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Delete a training with its folder, its checkpoints and its adapter."""
    from kdtui.workflows.fine_tune import remove
    from store.jobs import get_job

    with open_store(db) as store:
        job = get_job(store, name)
        if not yes:
            typer.confirm(f"Delete training {name} with its adapter?", abort=True, err=True)
        remove(store, job)
    say(f"deleted training {name}")


def jobs_folder(db: Path | None) -> Path:
    """Where job directories are: beside the database, which knows them."""
    return database_path(db).resolve().parent / "jobs"


def _settings(
    store: "Database",
    datasets: list[str] | None,
    form: Literal["pairs", "list"],
    knowledge: str,
    usage: str,
    sample: str | None,
    neighbours: int | None,
    budget: int | None,
    *,
    epochs: int,
    seed: int,
) -> "TrainingSettings":
    from store.records import TrainingSettings

    names = tuple(dict.fromkeys(datasets or [chosen_dataset(store, None)]))
    target = usage == "target"
    return TrainingSettings(names, form, formats(knowledge), target, sample, neighbours, budget, epochs, seed)


def _follow(store: "Database", name: str) -> None:
    """Print metrics as they come; an interrupt ends this, and not the training."""
    from kdtui.errors import KdtuiError
    from kdtui.workflows.fine_tune import follow, one_job

    folder = one_job(store, name).job.folder
    with progress_bar() as progress:
        task = progress.add_task("steps", total=None)
        for line in follow(folder):
            if "loss" in line:
                progress.update(task, completed=line["step"], total=line["steps"])
                say(f"step {line['step']:,} of {line['steps']:,}: loss {line['loss']:.4f}")
            else:
                quality = f", pair F1 {line['pair_f1']:.4f}" if "pair_f1" in line else ""
                say(f"step {line['step']:,}: validation loss {line['valid_loss']:.4f}{quality}")
    status = one_job(store, name).status
    if status.state == "failed":
        raise KdtuiError(f"training {name!r} has failed: {status.reason}")
    if status.state == "done":
        say(f"training {name} is done; use it with: --adapter {name}")
    else:
        say(f"training {name} is {status.state}")


def _to_json(row: "JobRow") -> dict[str, Any]:
    from dataclasses import asdict

    import msgspec

    return {
        "name": row.job.name,
        **asdict(row.status),
        **msgspec.to_builtins(row.job.settings),
        "created_at": row.job.created_at,
    }


_BARS = "▁▂▃▄▅▆▇█"
_CURVE = 60
"""Characters of a curve."""


def _curve(values: list[float]) -> str:
    """A line of bars, the mean of several values each."""
    width = min(_CURVE, len(values))
    means = []
    for number in range(width):
        part = values[number * len(values) // width : (number + 1) * len(values) // width]
        means.append(sum(part) / len(part))
    low, high = min(means), max(means)
    return "".join(_BARS[round((mean - low) / ((high - low) or 1) * (len(_BARS) - 1))] for mean in means)


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
