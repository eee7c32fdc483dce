"""`kdtui sft ls`, `show` and `logs`: show the state of trainings."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdtui.cli.options import (
    DatabaseOption,
    JsonOption,
    OutputOption,
    chosen_output,
    next_command,
    open_store,
)
from kdtui.cli.output import live_table, print_gap, print_json, print_table, print_text, say
from kdtui.cli.sft_options import NameArgument
from kdtui.cli.trainings import (
    curve,
    fetched_message,
    follow_training,
    print_log,
    refresh_training,
    say_if_to_evaluate,
    try_to_fetch,
)

if TYPE_CHECKING:
    from kdtui.workflows.job_state import Training


def ls(
    cached: Annotated[bool, typer.Option("--cached", help="Show the last known states, without asking hosts.")] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """List the trainings, newest first.

    Trainings on hosts are first shown in their last known state, and updated when their host has answered.
    """
    from kdtui.workflows.finish_jobs import finish_job
    from kdtui.workflows.job_state import known_trainings

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        trainings = known_trainings(store)
        if not trainings:
            print_table(_COLUMNS, (), output=printed_as, empty=_no_training())
            return
        events = []
        with nullcontext() if printed_as != "table" else live_table(_COLUMNS, wide=["datasets"]) as show:
            if show is not None:
                show(map(_cells, trainings))
            # Imported here: the first table does not wait for it.
            from kdtui.workflows.training.on_host import TrainingFetched, check_trainings

            for event in () if cached else check_trainings(store, bring_home=True):
                events.append(event)
                if isinstance(event, TrainingFetched) and event.problem is None:
                    finish_job(store, event.name)
                trainings = known_trainings(store)
                if show is not None:
                    show(map(_cells, trainings))
        if printed_as != "table":
            print_table(_COLUMNS, map(_cells, trainings), output=printed_as, records=map(_to_json, trainings))
        for event in events:
            if isinstance(event, TrainingFetched):
                say(f"kdtui: {event.problem}" if event.problem else fetched_message(event.name, event.files))
            elif event.problem:
                say(f"kdtui: {event.problem}; its trainings are shown in their last known state")
        for training in trainings:
            say_if_to_evaluate(training)


def _no_training() -> str:
    launch = next_command("sft", "launch", "--dataset", "NAME", "--name", "NAME")
    return f"there is no training yet; start one with: {launch}"


_COLUMNS = ["name", "where", "state", "step", "of", "loss", "pair F1", "tokens/s", "left", "seen", "datasets"]


def _cells(training: "Training") -> tuple[object, ...]:
    from kdtui.text import ago, duration

    status = training.status
    return (
        training.job.name,
        training.job.host or "here",
        status.state,
        status.step,
        status.steps,
        status.loss,
        status.pair_f1,
        None if status.tokens_per_second is None else round(status.tokens_per_second),
        duration(status.eta_seconds),
        ago(training.job.seen_at),
        ", ".join(training.job.settings.datasets),
    )


def show(
    name: NameArgument, output: OutputOption = None, as_json: JsonOption = False, database: DatabaseOption = None
) -> None:
    """Show a training: its state, settings and source, its loss and pair F1, and at the end whether it helped."""
    from msgspec import to_builtins

    from kdtui.text import duration
    from kdtui.workflows.job_state import is_to_fetch, known_training
    from kdtui.workflows.training.find_outcome import find_outcome
    from store.default_adapters import default_adapters

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        refresh_training(store, name)
        training = known_training(store, name)
        if is_to_fetch(training):
            try_to_fetch(store, name)
            training = known_training(store, name)
        outcome = find_outcome(store, training)
        defaults = [dataset for dataset, adapter in default_adapters(store).items() if adapter == name]
    say_if_to_evaluate(training)
    worth = {"outcome": outcome and {"verdict": outcome.verdict, **to_builtins(outcome)}, "default_of": defaults}
    if printed_as == "json":
        print_json(_to_json(training) | worth)
        return
    status, settings = training.status, training.job.settings
    shown = _to_json(training) | {
        "datasets": ", ".join(settings.datasets),
        "knowledge": ", ".join(settings.knowledge) or None,
        "target": "the student writes the knowledge" if settings.target else None,
        "eta_seconds": duration(status.eta_seconds),
        "to_evaluate": "when it is done" if training.job.evaluate else None,
        "peak_memory": None if status.pace is None else f"{status.pace.peak_memory_bytes / 1e9:,.1f} GB",
        "pace": None,
        "curve": None,
        "evaluations": None,
        "folder": str(training.job.folder),
        "outcome": outcome and "; ".join(outcome.in_words),
        "default_of": ", ".join(defaults) or None,
    }
    print_table(
        ["" if printed_as == "table" else "what", "value"],
        [(key, value) for key, value in shown.items() if value is not None],
        wide=["value"],
        output=printed_as,
    )
    if status.curve and printed_as == "table":
        print_text(f"loss     {curve(status.curve)}  {status.curve[0]:.3f} to {status.curve[-1]:.3f}")
    values = [value for _, _, value in status.evaluations if value is not None]
    if values and printed_as == "table":
        print_text(f"pair F1  {curve(values)}  {values[0]:.3f} to {values[-1]:.3f}")
    if status.evaluations:
        print_gap(printed_as)
        print_table(["step", "validation loss", "pair F1"], status.evaluations, output=printed_as)


def logs(
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until the training ends.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Print the log of a training; with --follow, also its loss and pair F1 below."""
    from kdtui.workflows.training.service import log_of_training

    with open_store(database) as store:
        if follow:
            follow_training(store, name, database)
            return
        print_log(log_of_training(store, name))


def _to_json(training: "Training") -> dict[str, Any]:
    from dataclasses import asdict

    import msgspec

    return {
        "name": training.job.name,
        **asdict(training.status),
        **msgspec.to_builtins(training.job.settings),
        "host": training.job.host,
        "to_evaluate": training.job.evaluate,
        "seen_at": training.job.seen_at,
        "created_at": training.job.created_at,
    }
