"""`kdtui model`: add, quantize, merge, export, list and delete models."""

from pathlib import Path
from typing import Annotated

import typer

from kdtui.cli import completion
from kdtui.cli.commands import App
from kdtui.cli.options import (
    LARGEST,
    DatabaseOption,
    JsonOption,
    OutputOption,
    chosen_output,
    database_path,
    open_store,
)
from kdtui.cli.options import adapters as weighted
from kdtui.cli.output import print_json, print_table, say
from kdtui.cli.removal import YesOption, confirm_removal

app = App(
    "Add, quantize, merge, export, list and delete models.",
    examples=["kdtui model ls", "kdtui model quantize smollm2 --to Q4_0"],
    no_args_is_help=True,
)

NameOption = Annotated[str | None, typer.Option("--name", help="Name for the model or adapter.", metavar="NAME")]


@app.command("ls", examples=["kdtui model ls"])
def ls(output: OutputOption = None, as_json: JsonOption = False, database: DatabaseOption = None) -> None:
    """List the models for --student and the adapters for --adapter."""
    from kdtui.workflows.manage_models import list_models

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        rows = list(list_models(store))
    print_table(
        ["name", "kind", "million weights", "bits", "MB", "context", "default for", "from"],
        [
            (row.name, row.kind, None, None, None, None, ", ".join(row.default_for), row.problem or row.source)
            if row.info is None
            else (
                row.name,
                row.info.architecture,
                round(row.info.parameters / 1e6),
                row.info.quantization,
                round(row.info.bytes / 1e6),
                row.info.context,
                None,
                row.source,
            )
            for row in rows
        ],
        wide=["from"],
        output=printed_as,
        records=(
            {
                "name": row.name,
                "kind": row.kind,
                "architecture": row.info and row.info.architecture,
                "parameters": row.info and row.info.parameters,
                "quantization": row.info and row.info.quantization,
                "bytes": row.info and row.info.bytes,
                "context": row.info and row.info.context,
                "path": str(row.path),
                "source": row.source,
                "problem": row.problem,
                "default_for": row.default_for,
            }
            for row in rows
        ),
    )


@app.command("show", examples=["kdtui model show smollm2"])
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a model or an adapter.",
            metavar="NAME",
            autocompletion=completion.names("models", "shipped", "smollm2", "minilm"),
        ),
    ],
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Show the header of a model file; for an adapter also its training and the models that it fits."""
    from dataclasses import asdict

    from kdtui.workflows.student.describe_model import describe_model, detail_lines, find_fits, summary_lines

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        details = describe_model(store, name)
        fits = list(find_fits(store, details)) if details.adapter is not None else []
    if printed_as == "json":
        info = details.row.info
        print_json(
            {
                "name": name,
                "kind": details.row.kind,
                "path": str(details.row.path),
                "source": details.row.source,
                "problem": details.row.problem,
                "default_for": details.row.default_for,
                "info": info and asdict(info),
                "header": details.header,
                "adapter": details.adapter and asdict(details.adapter),
                "training": details.training,
                "fits": [asdict(each) for each in fits],
            }
        )
        return
    rows = [
        *summary_lines(details),
        *(("fits", f"{each.base}: {each.answer}") for each in fits),
        *detail_lines(details),
    ]
    print_table(["what", "value"], rows, wide=["value"], output=printed_as)


@app.command(
    "add",
    examples=[
        "kdtui model add ~/models/qwen.gguf --name qwen",
        "kdtui model add Qwen/Qwen3-0.6B-GGUF --file Qwen3-0.6B-Q8_0.gguf",
        "kdtui model add shipped-adapter --name camping",
    ],
)
def add(
    source: Annotated[
        str,
        typer.Argument(help="GGUF file, folder of an adapter, or OWNER/NAME of a hub repository.", metavar="SOURCE"),
    ],
    name: NameOption = None,
    file: Annotated[
        str | None, typer.Option("--file", help="GGUF file in the repository or folder.", metavar="FILE")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Add a model under a name: a GGUF file, which stays where it is, or a download from a hub.

    A folder can hold an adapter (exported by kdtui, saved by PEFT, or a GGUF file) or a router with its adapters. It is
    checked and copied, so you can delete the folder.
    """
    from kdtui.workflows.manage_models import add_file, add_from_hub, is_repository, models_folder

    with open_store(database) as store:
        if Path(source).is_dir():
            from kdtui.workflows.adapters.exchange_router import import_router, is_router
            from kdtui.workflows.adapters.import_adapter import import_adapter

            if is_router(Path(source)):
                moved = import_router(store, Path(source), name, models_folder(database_path(database)))
                for note in moved.notes:
                    say(f"note: {note}")
                say(moved.in_words)
                return
            taken = import_adapter(store, Path(source), name, models_folder(database_path(database)), gguf=file)
            if taken.note is not None:
                say(f"note: {taken.note}")
            say(taken.in_words)
            return
        if is_repository(source) and not Path(source).exists():
            model = add_from_hub(store, source, file, name, models_folder(database_path(database)))
        else:
            model = add_file(store, Path(source), name)
    say(f"{model.path} is now {model.name}; use it with: --student {model.name}")


@app.command("quantize", examples=["kdtui model quantize smollm2 --to Q4_0"])
def quantize(
    student: Annotated[
        str,
        typer.Argument(
            help="Name of a model, or a GGUF file.",
            metavar="MODEL",
            autocompletion=completion.names("bases", "smollm2"),
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="Q4_0, Q4_K_M, Q5_K_M, Q6_K, Q8_0, BF16, F16 or F32.",
            metavar="KIND",
            autocompletion=completion.one_of(*completion.QUANTIZATIONS),
        ),
    ] = "Q4_0",
    name: NameOption = None,
    database: DatabaseOption = None,
) -> None:
    """Quantize a model to fewer bits per weight; kdtui doctor says which quantization suits this machine."""
    from kdtui.workflows.manage_models import Quantized, models_folder, quantize_model

    with open_store(database) as store:
        for event in quantize_model(store, student, to.upper(), name, models_folder(database_path(database))):
            if isinstance(event, Quantized):
                sizes = f"{event.after / 1e6:,.0f} MB, before {event.before / 1e6:,.0f} MB"
                say(f"{event.model.path} has {sizes}; use it with: --student {event.model.name}")


@app.command(
    "merge",
    examples=[
        "kdtui model merge camping=0.7 kitchen=0.3 --name both",
        "kdtui model merge camping kitchen --rank 16",
    ],
)
def merge(
    adapters: Annotated[
        list[str],
        typer.Argument(
            help="Adapters by name or GGUF file, each with a weight (1).",
            metavar="ADAPTER[=WEIGHT]",
            autocompletion=completion.names("adapters", "shipped"),
        ),
    ],
    rank: Annotated[
        int | None,
        typer.Option(
            "--rank",
            help="Reduce the sum to this rank, by its largest singular values; by default the exact sum is kept.",
            min=1,
            max=LARGEST,
            metavar="N",
        ),
    ] = None,
    name: NameOption = None,
    database: DatabaseOption = None,
) -> None:
    """Merge adapters of one base into one: their weighted sum."""
    from kdtui.workflows.adapters.merge import merge_adapters
    from kdtui.workflows.manage_models import models_folder

    with open_store(database) as store:
        made = merge_adapters(store, weighted(adapters) or (), name, models_folder(database_path(database)), rank=rank)
    for note in made.notes:
        say(f"note: {note}")
    say(made.in_words)


@app.command(
    "export",
    examples=[
        "kdtui model export shipped --output shipped-adapter --licence apache-2.0",
        "kdtui model export camping --output camping --base HuggingFaceTB/SmolLM2-135M-Instruct",
        "kdtui model export routed:formats --output formats",
    ],
)
def export(
    adapter: Annotated[
        str,
        typer.Argument(
            help="Adapter by name or GGUF file; or routed:NAME, a router with its adapters.",
            metavar="ADAPTER",
            autocompletion=completion.names("adapters", "shipped"),
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", metavar="FOLDER")],
    licence: Annotated[
        str | None,
        typer.Option("--licence", help="Licence of the adapter for its card, such as apache-2.0.", metavar="NAME"),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", help="Id of the base on a hub, if kdtui does not know it.", metavar="OWNER/NAME"),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier export in the folder.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Export an adapter to a folder that PEFT, llama.cpp, vLLM and kdtui can load, with a card for hubs."""
    from kdtui.workflows.adapters.exchange_router import export_router
    from kdtui.workflows.adapters.export import export_adapter
    from kdtui.workflows.model_names import ROUTED

    with open_store(database) as store:
        if adapter.startswith(ROUTED):
            router = adapter.removeprefix(ROUTED)
            moved = export_router(store, router, output, licence=licence, base=base, replace=replace)
            say(moved.in_words)
            for note in moved.notes:
                say(f"note: {note}")
            return
        made = export_adapter(store, adapter, output, licence=licence, base=base, replace=replace)
    say(made.in_words)
    if made.note is not None:
        say(f"note: {made.note}")


@app.command("rm", examples=["kdtui model rm smollm2-q4_0", "kdtui model rm one two --yes"])
def rm(
    names: Annotated[
        list[str], typer.Argument(help="Names of models.", metavar="NAME", autocompletion=completion.names("models"))
    ],
    yes: YesOption = False,
    database: DatabaseOption = None,
) -> None:
    """Delete models. A file that kdtui did not make or download stays.

    The adapter of a training is deleted with the training: kdtui sft rm.
    """
    from kdtui.workflows.manage_models import own_files, removable_model, remove_model
    from kdtui.workflows.model_uses import uses_of_model

    with open_store(database) as store:
        chosen = {}
        for name in dict.fromkeys(names):
            model = removable_model(store, name)
            own = own_files(model)
            files = f"with {own}" if own is not None else f"whose file stays: {model.path}"
            chosen[name] = [files, *uses_of_model(store, name).in_words]
        confirm_removal({f"model {name}": notes for name, notes in chosen.items()}, yes=yes)
        for name, notes in chosen.items():
            remove_model(store, name)
            say(", ".join([f"deleted model {name}", *notes]))
