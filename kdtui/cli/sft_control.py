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
    look,
    start_training,
    stop_training,
)


def cancel(
    name: NameArgument,
    now: Annotated[bool, typer.Option("--now", help="Kill it, without a checkpoint of what it did last.")] = False,
    db: DatabaseOption = None,
) -> None:
    """Stop a training; it leaves a checkpoint, from which kdtui sft resume goes on."""
    with open_store(db) as store:
        stop_training(store, name, now=now)


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
        confirm_removal({f"training {name}": notes for name, notes in chosen.items()}, yes=yes)
        for name, notes in chosen.items():
            remove(store, name, keep=keep)
            say(", ".join([f"deleted training {name}", *notes]))
