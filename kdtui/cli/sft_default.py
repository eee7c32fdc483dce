"""`kdtui sft default`: which adapter answers a dataset by default."""

from typing import Annotated

import typer

from kdtui.cli import completion
from kdtui.cli.options import (
    DatabaseOption,
    JsonOption,
    OutputOption,
    chosen_output,
    open_store,
)
from kdtui.cli.output import print_table, say


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

    printed_as = chosen_output(output, as_json)
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
                output=printed_as,
                empty="no dataset has a default adapter; the shipped student answers them all",
            )
