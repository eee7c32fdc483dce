"""`kdtui router`: choose one of several adapters for each session."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.cli import completion
from kdtui.cli.commands import App
from kdtui.cli.options import (
    DatabaseOption,
    DatasetOption,
    JsonOption,
    OutputOption,
    SessionsOption,
    chosen_dataset,
    chosen_output,
    open_store,
)
from kdtui.cli.output import Output, print_gap, print_json, print_table, progress_bar, say
from kdtui.cli.removal import YesOption, confirm_removal
from kdtui.cli.student_messages import StudentMessages
from kdtui.text import counted

if TYPE_CHECKING:
    from kdtui.distill.routing import Router
    from kdtui.workflows.adapters.routers import RouterEvent, RouterReport

app = App(
    "Train routers, which choose an adapter for each session.",
    examples=[
        "kdtui router train formats --dataset demo-outdoor --adapter with-rules --adapter with-thoughts",
        "kdtui router compare formats --dataset demo-outdoor",
    ],
    no_args_is_help=True,
)

NameArgument = Annotated[
    str, typer.Argument(help="Name of a router.", metavar="NAME", autocompletion=completion.names("routers"))
]


@app.command(
    "train",
    examples=["kdtui router train formats --dataset demo-outdoor --adapter with-rules --adapter with-thoughts"],
)
def train(
    name: Annotated[str, typer.Argument(help="Name for the router; --adapter routed:NAME uses it.", metavar="NAME")],
    adapter: Annotated[
        list[str],
        typer.Option(
            "--adapter",
            "-a",
            help="Adapter that writes lists; give two or more.",
            metavar="NAME",
            autocompletion=completion.names("adapters"),
        ),
    ],
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "-d",
            help="Dataset whose validation sessions to learn from; may be repeated.",
            metavar="NAME",
            autocompletion=completion.names("datasets"),
        ),
    ] = None,
    limit: SessionsOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a router of this name.")] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Train a router on validation sessions.

    Each adapter answers the validation sessions, unless a run has its answers already. A small model then learns which
    adapter to choose from features of the session: its size, how likely its pairs are, its categories. The table
    compares the router with the best adapter, one chosen at random, a vote of all, and the best possible choices.
    """
    from kdtui.workflows.adapters.routers import RouterTrained, train_router

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store, StudentMessages() as tell:
        datasets = dataset or [chosen_dataset(store, None)]
        events = train_router(store, name, datasets, adapter, limit=limit, replace_old=replace, tell=tell)
        trained = _follow(events)
    assert isinstance(trained, RouterTrained)
    _print_report(trained.report, printed_as)
    say(f"{trained.report.in_words}; each session is answered as a router fitted on the other sessions chooses")
    _say_if_constant(trained.router)


@app.command(
    "compare",
    examples=["kdtui router compare formats --dataset demo-outdoor --split test"],
)
def compare(
    name: NameArgument,
    dataset: DatasetOption = None,
    split: Annotated[Literal["train", "valid", "test"], typer.Option(help="Split to answer and score.")] = "test",
    limit: SessionsOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Compare a router with other ways to use its adapters, on a split that it has not learned from."""
    from kdtui.workflows.adapters.routers import RouterReport, compare_routes

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store, StudentMessages() as tell:
        report = _follow(compare_routes(store, name, chosen_dataset(store, dataset), split, limit=limit, tell=tell))
    assert isinstance(report, RouterReport)
    _print_report(report, printed_as)
    say(report.in_words)


@app.command("ls", examples=["kdtui router ls"])
def ls(output: OutputOption = None, as_json: JsonOption = False, database: DatabaseOption = None) -> None:
    """List the routers."""
    from kdtui.workflows.student.routed import load_router
    from store.routers import list_routers

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        routers = [(stored, load_router(store, stored.name)) for stored in list_routers(store)]
    print_table(
        ("router", "datasets", "sessions", "adapters"),
        [
            (
                stored.name,
                ", ".join(router.datasets),
                f"{router.sessions:,}",
                ", ".join(route.name for route in router.routes),
            )
            for stored, router in routers
        ],
        wide=("adapters",),
        right=("sessions",),
        output=printed_as,
        records=(
            {"name": stored.name, "created_at": stored.created_at, **_to_json(router)} for stored, router in routers
        ),
        empty="there is no router yet; train one with: kdtui router train",
    )


@app.command("show", examples=["kdtui router show formats"])
def show(
    name: NameArgument, output: OutputOption = None, as_json: JsonOption = False, database: DatabaseOption = None
) -> None:
    """Show a router: its adapters, best on average first, the weights of its features, and its cross-validation."""
    from kdtui.workflows.student.routed import available_adapters, load_router

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        router = load_router(store, name)
        _, missing = available_adapters(store, router)
    if printed_as == "json":
        print_json({"name": name, **_to_json(router), "missing": missing})
        return
    features = [
        (name, *(f"{route.weights[name]:+.3f}" for route in router.routes))
        for name in (() if router.penalty is None else router.mean)
    ]
    names = [route.name for route in router.routes]
    print_table(
        ("expected gain by", *names),
        [("mean pair F1", *(f"{route.score:.3f}" for route in router.routes)), *features],
        right=names,
        output=printed_as,
    )
    if router.validation:
        print_gap(printed_as)
        print_table(
            (f"on {counted(router.sessions, 'validation session')}", "pair F1", "95 % interval"),
            [(each.name, f"{each.mean:.3f}", f"{each.low:.3f} to {each.high:.3f}") for each in router.validation],
            right=("pair F1", "95 % interval"),
            output=printed_as,
        )
    _say_if_constant(router)
    for route, why in missing.items():
        say(f"kdtui: {route} is missing, and other adapters answer its sessions: {why}")


@app.command("rm", examples=["kdtui router rm formats"])
def rm(name: NameArgument, yes: YesOption = False, database: DatabaseOption = None) -> None:
    """Delete a router; its adapters and runs stay."""
    from store.routers import delete_router, get_router

    with open_store(database) as store:
        get_router(store, name)
        confirm_removal({f"router {name}": ["its adapters and runs stay"]}, yes=yes)
        delete_router(store, name)
    say(f"deleted router {name}")


def _say_if_constant(router: "Router") -> None:
    """Say so if a router always chooses the same adapter."""
    if (why := router.why_constant) is not None:
        say(f"it always chooses {router.routes[0].name}: {why}")


def _follow(events: "Iterator[RouterEvent]") -> "RouterEvent":
    """Show the progress of the answers and return the last event."""
    from kdtui.workflows.adapters.routers import RouteBegun
    from kdtui.workflows.runs.evaluate import RunBegun
    from kdtui.workflows.student.generate import SessionAnswered
    from models.student_protocol import Noted

    event = None
    with progress_bar() as progress:
        task = progress.add_task("sessions", visible=False)
        for event in events:
            match event:
                case RouteBegun():
                    say(f"{event.route} on {event.dataset} {event.split}")
                    progress.update(task, visible=False)
                case RunBegun():
                    say(f"run {event.run.id}: {counted(event.sessions - event.answered, 'session')} to answer")
                    progress.update(task, total=event.sessions, completed=event.answered, visible=True)
                case SessionAnswered():
                    progress.advance(task)
                    if event.prediction.error is not None:
                        say(f"kdtui: session {event.session.id}: {event.prediction.error}")
                case Noted():
                    say(f"kdtui: {event.text}")
    assert event is not None
    return event


def _to_json(router: "Router") -> dict[str, object]:
    import msgspec

    record: dict[str, object] = msgspec.to_builtins(router)
    return record


def _print_report(report: "RouterReport", printed_as: Output) -> None:
    from dataclasses import asdict

    print_table(
        ("answered by", "pair F1", "95 % interval", "chosen for"),
        [
            (
                row.name,
                f"{row.estimate.mean:.3f}",
                f"{row.estimate.low:.3f} to {row.estimate.high:.3f}",
                "" if row.chosen_for is None else counted(row.chosen_for, "session"),
            )
            for row in report.rows
        ],
        right=("pair F1", "95 % interval"),
        output=printed_as,
        records=({"name": row.name, **asdict(row.estimate), "chosen_for": row.chosen_for} for row in report.rows),
    )
