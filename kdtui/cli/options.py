"""Options that several commands share, and what they mean."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kdtui.cli import completion
from kdtui.cli.commands import LARGEST as LARGEST
from kdtui.cli.output import OUTPUTS, Output
from kdtui.workflows.student.command_options import adapters as adapters
from kdtui.workflows.student.command_options import formats as formats

if TYPE_CHECKING:
    from store.records import Format
    from store.sqlite import Database


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
    typer.Option(
        "--dataset",
        "-d",
        help="Dataset; may be left out where there is only one.",
        metavar="NAME",
        autocompletion=completion.names("datasets"),
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line; short for --format json.")]
OutputOption = Annotated[
    Output | None,
    typer.Option("--format", help="How to print it: table, json, csv or markdown.", metavar="FORMAT"),
]
KnowledgeFormatOption = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        help="Only this format of knowledge: pattern, rule or thought. Or how to print it: table, json, csv or "
        "markdown. May be repeated.",
        metavar="FORMAT",
        autocompletion=completion.lists(*completion.FORMATS, *OUTPUTS),
    ),
]
# One more than the limit is looked for, to know whether there is more.
LimitOption = Annotated[int, typer.Option("--limit", "-n", help="Rows at most.", min=1, max=LARGEST - 1, metavar="N")]
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
        autocompletion=completion.names("bases", *completion.STUDENTS),
    ),
]
AskedStudentOption = Annotated[
    str | None,
    typer.Option(
        "--student",
        "-s",
        help="shipped (smollm2, trained), smollm2 (as it is), patterns (no weights), a name that kdtui model ls shows, "
        "a GGUF file, or URL#MODEL; by default smollm2 with the default adapter of the dataset (kdtui sft default), or "
        "shipped.",
        metavar="STUDENT",
        autocompletion=completion.names("bases", *completion.STUDENTS),
    ),
]
KnowledgeOption = Annotated[
    str,
    typer.Option(
        "--knowledge",
        help="Formats to show the student, comma-separated: pattern, rule, thought.",
        metavar="FORMATS",
        autocompletion=completion.lists(*completion.FORMATS),
    ),
]
AskedKnowledgeOption = Annotated[
    str | None,
    typer.Option(
        "--knowledge",
        help="Formats to show the student, comma-separated: pattern, rule, thought, or none; by default what the "
        "adapter was trained with.",
        metavar="FORMATS",
        autocompletion=completion.lists(*completion.FORMATS, "none"),
    ),
]
SampleOption = Annotated[
    str | None,
    typer.Option(
        "--sample",
        help="Take the knowledge from this sample only.",
        metavar="NAME",
        autocompletion=completion.names("samples"),
    ),
]
DomainsOption = Annotated[
    Literal["own", "all"],
    typer.Option("--domains", help="Show what the sample has of this dataset, or of all datasets."),
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
        autocompletion=completion.names("bases", "minilm", "smollm2"),
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
        autocompletion=completion.words(*completion.STRATEGIES),
    ),
]
AdapterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        "-a",
        help="LoRA adapter: a name or a GGUF file, and how strongly it acts; may be repeated; none for none.",
        metavar="NAME[=SCALE]",
        autocompletion=completion.names("adapters", "none"),
    ),
]
PromptPriceOption = Annotated[
    float | None,
    typer.Option(
        "--prompt-price",
        help="Of a million tokens of prompts; without prices costs are unknown.",
        min=0,
        metavar="PRICE",
    ),
]
AnswerPriceOption = Annotated[
    float | None,
    typer.Option("--answer-price", help="Of a million tokens of answers.", min=0, metavar="PRICE"),
]
MaxCallsOption = Annotated[
    int | None,
    typer.Option("--max-calls", help="Pay for so many calls at most.", min=0, max=LARGEST, metavar="N"),
]
MaxCostOption = Annotated[
    float | None, typer.Option("--max-cost", help="Pay so much at most, by these prices.", min=0, metavar="COST")
]
AnswerTokensOption = Annotated[
    int | None,
    typer.Option(
        "--answer-tokens",
        help="Tokens of an answer at most, with its reasoning (1024).",
        min=1,
        max=LARGEST,
        metavar="N",
    ),
]
RetryFailedOption = Annotated[
    bool, typer.Option("--retry-failed", help="Pay again for calls whose answer was of no use.")
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


def chosen_output(output: Output | None, as_json: bool) -> Output:
    """The format to print in, of --format and --json."""
    if as_json and output not in (None, "json"):
        raise typer.BadParameter(f"--json and --format {output} contradict each other; say one of them")
    return "json" if as_json else output or "table"


_named: Path | None = None
"""The database that the options of this command name."""
"""The database that --db names before the command."""


def remember_database(path: Path | None) -> None:
    """Make `kdtui --db PATH COMMAND` mean the same as `kdtui COMMAND --db PATH`."""
    global _named
    _named = path
    if path is not None:
        os.environ["KDTUI_DB"] = str(path)


def next_command(*words: str, db: Path | None = None) -> str:
    """A command to type next, in the database that this one was told to use.

    Args:
        words: behind `kdtui`.
        db: the option of this command, where it has not opened its store yet.
    """
    import shlex

    named = db if db is not None else _named
    return shlex.join(["kdtui", *words, *(["--db", str(named)] if named is not None else [])])


def no_dataset_yet() -> str:
    """What to do where there is no dataset."""
    imports = next_command("data", "import", "PATH", "--dataset", "NAME")
    return f"there is no dataset yet; try {next_command('demo')}, or {imports}"


def database_path(option: Path | None) -> Path:
    """The database that the options and the environment name."""
    from store.location import default_path

    return option if option is not None else default_path()


@contextmanager
def open_store(option: Path | None) -> Iterator[Database]:
    """The store, open for one command. One that is not there is empty, and made when something is stored in it."""
    from kdtui.cli.output import say
    from kdtui.workflows.waiting import Waiting
    from store.database import open_database
    from store.errors import NotFound
    from store.location import database_exists, is_path_configured

    global _named
    _named = option if option is not None else _named
    path = database_path(option)
    told = Waiting(lambda sentence: say(f"kdtui: {sentence}; ctrl+c gives up"))
    db = open_database(path, make=False, on_wait=told)
    try:
        yield db
    except NotFound as error:
        if database_exists(path):
            raise
        raise NotFound(f"{error} (there is no database {path} yet)") from None
    else:
        # What is named may be mistyped.
        if (option is not None or is_path_configured()) and not database_exists(path):
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
        raise NotFound(no_dataset_yet())
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
    from kdtui.workflows.knowledge.pieces import pieces_named

    return pieces_named(db, sys.stdin.read() if numbers == "-" else numbers, query)


def formats_and_output(
    option: list[str] | None, as_json: bool, among: tuple[Format, ...]
) -> tuple[tuple[Format, ...], Output]:
    """What a --format names that has two meanings: formats of knowledge, none for all, and the one to print in.

    Raises:
        KdtuiError: it names what is neither.
    """
    named = [name for value in option or () for name in formats(value)]
    outputs: dict[str, Output] = {output: output for output in OUTPUTS}
    told = list(dict.fromkeys(outputs[name] for name in named if name in outputs))
    if len(told) > 1:
        raise typer.BadParameter(f"--format {told[0]} and {told[1]} contradict each other; say one of them")
    knowledge = [name for name in named if name not in outputs]
    names_nothing = option is not None and not told
    chosen = some_formats(",".join(knowledge), among, also=OUTPUTS) if knowledge or names_nothing else ()
    return chosen, chosen_output(told[0] if told else None, as_json)


def some_formats(option: str, among: tuple[Format, ...], *, also: Sequence[str] = ()) -> tuple[Format, ...]:
    """The formats that an option names, one or more of these.

    Args:
        also: what else the option takes, for the message.

    Raises:
        KdtuiError: it names another, or none.
    """
    from kdtui.errors import KdtuiError
    from store.similar import suggestion

    named = formats(option)
    unknown = [name for name in named if name not in among]
    if unknown or not named:
        wrong, names = (unknown or [option])[0], (*among, *also)
        there_are = f"there are: {', '.join(names)}"
        raise KdtuiError(f"there is no format {wrong!r} here; {suggestion(wrong, names, there_are)}")
    return tuple(format for format in among if format in named)
