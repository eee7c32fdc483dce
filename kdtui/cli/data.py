"""`kdtui data`: import, show, embed, export and delete datasets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdtui.cli import completion
from kdtui.cli.commands import App
from kdtui.cli.options import (
    DatabaseOption,
    DatasetOption,
    JsonOption,
    OutputOption,
    chosen_dataset,
    chosen_output,
    next_command,
    no_dataset_yet,
    open_store,
)
from kdtui.cli.output import print_gap, print_table, progress_bar, say
from kdtui.cli.removal import YesOption, confirm_removal, counts
from kdtui.text import counted

if TYPE_CHECKING:
    from store.sqlite import Database

app = App(
    "Import, show and export datasets.",
    examples=["kdtui data import sessions.jsonl --dataset mine", "kdtui data ls"],
    no_args_is_help=True,
)


@app.command(
    "import",
    examples=[
        "kdtui data import ../shared/data/electronic --dataset electronic",
        "kdtui data import sessions.jsonl --dataset mine --replace",
    ],
)
def import_(
    path: Annotated[Path, typer.Argument(help="A BundleRec directory, or a JSON Lines file.")],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Name for the dataset.", metavar="NAME")],
    seed: Annotated[int, typer.Option(help="Seed of the 7:1:2 split, if the data has no splits.", metavar="N")] = 0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a dataset of the same name, with its knowledge and its runs.")
    ] = False,
    database: DatabaseOption = None,
) -> None:
    """Import a dataset. If the data has a mistake, nothing is imported."""
    from kdtui.workflows.data.import_dataset import import_dataset, imported_in_words
    from store.dataset_writer import WriteProgress
    from store.datasets import dataset_names

    if not dataset.strip():
        raise typer.BadParameter("a dataset needs a name")

    with open_store(database) as store, progress_bar() as progress:
        gone = _what_goes_with(store, dataset) if replace and dataset in dataset_names(store) else None
        task = progress.add_task("sessions", total=None)
        written = WriteProgress()
        try:
            for written in import_dataset(store, path, dataset, seed=seed, replace=replace):
                progress.update(task, completed=written.sessions)
        except KeyboardInterrupt:
            # The interrupt can arrive just after the transaction has ended.
            say(f"interrupted; {next_command('data', 'ls')} shows whether the import was completed")
            raise
    say(imported_in_words(written, dataset))
    if gone is not None:
        say(", ".join(["the dataset of that name was replaced", *gone]))


@app.command("ls", examples=["kdtui data ls", "kdtui data ls --format csv"])
def ls(output: OutputOption = None, as_json: JsonOption = False, database: DatabaseOption = None) -> None:
    """List the datasets."""
    from dataclasses import asdict

    from store.datasets import list_datasets

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        summaries = list_datasets(store)
    print_table(
        ["dataset", "items", "sessions", "with bundles", "bundles", "train", "valid", "test"],
        [(s.name, s.items, s.sessions, s.bundled, s.bundles, s.train, s.valid, s.test) for s in summaries],
        output=printed_as,
        records=map(asdict, summaries),
        empty=no_dataset_yet(),
    )


@app.command(
    "show", examples=["kdtui data show o01 --dataset demo-outdoor", "kdtui data show o01 --dataset demo-outdoor --json"]
)
def show(
    session: Annotated[str, typer.Argument(help="Id of a session.", autocompletion=completion.names("sessions"))],
    dataset: DatasetOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
) -> None:
    """Show a session: its products, and its true bundles with their intents."""
    from kdtui.bundling.truth import minimal_bundles
    from kdtui.exchange.jsonl import encode_session
    from kdtui.text import letter
    from store.sessions import get_session

    printed_as = chosen_output(output, as_json)
    with open_store(database) as store:
        stored = get_session(store, chosen_dataset(store, dataset), session)
    if printed_as == "json":
        print(encode_session(stored).decode(), end="", flush=True)
        return
    letters = {bundle: letter(number) for number, bundle in enumerate(minimal_bundles(stored.bundles))}
    letters_at: dict[int, list[str]] = {}
    for bundle, name in letters.items():
        for position in bundle.positions:
            letters_at.setdefault(position, []).append(name)
    print_table(
        ["#", "bundles", "product", "category"],
        [
            (
                position,
                " ".join(letters_at.get(position, ())),
                item.title,
                " > ".join(item.categories[0]) if item.categories else None,
            )
            for position, item in enumerate(stored.items, start=1)
        ],
        wide=["product", "category"],
        output=printed_as,
    )
    if letters:
        print_gap(printed_as)
        print_table(
            ["bundle", "products", "intent"],
            [(letter, ", ".join(map(str, bundle.positions)), bundle.intent) for bundle, letter in letters.items()],
            wide=["intent"],
            output=printed_as,
        )
    dropped = len(stored.bundles) - len(letters)
    if dropped:
        say(
            f"{counted(dropped, 'more bundle contains or equals', 'more bundles contain or equal')} one of these; the "
            "truth keeps the minimal ones"
        )


@app.command("export", examples=["kdtui data export --dataset demo-outdoor --output outdoor.jsonl"])
def export(
    dataset: DatasetOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; - or no option: stdout.")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Export a dataset as JSON Lines, which kdtui data import reads."""
    import sys

    from kdtui.exchange.jsonl import encode_session
    from kdtui.exchange.output import write_lines
    from store.sessions import iter_sessions

    with open_store(database) as store:
        sessions = iter_sessions(store, chosen_dataset(store, dataset))
        if output is None:
            for session in sessions:
                sys.stdout.buffer.write(encode_session(session))
            sys.stdout.buffer.flush()
            return
        count = write_lines(output, map(encode_session, sessions))
    say(f"exported {counted(count, 'session')} to {output}")


@app.command(
    "embed",
    examples=["kdtui data embed --dataset demo-outdoor", "kdtui data embed --dataset demo-outdoor --with smollm2"],
)
def embed(
    model: Annotated[
        str,
        typer.Option(
            "--with",
            help="minilm (a sentence encoder), smollm2, a name from kdtui model ls, a GGUF file, or URL#MODEL.",
            metavar="MODEL",
            autocompletion=completion.names("bases", "minilm", "smollm2"),
        ),
    ] = "minilm",
    dataset: DatasetOption = None,
    anew: Annotated[bool, typer.Option("--anew", help="Compute existing vectors again, too.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Compute a vector for each session, for --near. After an interrupt, the same command resumes.

    With minilm, the vectors of titles and category names are stored too, for use by the students.
    """
    from kdtui.workflows.data.embed import embed_dataset
    from kdtui.workflows.model_names import absolute_name
    from models.embedded import ENCODER
    from store.text_vectors import count_text_vectors

    with open_store(database) as store, progress_bar() as progress:
        name = chosen_dataset(store, dataset)
        task = progress.add_task("sessions", total=None)
        for event in embed_dataset(store, name, absolute_name(model), anew=anew):
            progress.update(task, completed=event.done, total=event.total)
        texts = count_text_vectors(store, name) if model == ENCODER else 0
    say(
        f"{counted(event.done, f'session of dataset {name} has', f'sessions of dataset {name} have')} a vector of "
        f"{model}"
        + (f"; {counted(texts, 'title or category name has', 'titles and category names have')} one" if texts else "")
    )


@app.command("rm", examples=["kdtui data rm demo-outdoor", "kdtui data rm demo-outdoor demo-kitchen --yes"])
def rm(
    datasets: Annotated[
        list[str],
        typer.Argument(help="Datasets to delete.", metavar="NAME", autocompletion=completion.names("datasets")),
    ],
    yes: YesOption = False,
    database: DatabaseOption = None,
) -> None:
    """Delete datasets, each with its sessions, knowledge and runs."""
    from store.datasets import delete_dataset

    with open_store(database) as store:
        chosen = {name: _what_goes_with(store, name) for name in dict.fromkeys(datasets)}
        confirm_removal({f"dataset {name}": notes for name, notes in chosen.items()}, yes=yes)
        for name, notes in chosen.items():
            delete_dataset(store, name)
            say(", ".join([f"deleted dataset {name}", *notes]))


def _what_goes_with(store: "Database", dataset: str) -> list[str]:
    """Describe what is deleted with a dataset."""
    from store.dataset_contents import dataset_contents

    contents = dataset_contents(store, dataset)
    return counts(
        {
            "session": contents.sessions,
            "piece of knowledge|pieces of knowledge": contents.knowledge,
            "run": contents.runs,
            "vector": contents.vectors,
            "calibration": contents.calibrations,
            "choice of a default adapter": contents.default_adapters,
        }
    ) + counts({"sample": contents.samples}, "out of")
