"""`kdtui knowledge export` and `import`: knowledge as files."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kdtui.cli import completion
from kdtui.cli.options import (
    DatabaseOption,
    DatasetOption,
    PiecesOption,
    QueryOption,
    SampleOption,
    chosen_dataset,
    chosen_pieces,
    open_store,
    some_formats,
)
from kdtui.cli.output import say
from kdtui.text import counted


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", metavar="FOLDER")],
    dataset: DatasetOption = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            help="Formats, comma-separated: pattern, rule, thought.",
            metavar="FORMATS",
            autocompletion=completion.several_of(*completion.FORMATS),
        ),
    ] = "pattern,rule,thought",
    sample: SampleOption = None,
    pieces: PiecesOption = None,
    query: QueryOption = None,
    kind: Annotated[Literal["jsonl", "parquet"], typer.Option("--as", help="Kind of file.")] = "jsonl",
    licence: Annotated[
        str | None, typer.Option("--licence", help="Licence of the knowledge, for the dataset card.", metavar="NAME")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier export in the folder.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Export knowledge with a dataset card into a folder, which datasets.load_dataset reads too.

    Rejected pieces are included, with the reason.
    """
    from kdtui.workflows.knowledge.exchange import dataset_of, export_knowledge
    from store.records import FORMATS

    with open_store(database) as store:
        chosen = chosen_pieces(store, pieces, query)
        name = dataset or (chosen_dataset(store, None) if chosen is None else dataset_of(store, chosen))
        count = export_knowledge(
            store,
            name,
            output,
            formats=some_formats(format_, FORMATS),
            sample=sample,
            pieces=chosen,
            kind=kind,
            licence=licence,
            replace=replace,
        )
    say(f"exported {counted(count, 'piece')} of knowledge to {output}")


def import_(
    path: Annotated[Path, typer.Argument(help="An exported folder, or a file in it.", metavar="PATH")],
    dataset: DatasetOption = None,
    database: DatabaseOption = None,
) -> None:
    """Import knowledge from a folder or a file: all of it, or nothing if it has a mistake.

    Existing pieces are unchanged, and each imported piece records its origin. Mining and distilling never delete
    imported pieces; kdtui knowledge rm --query origin:DATASET does.
    """
    from kdtui.workflows.knowledge.exchange import import_knowledge

    with open_store(database) as store:
        name = chosen_dataset(store, dataset)
        imported = import_knowledge(store, name, path)
    for sentence in imported.sentences(name):
        say(sentence)
