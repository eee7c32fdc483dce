"""`kdtui model`: name, quantize, list and forget models."""

from pathlib import Path
from typing import Annotated

import typer

from kdtui.cli.options import DatabaseOption, JsonOption, database_path, open_store
from kdtui.cli.output import print_json, print_table, say

app = typer.Typer(help="Add, quantize, list and forget models.", no_args_is_help=True)

NameOption = Annotated[str | None, typer.Option("--name", help="What to call it.", metavar="NAME")]


@app.command("ls")
def ls(as_json: JsonOption = False, db: DatabaseOption = None) -> None:
    """List the models that --student takes by name, and the adapters that --adapter takes."""
    from kdtui.workflows.manage_models import list_models

    with open_store(db) as store:
        rows = list(list_models(store))
    if as_json:
        for row in rows:
            info = row.info
            print_json(
                {
                    "name": row.name,
                    "kind": row.kind,
                    "architecture": info and info.architecture,
                    "parameters": info and info.parameters,
                    "quantization": info and info.quantization,
                    "bytes": info and info.bytes,
                    "context": info and info.context,
                    "path": str(row.path),
                    "source": row.source,
                    "problem": row.problem,
                }
            )
        return
    print_table(
        ["name", "kind", "million weights", "bits", "MB", "context", "from"],
        [
            (row.name, row.kind, None, None, None, None, row.problem or row.source)
            if row.info is None
            else (
                row.name,
                row.info.architecture,
                round(row.info.parameters / 1e6),
                row.info.quantization,
                round(row.info.bytes / 1e6),
                row.info.context,
                row.source,
            )
            for row in rows
        ],
        wide=["from"],
    )


@app.command("add")
def add(
    source: Annotated[str, typer.Argument(help="GGUF file, or OWNER/NAME of a repository.", metavar="SOURCE")],
    name: NameOption = None,
    file: Annotated[
        str | None, typer.Option("--file", help="Which GGUF file of the repository.", metavar="FILE")
    ] = None,
    db: DatabaseOption = None,
) -> None:
    """Give a model a name: a file, which stays where it is, or one that is fetched from a hub."""
    from kdtui.workflows.manage_models import add_file, add_from_hub, is_repository

    with open_store(db) as store:
        if is_repository(source) and not Path(source).exists():
            model = add_from_hub(store, source, file, name, models_folder(db))
        else:
            model = add_file(store, Path(source), name)
    say(f"{model.path} is now {model.name}; use it with: --student {model.name}")


@app.command("quantize")
def quantize(
    student: Annotated[str, typer.Argument(help="Name of a model, or a GGUF file.", metavar="MODEL")],
    to: Annotated[
        str, typer.Option("--to", help="Q4_0, Q4_K_M, Q5_K_M, Q6_K, Q8_0, BF16, F16 or F32.", metavar="KIND")
    ] = "Q4_0",
    name: NameOption = None,
    db: DatabaseOption = None,
) -> None:
    """Write a model in another number of bits per weight; kdtui doctor says which suits this machine."""
    from kdtui.workflows.manage_models import quantize_model

    with open_store(db) as store:
        model, before, after = quantize_model(store, student, to.upper(), name, models_folder(db))
    say(f"{model.path} has {after / 1e6:,.0f} MB, of {before / 1e6:,.0f} before; use it with: --student {model.name}")


@app.command("rm")
def rm(
    name: Annotated[str, typer.Argument(help="Name of a model.", metavar="NAME")], db: DatabaseOption = None
) -> None:
    """Forget a model; a file that kdtui made or fetched is deleted, any other stays."""
    from kdtui.workflows.manage_models import remove_model

    with open_store(db) as store:
        deleted = remove_model(store, name)
    say(f"forgot {name}" + (f", and deleted {deleted}" if deleted else "; its file stays"))


def models_folder(db: Path | None) -> Path:
    """Where models go that kdtui makes or fetches: beside the database, which knows them."""
    return database_path(db).resolve().parent / "models"
