"""`kdtui host`: other machines to train on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.cli import completion
from kdtui.cli.commands import App
from kdtui.cli.options import (
    DatabaseOption,
    JsonOption,
    OutputOption,
    chosen_output,
    next_command,
    open_store,
)
from kdtui.cli.output import print_json, print_table, say
from kdtui.cli.removal import YesOption, confirm_removal
from kdtui.text import counted

if TYPE_CHECKING:
    from store.records import HostSettings

app = App(
    "Add, check and prepare machines to train on.",
    examples=["kdtui host add gpu --ssh me@gpu.example.org", "kdtui host check gpu"],
    no_args_is_help=True,
)

HostArgument = Annotated[
    str, typer.Argument(help="Name of a host.", metavar="NAME", autocompletion=completion.names("hosts"))
]
LauncherOption = Annotated[
    Literal["direct", "slurm"] | None,
    typer.Option(help="A process of its own (direct), or a job of Slurm."),
]
PythonOption = Annotated[
    str | None, typer.Option(help="Python 3.11 or newer there (python3); a path in full, or a command.", metavar="PATH")
]
ProcessesOption = Annotated[int | None, typer.Option(help="Processes of one training, one for each GPU (1).", min=1)]
PartitionOption = Annotated[str | None, typer.Option(help="Slurm's partition.", metavar="NAME")]
TimeOption = Annotated[
    str | None, typer.Option(help="Slurm's time limit; the training goes on in a new job after it.", metavar="TIME")
]
GpusOption = Annotated[int | None, typer.Option(help="GPUs of a node, from Slurm.", min=1)]
NodesOption = Annotated[int | None, typer.Option(help="Nodes, from Slurm (1).", min=1)]
MoreOption = Annotated[
    list[str] | None,
    typer.Option("--option", help="Another option of sbatch, such as --account=ME; may be repeated.", metavar="OPTION"),
]
CommandsOption = Annotated[
    list[str] | None,
    typer.Option("--before", help="A line of sh before the training, for Slurm: module load cuda; may be repeated."),
]


@app.command(
    "add",
    examples=[
        "kdtui host add gpu --ssh me@gpu.example.org",
        "kdtui host add cluster --ssh login --launcher slurm --partition gpu",
    ],
)
def add(
    name: HostArgument,
    ssh: Annotated[
        str | None,
        typer.Option("--ssh", help="How ssh knows it: a host of ~/.ssh/config, or me@host.", metavar="ALIAS"),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="This machine, such as the login node of a cluster.")] = False,
    workdir: Annotated[
        str, typer.Option("--workdir", help="Folder there for all that kdtui brings.", metavar="FOLDER")
    ] = "~/kdtui",
    launcher: LauncherOption = None,
    python: PythonOption = None,
    processes: ProcessesOption = None,
    partition: PartitionOption = None,
    time: TimeOption = None,
    gpus: GpusOption = None,
    nodes: NodesOption = None,
    option: MoreOption = None,
    before: CommandsOption = None,
    db: DatabaseOption = None,
) -> None:
    """Give a machine a name. Nothing is installed there."""
    from kdtui.workflows.training.hosts import changed_host_settings, make_host
    from store.records import HostSettings

    if (ssh is None) == (not local):
        raise typer.BadParameter("say --ssh ALIAS, or --local for this machine")
    settings = changed_host_settings(
        HostSettings(),
        launcher=launcher,
        python=python,
        processes=processes,
        partition=partition,
        time=time,
        gpus=gpus,
        nodes=nodes,
        options=option,
        commands=before,
    )
    with open_store(db) as store:
        host = make_host(store, name, ssh, workdir, settings)
    say(f"host {name}: {host.workdir}; {next_command('host', 'check', name)} says what it lacks")


@app.command("set", examples=["kdtui host set gpu --processes 4"])
def set_(
    name: HostArgument,
    launcher: LauncherOption = None,
    python: PythonOption = None,
    processes: ProcessesOption = None,
    partition: PartitionOption = None,
    time: TimeOption = None,
    gpus: GpusOption = None,
    nodes: NodesOption = None,
    option: MoreOption = None,
    before: CommandsOption = None,
    db: DatabaseOption = None,
) -> None:
    """Change how trainings are started on a host."""
    from kdtui.workflows.training.hosts import changed_host_settings
    from store.hosts import change_host, get_host

    with open_store(db) as store:
        settings = changed_host_settings(
            get_host(store, name).settings,
            launcher=launcher,
            python=python,
            processes=processes,
            partition=partition,
            time=time,
            gpus=gpus,
            nodes=nodes,
            options=option,
            commands=before,
        )
        change_host(store, name, settings)
    say(f"host {name}: {_how(settings)}")


@app.command("ls", examples=["kdtui host ls"])
def ls(output: OutputOption = None, as_json: JsonOption = False, db: DatabaseOption = None) -> None:
    """List the hosts."""
    import msgspec

    from store.hosts import list_hosts

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        hosts = list_hosts(store)
    print_table(
        ["name", "ssh", "workdir", "how"],
        [(host.name, host.ssh or "this machine", host.workdir, _how(host.settings)) for host in hosts],
        wide=["workdir", "how"],
        output=told,
        records=(
            {"name": host.name, "ssh": host.ssh, "workdir": host.workdir, **msgspec.to_builtins(host.settings)}
            for host in hosts
        ),
        empty=f"there is no host yet; add one with: {next_command('host', 'add', 'NAME', '--ssh', 'ALIAS')}",
    )


@app.command("check", examples=["kdtui host check gpu"])
def check(
    name: HostArgument,
    base: Annotated[
        str, typer.Option("--base", help="Say too whether this base is there.", metavar="BASE")
    ] = "smollm2",
    output: OutputOption = None,
    as_json: JsonOption = False,
    db: DatabaseOption = None,
) -> None:
    """Say what a host has for trainings, what it lacks, and what to do."""
    from dataclasses import asdict

    from kdtui.errors import KdtuiError
    from kdtui.workflows.training.hosts import check_host_for

    told = chosen_output(output, as_json)
    with open_store(db) as store:
        looked_at = check_host_for(store, name, base)
    findings = []
    for finding in looked_at:
        findings.append(finding)
        if told == "json":
            print_json(asdict(finding))
    if told != "json":
        headings = ["", "", "found", "what to do"] if told == "table" else ["what", "state", "found", "what to do"]
        print_table(
            headings,
            [(each.name, each.state, each.found, each.advice or None) for each in findings],
            wide=["found", "what to do"],
            output=told,
        )
    missing = [each.name for each in findings if each.state == "missing"]
    if missing:
        raise KdtuiError(f"host {name} cannot train yet: {', '.join(missing)}")


@app.command("setup", examples=["kdtui host setup gpu"])
def setup(
    name: HostArgument,
    wheels: Annotated[
        Path | None,
        typer.Option(
            "--wheels",
            help="For a host without a network: a folder of wheels, which are brought there.",
            metavar="FOLDER",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    db: DatabaseOption = None,
) -> None:
    """Install what a training needs, in a virtual environment in the workdir; after an interrupt the same goes on."""
    from kdtui.workflows.training.hosts import set_up
    from store.hosts import get_host

    with open_store(db) as store:
        host = get_host(store, name)
    already = " already"
    for text in set_up(host, wheels):
        already = ""
        for line in text.decode("utf-8", "replace").splitlines():
            say(line)
    say(f"host {name} is ready{already}; {next_command('host', 'check', name)} says what it has")


@app.command("connect", examples=["kdtui host connect gpu --hours 12"])
def connect(
    name: HostArgument,
    hours: Annotated[int, typer.Option(help="How long the connection stays.", min=1, max=72)] = 8,
    db: DatabaseOption = None,
) -> None:
    """Log in where ssh asks for a password or a code; all commands go through this connection then."""
    import subprocess

    from kdtui.errors import KdtuiError
    from kdtui.jobs.ssh import ask_shared, connect_command, shared_socket
    from store.hosts import get_host

    with open_store(db) as store:
        host = get_host(store, name)
    if host.ssh is None:
        raise KdtuiError(f"host {name} is this machine; there is nothing to connect to")
    if ask_shared(host.ssh, "check"):
        say(f"there is a connection to {name} already")
        return
    # That of a machine that was switched off.
    Path(shared_socket(host.ssh)).unlink(missing_ok=True)
    if subprocess.run(connect_command(host.ssh, hours), check=False).returncode or not ask_shared(host.ssh, "check"):
        raise KdtuiError(f"host {name} did not let us in; what ssh says stands above")
    say(f"connected to {name} for {counted(hours, 'hour')}")


@app.command("rm", examples=["kdtui host rm gpu", "kdtui host rm gpu other --yes"])
def rm(
    names: Annotated[
        list[str], typer.Argument(help="Names of hosts.", metavar="NAME", autocompletion=completion.names("hosts"))
    ],
    yes: YesOption = False,
    db: DatabaseOption = None,
) -> None:
    """Delete hosts from the list, and end the connections that kdtui host connect has left; nothing changes there."""
    from kdtui.jobs.ssh import ask_shared
    from store.hosts import check_unused, forget_host, get_host

    with open_store(db) as store:
        hosts = [get_host(store, name) for name in dict.fromkeys(names)]
        for host in hosts:
            check_unused(store, host.name)
        stays = {host.name: [f"whose folder stays: {host.workdir}"] for host in hosts}
        confirm_removal({f"host {name}": told for name, told in stays.items()}, yes=yes)
        for host in hosts:
            forget_host(store, host.name)
            if host.ssh is not None:
                ask_shared(host.ssh, "exit")
            say(", ".join([f"deleted host {host.name}", *stays[host.name]]))


def _how(settings: "HostSettings") -> str:
    if settings.launcher == "direct":
        return counted(settings.processes, "process", "processes")
    parts = {
        "partition": settings.partition,
        "time": settings.time,
        "GPUs": settings.gpus,
        "nodes": settings.nodes if settings.nodes > 1 else None,
    }
    return ", ".join(["Slurm", *(f"{name} {value}" for name, value in parts.items() if value is not None)])
