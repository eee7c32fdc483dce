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
            help="Name of an adapter; without one, list the defaults.",
            metavar="ADAPTER",
            autocompletion=completion.names("adapters", "shipped"),
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "-d",
            help="For this dataset; may be repeated. By default, the datasets that the adapter was trained on.",
            metavar="NAME",
            autocompletion=completion.names("datasets"),
        ),
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Remove the default of --dataset, or of all datasets.")] = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Set the default adapter of datasets, or list the defaults.

    A dataset is answered with its default adapter if neither --student nor --adapter is given. A training that helped
    becomes the default automatically.
    """
    from kdtui.workflows.adapters.defaults import drop_default, make_default
    from store.default_adapters import default_adapters

    printed_as = chosen_output(output, as_json)
    if none and adapter is not None:
        raise typer.BadParameter("--none removes a default; leave out the adapter")
    with open_store(database) as store:
        if none:
            for name, before in drop_default(store, dataset or ()).items():
                say(f"{before} is no longer the default adapter of {name}")
        elif adapter is not None:
            for name in make_default(store, adapter, dataset or ()):
                say(f"{adapter} is now the default adapter of {name}")
        else:
            rows = [(name, each) for name, each in default_adapters(store).items() if name in (dataset or [name])]
            print_table(
                ["dataset", "adapter"],
                rows,
                output=printed_as,
                empty="no dataset has a default adapter; the shipped student answers all of them",
            )
