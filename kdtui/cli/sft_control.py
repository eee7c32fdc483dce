"""`kdtui sft cancel`, `resume`, `fetch`, `adopt` and `rm`: manage trainings."""

from pathlib import Path
from typing import Annotated

import typer

from kdtui.cli import completion
from kdtui.cli.options import (
    DatabaseOption,
    database_path,
    next_command,
    open_store,
)
from kdtui.cli.output import say
from kdtui.cli.removal import YesOption, confirm_removal, counts
from kdtui.cli.sft_options import EvaluateOption, HostOption, NameArgument
from kdtui.cli.trainings import (
    evaluate_adapter,
    fetch_adapter,
    follow_training,
    refresh_training,
    say_outcome,
    start_training,
    stop_training,
)


def cancel(
    name: NameArgument,
    now: Annotated[bool, typer.Option("--now", help="Kill it at once, without a last checkpoint.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Stop a training after it has written a checkpoint; kdtui sft resume continues from there."""
    with open_store(database) as store:
        stop_training(store, name, now=now)


def resume(
    name: NameArgument,
    host: HostOption = None,
    local: Annotated[bool, typer.Option("--local", help="Resume on this machine.")] = False,
    from_here: Annotated[
        bool,
        typer.Option("--from-here", help="Its host is lost: resume from the checkpoints on this machine."),
    ] = False,
    base: Annotated[
        str | None,
        typer.Option("--base", help="The base on this machine, for a training that was adopted.", metavar="BASE"),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show the progress until the training ends.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Resume a training from its last checkpoint: where it ran, on another host, or on this machine."""
    from kdtui.workflows.model_names import trainable_base
    from kdtui.workflows.training.base_files import find_base
    from kdtui.workflows.training.move import move_training
    from store.jobs import get_job

    if local and host is not None:
        raise typer.BadParameter("--local and --host contradict each other; give only one of them")
    if from_here and not local and host is None:
        raise typer.BadParameter("--from-here needs --local or --host, which says where to resume")
    with open_store(database) as store:
        job = get_job(store, name)
        if base is not None:
            find_base(store, job, Path(trainable_base(store, base)))
        if (local or host is not None) and job.host != host:
            move_training(store, job, host, from_here=from_here)
            if from_here and job.host is not None:
                say(f"host {job.host} was not asked; if it comes back, do not resume its copy of {name}")
        start_training(store, name)
        if follow:
            follow_training(store, name, database)


def fetch(
    name: NameArgument,
    checkpoints: Annotated[bool, typer.Option("--checkpoints", help="Fetch the checkpoints, too.")] = False,
    evaluate: EvaluateOption = False,
    database: DatabaseOption = None,
) -> None:
    """Copy the adapter of a training from its host, and say whether the training helped. With --evaluate, here or at
    launch, evaluate it, too.

    Files that are already complete on this machine are not copied again.
    """
    from kdtui.workflows.finish_jobs import finish_job
    from kdtui.workflows.job_state import is_to_fetch, known_training

    with open_store(database) as store:
        training = known_training(store, name)
        to_evaluate = evaluate or training.job.evaluate
        is_here = training.job.host is not None and training.status.state == "done" and not is_to_fetch(training)
        # An adapter that is on this machine is evaluated without its host, which may be gone.
        if checkpoints or not (is_here and to_evaluate):
            fetch_adapter(store, name, checkpoints=checkpoints)
        training = finish_job(store, name)
        if training.status.state == "done":
            if to_evaluate:
                evaluate_adapter(store, name, database)
            say_outcome(store, training)


def adopt(
    place: Annotated[
        str,
        typer.Argument(help="A host, or one training on it.", metavar="HOST[:NAME]"),
    ],
    database: DatabaseOption = None,
) -> None:
    """Add trainings that a host has and this store does not know: one of them, or all."""
    from kdtui.errors import KdtuiError
    from kdtui.workflows.training.adopt import adopt_training, adopt_trainings
    from kdtui.workflows.training.plan import jobs_folder
    from store.hosts import get_host

    host, colon, folder = place.partition(":")
    if not host or (colon and not folder):
        raise typer.BadParameter("give HOST, or HOST:NAME, such as gpu:camping")
    with open_store(database) as store:
        known = get_host(store, host)
        if not folder:
            adopted = []
            for each in adopt_trainings(store, known, jobs_folder(database_path(database))):
                adopted.append(each)
                say(f"kdtui: {each.problem}" if each.problem else f"added training {each.name}")
            if any(each.problem for each in adopted):
                raise KdtuiError(f"could not add all trainings of host {host}")
            say(f"{next_command('sft', 'ls')} shows their states" if adopted else f"host {host} has no other trainings")
            return
        name = folder.removeprefix(f"{known.workdir}/jobs/").strip("/")
        adopt_training(store, known, name, jobs_folder(database_path(database)))
        refresh_training(store, name)
    say(f"added training {name}; {next_command('sft', 'show', name)} shows its state")


def rm(
    names: Annotated[
        list[str],
        typer.Argument(help="Names of trainings.", metavar="NAME", autocompletion=completion.names("trainings")),
    ],
    yes: YesOption = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep their folders on the hosts.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Delete trainings with their folders, checkpoints and adapters, also on their hosts."""
    from kdtui.workflows.model_uses import uses_of_model
    from kdtui.workflows.training.service import remove_training
    from models.sft.job_files import ADAPTER, CHECKPOINTS
    from store.jobs import get_job

    with open_store(database) as store:
        chosen = {}
        for name in dict.fromkeys(names):
            job = get_job(store, name)
            files = counts(
                {
                    "checkpoint": len(list(job.folder.glob(f"{CHECKPOINTS}/*"))),
                    "adapter": int((job.folder / ADAPTER).is_dir()),
                }
            )
            where = [] if job.host is None else [f"whose folder on {job.host} {'stays' if keep else 'is deleted, too'}"]
            chosen[name] = [*files, *where, *uses_of_model(store, name).in_words]
        confirm_removal({f"training {name}": notes for name, notes in chosen.items()}, yes=yes)
        for name, notes in chosen.items():
            remove_training(store, name, keep=keep)
            say(", ".join([f"deleted training {name}", *notes]))
