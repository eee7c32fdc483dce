"""Options that several commands share, and what they mean."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdtui.workflows.command_options import adapters as adapters
from kdtui.workflows.command_options import formats as formats

if TYPE_CHECKING:
    from store.records import Format
    from store.sqlite import Database

LARGEST = 2**63 - 1
"""The largest number that SQLite can hold."""


def _database_file(text: str) -> Path:
    # An empty path would be the folder that one is in.
    if not text:
        raise typer.BadParameter("it is empty; name a database file, or leave out --db")
    return Path(text)


DatabaseOption = Annotated[
    Path | None,
    typer.Option(
        "--db",
        help="Database file (or set KDTUI_DB); by default in your data folder.",
        metavar="PATH",
        parser=_database_file,
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option("--dataset", "-d", help="Dataset; may be left out where there is only one.", metavar="NAME"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", help="Rows at most.", min=1, max=LARGEST, metavar="N")]
SessionsOption = Annotated[
    int | None,
    typer.Option(
        "--limit",
        help="Only N sessions, drawn by chance: the same each time, and a smaller N within a larger one.",
        min=1,
        max=LARGEST,
        metavar="N",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", help="Draw the sessions of --limit by another seed (0).", min=0, max=LARGEST, metavar="N"),
]
StudentOption = Annotated[
    str,
    typer.Option(
        "--student",
        "-s",
        help="shipped (smollm2, trained), smollm2 (as it is), patterns (no weights), a name that kdtui model ls shows, "
        "a GGUF file, or URL#MODEL.",
        metavar="STUDENT",
    ),
]
KnowledgeOption = Annotated[
    str,
    typer.Option(
        "--knowledge", help="Formats to show the student, comma-separated: pattern, rule, thought.", metavar="FORMATS"
    ),
]
AskedKnowledgeOption = Annotated[
    str | None,
    typer.Option(
        "--knowledge",
        help="Formats to show the student, comma-separated: pattern, rule, thought, or none; by default what the "
        "adapter was trained with.",
        metavar="FORMATS",
    ),
]
SampleOption = Annotated[
    str | None, typer.Option("--sample", help="Take the knowledge from this sample only.", metavar="NAME")
]
NeighboursOption = Annotated[
    int | None,
    typer.Option("--neighbours", "-k", help="Training sessions whose thoughts are shown (1).", min=1, max=50),
]
NearOption = Annotated[
    str | None,
    typer.Option(
        "--near",
        help="Embedding model that says which sessions are near (BM25); see kdtui data embed.",
        metavar="MODEL",
    ),
]
BudgetOption = Annotated[
    int | None,
    typer.Option(
        "--budget", help="Tokens of rules and thoughts for one session (600).", min=1, max=LARGEST, metavar="N"
    ),
]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        help="list, drafts, pairs or aicl; by default what kdtui calibrate has chosen, what the adapter was trained "
        "for, or list.",
        metavar="NAME",
    ),
]
AdapterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        "-a",
        help="LoRA adapter: a name or a GGUF file, and how strongly it acts; may be repeated; none for none.",
        metavar="NAME[=SCALE]",
    ),
]
PiecesOption = Annotated[
    str | None,
    typer.Option(
        "--pieces", help="Just these pieces: 3,17,40-52; - reads their numbers from stdin.", metavar="NUMBERS"
    ),
]
QueryOption = Annotated[
    str | None,
    typer.Option("--query", "-q", help="Just what kdtui knowledge search --all QUERY finds.", metavar="QUERY"),
]
ContextOption = Annotated[
    int | None, typer.Option("--context", help="Tokens that prompt and answer have together.", min=256, metavar="N")
]


def finite(value: float | None) -> float | None:
    """A number that an option takes, within the limits that it has: NaN would be within all of them.

    Raises:
        typer.BadParameter: it is not a number, or infinite.
    """
    if value is not None and not isfinite(value):
        raise typer.BadParameter(f"{value} is not a number that can be counted with.")
    return value


def remember_database(path: Path | None) -> None:
    """Make `kdtui --db PATH COMMAND` mean the same as `kdtui COMMAND --db PATH`."""
    if path is not None:
        os.environ["KDTUI_DB"] = str(path)


def database_path(option: Path | None) -> Path:
    """The database that the options and the environment name."""
    from store.place import default_path

    return option if option is not None else default_path()


@contextmanager
def open_store(option: Path | None) -> Iterator[Database]:
    """The store, open for one command. One that is not there is empty, and made when something is stored in it."""
    from kdtui.cli.output import say
    from kdtui.workflows.waiting import Waiting
    from store.database import open_database
    from store.errors import NotFound
    from store.place import is_named, is_there

    path = database_path(option)
    told = Waiting(lambda sentence: say(f"kdtui: {sentence}; ctrl+c gives up"))
    db = open_database(path, make=False, told=told)
    try:
        yield db
    except NotFound as error:
        if is_there(path):
            raise
        raise NotFound(f"{error} (there is no database {path} yet)") from None
    else:
        # What is named may be mistyped.
        if (option is not None or is_named()) and not is_there(path):
            say(f"kdtui: there is no database {path} yet; it is made when something is first stored in it")
    finally:
        db.close()


def check_seed(limit: int | None, seed: int | None) -> int:
    """The seed that sessions are drawn by.

    Raises:
        BadParameter: there is one, but none to draw.
    """
    if seed is not None and limit is None:
        raise typer.BadParameter("--seed says how the sessions of --limit are drawn; say how many", param_hint="--seed")
    return seed or 0


def chosen_dataset(db: Database, option: str | None) -> str:
    """The dataset that is named, or the only one that there is.

    Raises:
        NotFound: none is named, and there is none.
        KdtuiError: none is named, and there are several.
    """
    from kdtui.errors import KdtuiError
    from store.datasets import dataset_names
    from store.errors import NotFound

    if option is not None:
        return option
    names = dataset_names(db)
    if not names:
        raise NotFound("there is no dataset yet; try kdtui demo, or kdtui data import PATH --dataset NAME")
    if len(names) > 1:
        raise KdtuiError(f"say which dataset, with --dataset: {', '.join(names)}")
    return names[0]


def chosen_pieces(db: Database, numbers: str | None, query: str | None) -> list[int] | None:
    """The pieces of knowledge that --pieces and --query name together; None where neither is given.

    Raises:
        KdtuiError: the numbers are none, the query means nothing, or it finds nothing.
        NotFound: the query names what is not there, or no piece has any of the numbers.
    """
    if numbers is None and query is None:
        return None
    from kdtui.workflows.pieces import pieces_named

    return pieces_named(db, sys.stdin.read() if numbers == "-" else numbers, query)


def some_formats(option: str, among: tuple[Format, ...]) -> tuple[Format, ...]:
    """The formats that an option names, one or more of these.

    Raises:
        KdtuiError: it names another, or none.
    """
    from kdtui.errors import KdtuiError

    named = formats(option)
    unknown = [name for name in named if name not in among]
    if unknown or not named:
        raise KdtuiError(f"there is no format {(unknown or [option])[0]!r} here; there are: {', '.join(among)}")
    return tuple(format for format in among if format in named)
