"""`kdtui host`: machines to train on."""

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
    typer.Option(help="Run trainings as processes (direct) or as Slurm jobs (slurm)."),
]
PythonOption = Annotated[
    str | None,
    typer.Option(help="Python 3.11 or newer on the host: a full path or a command (python3).", metavar="PATH"),
]
ProcessesOption = Annotated[int | None, typer.Option(help="Processes of a training, one for each GPU (1).", min=1)]
PartitionOption = Annotated[str | None, typer.Option(help="Slurm partition.", metavar="NAME")]
TimeOption = Annotated[
    str | None, typer.Option(help="Slurm time limit; after it, the job is requeued and resumes.", metavar="TIME")
]
GpusOption = Annotated[int | None, typer.Option(help="GPUs of each Slurm node.", min=1)]
NodesOption = Annotated[int | None, typer.Option(help="Number of Slurm nodes (1).", min=1)]
MoreOption = Annotated[
    list[str] | None,
    typer.Option("--option", help="Extra option of sbatch, such as --account=ME; may be repeated.", metavar="OPTION"),
]
CommandsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--before", help="Shell command for the Slurm job to run first, such as module load cuda; may be repeated."
    ),
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
        typer.Option("--ssh", help="Name for ssh: a host in ~/.ssh/config, or user@host.", metavar="ALIAS"),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="This machine, such as the login node of a cluster.")] = False,
    workdir: Annotated[
        str,
        typer.Option("--workdir", help="Folder on the host for everything that kdtui puts there.", metavar="FOLDER"),
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
    database: DatabaseOption = None,
) -> None:
    """Add a host. Nothing is installed on it."""
    from kdtui.workflows.training.hosts import changed_host_settings, make_host
    from store.records import HostSettings

    if (ssh is None) == (not local):
        raise typer.BadParameter("give --ssh ALIAS, or --local for this machine")
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
    with open_store(database) as store:
        host = make_host(store, name, ssh, workdir, settings)
    say(f"host {name}: {host.workdir}; {next_command('host', 'check', name)} says what is missing there")


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
    database: DatabaseOption = None,
) -> None:
    """Change how trainings are started on a host."""
    from kdtui.workflows.training.hosts import changed_host_settings
    from store.hosts import change_host, get_host

    with open_store(database) as store:
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
    say(f"host {name}: {_launch_summary(settings)}")


@app.command("ls", examples=["kdtui host ls"])
def ls(output: OutputOption = None, as_json: JsonOption = False, database: DatabaseOption = None) -> None:
    """List the hosts."""
    import msgspec

    from store.hosts import list_hosts

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        hosts = list_hosts(store)
    print_table(
        ["name", "ssh", "workdir", "how"],
        [(host.name, host.ssh or "this machine", host.workdir, _launch_summary(host.settings)) for host in hosts],
        wide=["workdir", "how"],
        output=printed_as,
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
        str, typer.Option("--base", help="Check whether the host has this base.", metavar="BASE")
    ] = "smollm2",
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Check what a host has for trainings, what is missing, and what to do about it."""
    from dataclasses import asdict

    from kdtui.errors import KdtuiError
    from kdtui.workflows.training.hosts import check_host_for

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        checks = check_host_for(store, name, base)
    findings = []
    for finding in checks:
        findings.append(finding)
        if printed_as == "json":
            print_json(asdict(finding))
    if printed_as != "json":
        headings = (
            ["", "", "found", "what to do"] if printed_as == "table" else ["what", "state", "found", "what to do"]
        )
        print_table(
            headings,
            [(each.name, each.state, each.found, each.advice or None) for each in findings],
            wide=["found", "what to do"],
            output=printed_as,
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
            help="Folder of wheels to copy to a host without internet access.",
            metavar="FOLDER",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Install the packages for trainings in a virtual environment in the workdir. After an interrupt, repeat it."""
    from kdtui.workflows.training.hosts import set_up
    from store.hosts import get_host

    with open_store(database) as store:
        host = get_host(store, name)
    already = " already"
    for text in set_up(host, wheels):
        already = ""
        for line in text.decode("utf-8", "replace").splitlines():
            say(line)
    say(f"host {name} is ready{already}; {next_command('host', 'check', name)} checks it")


@app.command("connect", examples=["kdtui host connect gpu --hours 12"])
def connect(
    name: HostArgument,
    hours: Annotated[int, typer.Option(help="Hours to keep the connection.", min=1, max=72)] = 8,
    database: DatabaseOption = None,
) -> None:
    """Log in once to a host that asks for a password or a code; all commands then use this connection."""
    import subprocess

    from kdtui.errors import KdtuiError
    from kdtui.hosts.ssh import ask_shared, connect_command, shared_socket
    from store.hosts import get_host

    with open_store(database) as store:
        host = get_host(store, name)
    if host.ssh is None:
        raise KdtuiError(f"host {name} is this machine; there is nothing to connect to")
    if ask_shared(host.ssh, "check"):
        say(f"there is already a connection to {name}")
        return
    # The socket may be left over from before a reboot.
    Path(shared_socket(host.ssh)).unlink(missing_ok=True)
    if subprocess.run(connect_command(host.ssh, hours), check=False).returncode or not ask_shared(host.ssh, "check"):
        raise KdtuiError(f"could not log in to host {name}; see the message of ssh above")
    say(f"connected to {name} for {counted(hours, 'hour')}")


@app.command("rm", examples=["kdtui host rm gpu", "kdtui host rm gpu other --yes"])
def rm(
    names: Annotated[
        list[str], typer.Argument(help="Names of hosts.", metavar="NAME", autocompletion=completion.names("hosts"))
    ],
    yes: YesOption = False,
    database: DatabaseOption = None,
) -> None:
    """Delete hosts from the list and close their connections. Nothing changes on the hosts."""
    from kdtui.hosts.ssh import ask_shared
    from store.hosts import check_unused, forget_host, get_host

    with open_store(database) as store:
        hosts = [get_host(store, name) for name in dict.fromkeys(names)]
        for host in hosts:
            check_unused(store, host.name)
        stays = {host.name: [f"whose folder stays: {host.workdir}"] for host in hosts}
        confirm_removal({f"host {name}": notes for name, notes in stays.items()}, yes=yes)
        for host in hosts:
            forget_host(store, host.name)
            if host.ssh is not None:
                ask_shared(host.ssh, "exit")
            say(", ".join([f"deleted host {host.name}", *stays[host.name]]))


def _launch_summary(settings: "HostSettings") -> str:
    if settings.launcher == "direct":
        return counted(settings.processes, "process", "processes")
    parts = {
        "partition": settings.partition,
        "time": settings.time,
        "GPUs": settings.gpus,
        "nodes": settings.nodes if settings.nodes > 1 else None,
    }
    return ", ".join(["Slurm", *(f"{name} {value}" for name, value in parts.items() if value is not None)])
